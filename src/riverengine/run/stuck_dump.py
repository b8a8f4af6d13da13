"""A handler for stuck jobs that logs what every task and thread of the process is doing.

Frames only, never their variables: those may hold private data.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
import types
from collections.abc import Iterator

from riverengine.run.executor import Executor
from riverengine.work.stuck_handler import JobStuckHandlerParams, JobStuckHandlerResult

_DRIVE = Executor._drive.__code__


class JobStuckDump:
    """``Config(job_stuck_handler=JobStuckDump())``: logs a dump for each stuck job."""

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        level: int = logging.WARNING,
        add_worker_slot: bool = False,
    ) -> None:
        """logger: None for ``riverengine.stuck``.  add_worker_slot: what the handler answers."""
        self._logger = logger or logging.getLogger("riverengine.stuck")
        self._level = level
        self._result = JobStuckHandlerResult(add_worker_slot=add_worker_slot)

    def __call__(self, params: JobStuckHandlerParams) -> JobStuckHandlerResult:
        """Log the job and the dump."""
        if self._logger.isEnabledFor(self._level):
            self._logger.log(
                self._level,
                "job %d of kind %s in queue %s is stuck (%d in this client)\n%s",
                *(params.id, params.kind, params.queue, params.total_stuck_jobs, dump_process()),
            )
        return self._result


def dump_process() -> str:
    """What every asyncio task of this loop and every thread of this process is doing.

    Call it on the event loop. A job's task is named ``riverengine:job:KIND``; jobs that are plain
    functions are in the threads named ``riverengine_N``.
    """
    parts = [
        f"task {task.get_name()}\n{_formatted(list(_await_chain(task.get_coro())))}"
        for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    ]
    frames = sys._current_frames()
    for thread in sorted(threading.enumerate(), key=lambda thread: thread.name):
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            stack = [(each, line) for each, line in traceback.walk_stack(frame)]
            parts.append(f"thread {thread.name}\n{_formatted(stack[::-1])}")
    return "\n".join(parts)


def _await_chain(awaited: object) -> Iterator[tuple[types.FrameType, int]]:
    """The frames from a task's coroutine down to what it waits for, the outermost first."""
    while awaited is not None:
        frame: object = None
        following: object = None
        for prefix in ("cr", "gi", "ag"):
            if hasattr(awaited, f"{prefix}_frame"):
                frame = getattr(awaited, f"{prefix}_frame")
                following = getattr(awaited, f"{prefix}_await", None) or getattr(
                    awaited, f"{prefix}_yieldfrom", None
                )
                break
        if not isinstance(frame, types.FrameType):
            return
        yield frame, frame.f_lineno
        if frame.f_code is _DRIVE:
            # It hands on to the work by hand, without awaiting it.
            following = frame.f_locals["work"]
        awaited = following


def _formatted(stack: list[tuple[types.FrameType, int]]) -> str:
    summary = traceback.StackSummary.extract(iter(stack), lookup_lines=True)
    return "".join(summary.format()).rstrip("\n")
