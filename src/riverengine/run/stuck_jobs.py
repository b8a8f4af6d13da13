"""Keeps count of one queue's stuck jobs and asks the handler about each.

Source: producer.go, handleWorkerStuck, at v0.51.1.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from riverengine.run.executor import Executor
from riverengine.work.stuck_handler import (
    JobStuckHandler,
    JobStuckHandlerParams,
    JobStuckHandlerResult,
)


class StuckJobs:
    """The jobs of one queue that ignore their timeout."""

    def __init__(
        self,
        queue: str,
        *,
        handler: JobStuckHandler | None,
        total: Callable[[], int],
        on_slot: Callable[[], None],
        logger: logging.Logger,
    ) -> None:
        """total: stuck jobs of the whole client.  on_slot: called when a slot was added."""
        self._queue = queue
        self._handler = handler
        self._total = total
        self._on_slot = on_slot
        self._logger = logger
        self._has_slot: dict[Executor, bool] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._closed = False
        self.slots: int = 0
        """Jobs the queue may run above its limit, in place of stuck ones."""

    def __len__(self) -> int:
        return len(self._has_slot)

    def add(self, executor: Executor) -> None:
        """The job did not return in time after its timeout."""
        self._has_slot[executor] = False
        self._logger.warning(
            "job %d of kind %s ignores its timeout (%d stuck in %s)",
            *(executor.id, executor.kind, len(self), self._queue),
        )
        if self._handler is None or self._closed:
            return
        params = JobStuckHandlerParams(
            id=executor.id, kind=executor.kind, queue=self._queue, total_stuck_jobs=self._total()
        )
        try:
            result = self._handler(params)
        except Exception:
            self._logger.exception("the stuck job handler failed for kind %s", executor.kind)
            return
        if inspect.isawaitable(result):
            task = asyncio.create_task(
                self._await(executor, result), name=f"riverengine:stuck:{executor.kind}"
            )
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            self._decide(executor, result)

    def remove(self, executor: Executor) -> None:
        """The job returned after all; jobs that were not stuck are ignored."""
        if self._has_slot.pop(executor, False):
            self.slots -= 1

    async def close(self) -> None:
        """Break off handlers that are still asked, and ask no more."""
        self._closed = True
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _await(
        self, executor: Executor, result: Awaitable[JobStuckHandlerResult | None]
    ) -> None:
        try:
            self._decide(executor, await result)
        except Exception:
            self._logger.exception("the stuck job handler failed for kind %s", executor.kind)

    def _decide(self, executor: Executor, result: JobStuckHandlerResult | None) -> None:
        if result is None or not result.add_worker_slot or executor not in self._has_slot:
            return
        self._has_slot[executor] = True
        self.slots += 1
        self._on_slot()
