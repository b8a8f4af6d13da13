"""A clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FrozenClock:
    """A :class:`riverengine.Clock` that moves only when told to.

    at: where it stands, with a zone; None for the real time of now.  Example::

        clock = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))
        client = Client(pool, clock=clock)
        clock.advance(timedelta(hours=1))
    """

    def __init__(self, at: datetime | None = None) -> None:
        self._at = _utc(at or datetime.now(UTC))
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Where the clock stands, aware UTC."""
        return self._at

    def monotonic(self) -> float:
        """Seconds the clock was moved forward in all."""
        return self._monotonic

    def advance(self, duration: timedelta) -> datetime:
        """Move forward and return where the clock stands then; negative raises ``ValueError``."""
        if duration < timedelta(0):
            raise ValueError("a clock cannot be moved backwards: use set()")
        self._monotonic += duration.total_seconds()
        self._at += duration
        return self._at

    def set(self, at: datetime) -> None:
        """Put the wall clock to an instant, also a past one; monotonic time never goes back."""
        at = _utc(at)
        self._monotonic += max((at - self._at).total_seconds(), 0.0)
        self._at = at


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a clock needs an instant with a zone")
    return at.astimezone(UTC)
