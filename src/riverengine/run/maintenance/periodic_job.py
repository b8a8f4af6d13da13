"""What a periodic job is, and the bundle of them that a client has.

Source: periodic_job.go at v0.51.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from riverengine.insert.options import InsertOpts

_ID = re.compile(r"\w[\w\-\[\]<>/.·:+]+", re.ASCII)


class PeriodicSchedule(Protocol):
    """When a periodic job runs."""

    def next(self, current: datetime) -> datetime | None:
        """The first instant after ``current`` (aware); None when there is none."""


@dataclass(frozen=True, slots=True)
class PeriodicInterval:
    """Runs every ``interval``, counted from the leader's start."""

    interval: timedelta

    def __post_init__(self) -> None:
        if self.interval <= timedelta(0):
            raise ValueError("PeriodicInterval: the interval must be positive")

    def next(self, current: datetime) -> datetime | None:
        """``current`` plus the interval; None beyond the calendar's end."""
        try:
            return current + self.interval
        except OverflowError:
            return None


class NeverSchedule:
    """Never runs; of use together with ``run_on_start``."""

    def next(self, current: datetime) -> datetime | None:
        """None."""
        return None


Constructed = tuple[object, InsertOpts | None]


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """A job inserted at every instant of ``schedule``.

    constructor: called for each insert; returns args and options, or None to skip this instant.  It
    runs on the event loop and must not block.  id: 2 to 127 bytes, unique among the client's
    periodic jobs; needed for the guarantee of one job per instant.  run_on_start: insert one at
    each start of leadership as well.  catch_up: at the start of leadership also insert for the
    instants of this last while, unless their jobs exist; needs an ID and a schedule by the
    calendar.  Zero, River's behaviour, skips the instants at which nobody led.
    """

    schedule: PeriodicSchedule
    constructor: Callable[[], Constructed | None]
    id: str | None = None
    run_on_start: bool = False
    catch_up: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if self.catch_up < timedelta(0):
            raise ValueError("catch_up must not be negative")
        if self.id is None:
            if self.catch_up:
                raise ValueError("catch_up needs a periodic job ID")
            return
        if len(self.id.encode()) >= 128:
            raise ValueError("periodic job ID must be less than 128 bytes long")
        if not _ID.fullmatch(self.id):
            raise ValueError(f"periodic job ID {self.id!r} should match regex {_ID.pattern}")


class PeriodicJobBundle:
    """The periodic jobs of a client; may be changed at any time.

    Handles are increasing integers, never used twice.
    """

    def __init__(self, jobs: Iterable[PeriodicJob] = ()) -> None:
        self._jobs: dict[int, PeriodicJob] = {}
        self._next_handle = 0
        self._on_change: list[Callable[[], None]] = []
        self.add_many(jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def jobs(self) -> Mapping[int, PeriodicJob]:
        """The jobs by handle."""
        return dict(self._jobs)

    def add(self, job: PeriodicJob) -> int:
        """Add a job and return its handle; raises ``ValueError`` when its ID is taken."""
        return self.add_many([job])[0]

    def add_many(self, jobs: Iterable[PeriodicJob]) -> list[int]:
        """Add all jobs or, on a taken ID, none; raises ``ValueError``."""
        new = list(jobs)
        taken = {job.id for job in self._jobs.values() if job.id is not None}
        for job in new:
            if job.id is None:
                continue
            if job.id in taken:
                raise ValueError(f"periodic job with ID already registered: {job.id}")
            taken.add(job.id)
        handles = list(range(self._next_handle, self._next_handle + len(new)))
        self._next_handle += len(new)
        self._jobs.update(zip(handles, new, strict=True))
        if new:
            self._changed()
        return handles

    def remove(self, handle: int) -> None:
        """Remove the job; unknown handles are ignored."""
        self.remove_many([handle])

    def remove_many(self, handles: Iterable[int]) -> None:
        """Remove several jobs; unknown handles are ignored."""
        for handle in handles:
            self._jobs.pop(handle, None)
        self._changed()

    def remove_by_id(self, id: str) -> bool:  # noqa: A002 - River's name
        """Remove the job with this ID; False when there is none."""
        for handle, job in self._jobs.items():
            if job.id == id:
                self.remove(handle)
                return True
        return False

    def clear(self) -> None:
        """Remove all jobs."""
        self._jobs.clear()
        self._changed()

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every change; returns the function that ends this."""
        self._on_change.append(callback)
        return lambda: self._on_change.remove(callback)

    def _changed(self) -> None:
        for callback in tuple(self._on_change):
            callback()
