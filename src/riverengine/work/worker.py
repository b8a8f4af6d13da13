"""Workers: the code that runs a kind of job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from riverengine.types.job import JobRow

if TYPE_CHECKING:
    from riverengine.work.middleware import WorkerMiddleware

ArgsT = TypeVar("ArgsT")

NO_TIMEOUT = timedelta(microseconds=-1)
"""Returned by :meth:`Worker.timeout`: the job may run for ever."""


@dataclass(frozen=True, slots=True)
class Job(Generic[ArgsT]):
    """One execution: the row as fetched, and its decoded args."""

    row: JobRow
    args: ArgsT


class Worker(Generic[ArgsT]):
    """Runs jobs of one args type: ``class EmailWorker(Worker[EmailArgs])``.

    ``work`` may be ``async def`` (runs on the event loop, cancelled by ``asyncio.CancelledError``)
    or a plain ``def`` (runs in a thread, which cannot be interrupted: at its timeout it is reported
    as stuck).
    Returning completes the job; raising fails the attempt; raise ``JobCancel`` or ``JobSnooze``
    otherwise.
    """

    args_type: ClassVar[type]

    async def work(self, job: Job[ArgsT]) -> None:
        """Do the work. Override; subclasses may make it a plain ``def``."""
        raise NotImplementedError(f"{type(self).__name__} must define work()")

    def timeout(self, job: Job[ArgsT]) -> timedelta | None:
        """How long ``work`` may run: None for the client's setting, ``NO_TIMEOUT`` for ever."""
        return None

    def next_retry(self, job: Job[ArgsT]) -> datetime | None:
        """When to run a failed job again; None for the client's retry policy."""
        return None

    def middleware(self, job: JobRow) -> Sequence[WorkerMiddleware]:
        """Middleware around this worker only, outermost first, inside the client's own."""
        return ()
