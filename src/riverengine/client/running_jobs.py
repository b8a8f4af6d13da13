"""The jobs a client works, in all its queues, and how they end when it stops."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from riverengine.config import Config
from riverengine.run.executor import CancelCause
from riverengine.run.producer import Producer


class RunningJobs:
    """Producers by queue. A stop waits for their jobs, cancels them, and at last abandons them."""

    def __init__(self, config: Config) -> None:
        self.producers: dict[str, Producer] = {}
        self.is_cancelling: bool = False
        self._is_drained = True
        self._soft = _seconds(config.soft_stop_timeout)
        self._hard = _seconds(config.hard_stop_timeout)
        self._abandoning: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Jobs whose outcome is not known."""
        return sum(producer.running for producer in self.producers.values())

    @property
    def stuck(self) -> int:
        """Those that ignore their timeout."""
        return sum(producer.stuck for producer in self.producers.values())

    def begin(self) -> None:
        """The client starts: jobs are worked, whatever an earlier stop did."""
        self.is_cancelling = False
        self._is_drained = False

    def cancel(self) -> None:
        """Fetch nothing more, and cancel all jobs; later, abandon those that ignore it."""
        self.is_cancelling = True
        for producer in self.producers.values():
            # Or it would claim again, and begin, what is given back here.
            producer.stop_fetching()
            producer.cancel_all(CancelCause.STOP)
        if self._hard is not None and self._abandoning is None and not self._is_drained:
            self._abandon_in(self._hard)

    def suspect_losses(self) -> None:
        """This process was taken for dead: cancel the jobs that were given to others."""
        for producer in self.producers.values():
            producer.watch.suspect_losses()

    async def drain(self) -> None:
        """Fetch nothing more, and return when no job runs or is waited for."""
        drains = asyncio.gather(*(producer.drain() for producer in self.producers.values()))
        try:
            async with asyncio.timeout(self._soft):
                await asyncio.shield(drains)
        except TimeoutError:
            self.cancel()
            await drains
        finally:
            self._is_drained = True
            if self._abandoning is not None:
                self._abandoning.cancel()
                self._abandoning = None

    def _abandon_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._abandoning = loop.call_later(seconds, self._abandon, seconds)

    def _abandon(self, seconds: float) -> None:
        for producer in self.producers.values():
            producer.abandon_all()
        # A claim that was under way may bring more.
        self._abandon_in(seconds)


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()
