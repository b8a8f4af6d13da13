"""Limits how often inserts are announced.

Source: internal/notifylimiter/limiter.go at v0.51.1: a suppressed announcement is lost, since the
producers that got the one before fetch again after their cooldown anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType

from riverengine.run.clock import Clock


class InsertLimiter:
    """Lets one announcement per queue and period through."""

    def __init__(self, period: timedelta, clock: Clock) -> None:
        self._period = period.total_seconds()
        self._clock = clock
        self._last: dict[str, float] = {}

    def allowed(self, queues: Iterable[str]) -> list[str]:
        """Those of the queues that may be announced, once each, in order.

        Marks them as announced, even if the caller's transaction is rolled back later.
        """
        now = self._clock.monotonic()
        through = []
        for queue in dict.fromkeys(queues):
            last = self._last.get(queue)
            if last is None or now - last > self._period:
                self._last[queue] = now
                through.append(queue)
        return through

    def announcing(self, queues: Iterable[str]) -> Announcing:
        """As :meth:`allowed`, for a block that sends the announcements, or none if it raises."""
        return Announcing(self, self.allowed(queues))

    def forget(self, queues: Iterable[str]) -> None:
        """Take queues for not announced."""
        for queue in queues:
            self._last.pop(queue, None)


class Announcing:
    """A block that announces queues, made by :meth:`InsertLimiter.announcing`."""

    __slots__ = ("_limiter", "_through")

    def __init__(self, limiter: InsertLimiter, through: list[str]) -> None:
        self._limiter = limiter
        self._through = through

    def __enter__(self) -> list[str]:
        return self._through

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._limiter.forget(self._through)
