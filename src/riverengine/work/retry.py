"""When a failed job runs again."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Protocol

from riverengine.types.job import JobRow

MAX_DELAY = timedelta(microseconds=(2**63 - 1) // 1000)
"""Go's longest duration, about 292 years."""


class RetryPolicy(Protocol):
    """Decides when a failed job runs again."""

    def next_retry(self, job: JobRow, now: datetime) -> datetime:
        """The instant of the next attempt. ``job.errors`` holds the errors before this one."""


class DefaultRetryPolicy:
    """River's policy: the number of errors to the fourth power, in seconds, give or take a tenth.

    Source: internal/retrypolicy/default.go at v0.51.1. Counts errors rather than attempts, so that
    a snooze does not lengthen the delay; capped at Go's longest duration.
    """

    def next_retry(self, job: JobRow, now: datetime) -> datetime:
        """The instant of the next attempt."""
        delay = delay_after(len(job.errors) + 1, jitter=random.uniform(-0.1, 0.1))
        return later(now, delay)


def later(now: datetime, delay: timedelta) -> datetime:
    """The instant ``delay`` after ``now``, or the last one the calendar has."""
    try:
        return now + delay
    except OverflowError:
        return datetime.max.replace(tzinfo=now.tzinfo)


def delay_after(errors: int, *, jitter: float) -> timedelta:
    """Wait after the ``errors``-th error, 1 for the first.

    jitter: -0.1 to 0.1, the caller's randomness; not applied at the cap.
    """
    seconds = float(errors) ** 4
    if seconds >= MAX_DELAY.total_seconds():
        return MAX_DELAY
    return min(timedelta(seconds=seconds * (1 + jitter)), MAX_DELAY)
