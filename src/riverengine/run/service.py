"""Start and stop of long-lived services."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from datetime import timedelta


class Service(ABC):
    """A background task with a safe start and stop.

    Subclasses implement :meth:`run`, which sets ``self.started`` once the service does its work and
    returns when cancelled. A crash of :meth:`run` is logged and the body started again after a
    growing pause, so no error ends a service silently.
    """

    def __init__(self, name: str, logger: logging.Logger | None = None) -> None:
        self.name = name
        self.logger: logging.Logger = logger or logging.getLogger("riverengine")
        self.started: asyncio.Event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the service's task is alive."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Start the service; nothing happens when it runs already."""
        if self.is_running:
            return
        self.started.clear()
        self._task = asyncio.create_task(self._supervise(), name=f"riverengine:{self.name}")

    async def stop(self) -> None:
        """Stop the service and wait for its end; safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        # A caller that is cleaning up may have been cancelled before.
        cancellations = _cancellations()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            # Swallowed only when it is the service's own end; our caller's cancellation goes on.
            if not task.cancelled() or _cancellations() > cancellations:
                raise

    async def _supervise(self) -> None:
        crashes = 0
        while True:
            try:
                await self.run()
                return
            except Exception:
                crashes += 1
                pause = backoff(crashes)
                self.logger.exception(
                    "%s crashed; it starts again in %.1f s", self.name, pause.total_seconds()
                )
                await asyncio.sleep(pause.total_seconds())

    @abstractmethod
    async def run(self) -> None:
        """The service's body; runs until cancelled."""


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def backoff(attempt: int, *, max_exponent: int = 6) -> timedelta:
    """Pause after the ``attempt``-th failure in a row: 1, 2, 4 ... seconds, give or take a tenth.

    Source: River's service utility, 2^((attempt-1) mod (max_exponent+1)).
    """
    return timedelta(seconds=2 ** ((attempt - 1) % (max_exponent + 1)) * random.uniform(0.9, 1.1))
