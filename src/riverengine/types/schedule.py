"""When something happens again and again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


class PeriodicSchedule(Protocol):
    """Instants, one after the other. Schedules by the calendar: :func:`riverengine.parse_cron`."""

    def next(self, current: datetime, /) -> datetime | None:
        """The first instant after ``current`` (aware); None when there is none."""


@dataclass(frozen=True, slots=True)
class PeriodicInterval:
    """Runs every ``interval``, counted from the leader's start; raises ``ValueError`` unless it is
    a positive ``timedelta``."""

    interval: timedelta

    def __post_init__(self) -> None:
        given: object = self.interval
        if not isinstance(given, timedelta):
            raise ValueError("PeriodicInterval: the interval must be a timedelta")
        if self.interval <= timedelta(0):
            raise ValueError("PeriodicInterval: the interval must be positive")

    def next(self, current: datetime, /) -> datetime | None:
        """``current`` plus the interval; None beyond the calendar's end."""
        try:
            return current + self.interval
        except OverflowError:
            return None


class NeverSchedule:
    """Never runs; of use together with ``run_on_start``."""

    def next(self, current: datetime, /) -> datetime | None:
        """None."""
        return None
