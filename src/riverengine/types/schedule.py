"""When something runs."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Schedule(Protocol):
    """A series of instants: an interval, a parsed cron expression, or one's own."""

    def next(self, current: datetime, /) -> datetime | None:
        """The first instant after ``current`` (aware); None when there is none."""
