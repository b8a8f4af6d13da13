"""What a periodic job is, and the bundle of them that a client has.

Source: periodic_job.go at v0.51.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NewType

from riverengine.insert.options import InsertOpts
from riverengine.types.schedule import PeriodicSchedule
from riverengine.types.work_errors import (
    PeriodicJobError,
    PeriodicJobIdTakenError,
)

_ID = re.compile(r"\w[\w\-\[\]<>/.·:+]+", re.ASCII)


Constructed = tuple[object, InsertOpts | None]

PeriodicJobHandle = NewType("PeriodicJobHandle", int)
"""Names a periodic job of one client; never used twice."""


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """A job inserted at every instant of ``schedule``.

    constructor: called for each insert; returns args and options, or None to skip this instant.  It
    runs on the event loop and must not block.  id: 2 to 127 bytes, unique among the client's
    periodic jobs; needed for the guarantee of one job per instant.  run_on_start: insert one at
    each start of leadership as well.  catch_up: at the start of leadership also insert for the
    instants of this last while, unless their jobs exist; needs an ID and a schedule by the
    calendar.  Zero, River's behaviour, skips the instants at which nobody led.

    Raises ``PeriodicJobError`` for settings River would refuse.
    """

    schedule: PeriodicSchedule
    constructor: Callable[[], Constructed | None]
    id: str | None = None
    run_on_start: bool = False
    catch_up: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not callable(self.constructor):
            raise PeriodicJobError("the constructor must be a function")
        if not callable(getattr(self.schedule, "next", None)):
            raise PeriodicJobError(
                "the schedule must have a method next(), as PeriodicInterval and parse_cron() give"
            )
        if self.catch_up < timedelta(0):
            raise PeriodicJobError("catch_up must not be negative")
        if self.id is None:
            if self.catch_up:
                raise PeriodicJobError("catch_up needs an ID")
            return
        if len(self.id.encode()) >= 128:
            raise PeriodicJobError("the ID must be less than 128 bytes long")
        if not _ID.fullmatch(self.id):
            raise PeriodicJobError(f"ID {self.id!r} should match regex {_ID.pattern}")


def _refuse_others(given: object) -> None:
    if not isinstance(given, PeriodicJob):
        raise PeriodicJobError(f"expected a PeriodicJob, not {type(given).__name__}")


class PeriodicJobBundle:
    """The periodic jobs of a client; may be changed at any time.

    A change takes effect at once on the client that leads, and on the others when they lead: change
    all alike. Handles are increasing integers, never used twice.
    """

    def __init__(self, jobs: Iterable[PeriodicJob] = ()) -> None:
        self._jobs: dict[PeriodicJobHandle, PeriodicJob] = {}
        self._next_handle = 0
        self._on_change: list[Callable[[], None]] = []
        self.add_many(jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def jobs(self) -> Mapping[PeriodicJobHandle, PeriodicJob]:
        """The jobs by handle."""
        return dict(self._jobs)

    def add(self, job: PeriodicJob) -> PeriodicJobHandle:
        """Add a job and return its handle; raises ``PeriodicJobIdTakenError``."""
        return self.add_many([job])[0]

    def add_many(self, jobs: Iterable[PeriodicJob]) -> list[PeriodicJobHandle]:
        """Add all jobs or, on a taken ID, none; raises ``PeriodicJobIdTakenError``."""
        new = list(jobs)
        for given in new:
            _refuse_others(given)
        taken = {job.id for job in self._jobs.values() if job.id is not None}
        for job in new:
            if job.id is None:
                continue
            if job.id in taken:
                raise PeriodicJobIdTakenError(job.id)
            taken.add(job.id)
        first = self._next_handle
        handles = [PeriodicJobHandle(first + place) for place in range(len(new))]
        self._next_handle += len(new)
        self._jobs.update(zip(handles, new, strict=True))
        if new:
            self._changed()
        return handles

    def remove(self, handle: PeriodicJobHandle) -> None:
        """Remove the job; unknown handles are ignored."""
        self.remove_many([handle])

    def remove_many(self, handles: Iterable[PeriodicJobHandle]) -> None:
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

    def remove_many_by_id(self, ids: Iterable[str]) -> None:
        """Remove the jobs with these IDs; unknown ones are ignored."""
        wanted = set(ids)
        self.remove_many([handle for handle, job in self._jobs.items() if job.id in wanted])

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
