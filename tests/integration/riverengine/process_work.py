"""Workers for tests of the process pool: at the top of a module, where processes find them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from riverengine import (
    Job,
    JobCancel,
    JobSnooze,
    Worker,
    cancel_requested,
    client_from_context_or_none,
    current_job,
    metadata_set,
    record_output,
    resumable_step_cursor_sync,
    resumable_step_sync,
)
from riverengine.work.resumable import resumable_set_cursor

FOREVER = 3600.0


@dataclass(frozen=True)
class ProcessArgs:
    """What to do, and where to tell what was done."""

    kind: ClassVar[str] = "process"
    do: str = ""
    path: str = ""


class OddError(Exception):
    """Pickle cannot bring it back: its constructor wants something else than its text."""

    def __init__(self, number: int, *, unit: str) -> None:
        super().__init__(f"{number} {unit}")


@dataclass(frozen=True)
class LockedArgs:
    """Args that hold something no process can be sent."""

    kind: ClassVar[str] = "locked"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lock", threading.Lock())


def work(job: Job[ProcessArgs]) -> None:
    """Do what the args say, in a process."""
    match job.args.do:
        case "record":
            assert client_from_context_or_none() is None
            record_output({"pid": os.getpid(), "job": current_job().id})
            metadata_set("seen", job.row.kind)
        case "fail":
            raise ValueError("in the process")
        case "fail oddly":
            raise OddError(3, unit="apples")
        case "cancel":
            raise JobCancel("no use")
        case "snooze":
            raise JobSnooze(timedelta(hours=1))
        case "die":
            os._exit(3)
        case "die with heir":
            _leave_heir(Path(job.args.path))
            os._exit(3)
        case "resume":
            _resume(job)
        case "swallow":
            with contextlib.suppress(ValueError):
                resumable_step_sync("one", _fail)
        case _:
            _linger(job)


def _fail() -> None:
    raise ValueError("of the step")


def _leave_heir(told: Path) -> None:
    """Fork a process of another group, which inherits everything that is open."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        told.write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(FOREVER)
    while not told.exists():
        time.sleep(0.01)


def _resume(job: Job[ProcessArgs]) -> None:
    def second(cursor: int) -> None:
        record_output({"pid": os.getpid(), "cursor": cursor})
        if cursor == 0:
            resumable_set_cursor(7)
            raise ValueError("once more")

    resumable_step_sync("first", lambda: metadata_set("first", job.row.attempt))
    resumable_step_cursor_sync("second", second, 0)


def _linger(job: Job[ProcessArgs]) -> None:
    """Stay until the cancellation, or longer."""
    told = Path(job.args.path)
    if job.args.do == "sleep with child":
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER})"])
        told.write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    else:
        told.write_text(str(os.getpid()), encoding="utf-8")
    if job.args.do == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if job.args.do == "spin":
        # Lets neither signals nor other threads of the process have a turn.
        sum(range(10**13))
    try:
        time.sleep(FOREVER)
    except asyncio.CancelledError:
        told.write_text(f"cancelled {cancel_requested()}", encoding="utf-8")
        if job.args.do == "finish":
            return
        raise


@dataclass(frozen=True)
class AsyncArgs:
    """Args of the worker that is a coroutine function."""

    kind: ClassVar[str] = "process_async"
    path: str = ""


class AsyncWorker(Worker[AsyncArgs]):
    """A coroutine in a process: it has an event loop of its own."""

    process = True

    async def work(self, job: Job[AsyncArgs]) -> None:
        if not job.args.path:
            await asyncio.sleep(0)
            record_output({"pid": os.getpid()})
            return
        await asyncio.to_thread(Path(job.args.path).write_text, str(os.getpid()), encoding="utf-8")
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            Path(job.args.path).write_text("cancelled", encoding="utf-8")  # noqa: ASYNC240
            raise
