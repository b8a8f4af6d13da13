"""Workers: the code that runs a kind of job."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from riverengine.types.job import JobRow

if TYPE_CHECKING:
    from riverengine.work.middleware import WorkerMiddleware

ArgsT = TypeVar("ArgsT")

NO_TIMEOUT = timedelta(microseconds=-1)
"""Returned by :meth:`Worker.timeout`: the job may run for ever."""


class RowSource(Protocol):
    """Something that knows a job's row, and may read it only when asked."""

    @property
    def row(self) -> JobRow:
        """The row as fetched."""


class Job(Generic[ArgsT]):
    """One execution: the row as fetched, and its decoded args."""

    __slots__ = ("_source", "args")

    def __init__(self, row: JobRow | RowSource, args: ArgsT) -> None:
        self._source = row
        self.args: ArgsT = args

    @property
    def row(self) -> JobRow:
        """The job's row as it was fetched."""
        source = self._source
        return source if isinstance(source, JobRow) else source.row

    def __reduce__(self) -> tuple[type[Job[ArgsT]], tuple[JobRow, ArgsT]]:
        return Job, (self.row, self.args)

    def __repr__(self) -> str:
        # Args may be private.
        return f"Job(id={self.row.id}, kind={self.row.kind!r}, attempt={self.row.attempt})"


class Worker(Generic[ArgsT]):
    """Runs jobs of one args type: ``class EmailWorker(Worker[EmailArgs])``.

    ``work`` may be ``async def`` (runs on the event loop, cancelled by ``asyncio.CancelledError``)
    or a plain ``def`` (runs in a thread, which cannot be interrupted: at its timeout it is reported
    as stuck).
    Returning completes the job; raising fails the attempt; raise ``JobCancel`` or ``JobSnooze``
    otherwise.
    With ``process = True`` it runs in a process, which is killed if it ignores its cancellation:
    the worker and the args must be picklable, and there is no client inside.
    """

    args_type: ClassVar[type]
    process: ClassVar[bool] = False

    def work(self, job: Job[ArgsT]) -> Awaitable[None] | None:
        """Do the work. Override, as ``async def`` or as a plain ``def``."""
        raise NotImplementedError(f"{type(self).__name__} must define work()")

    def timeout(self, job: Job[ArgsT]) -> timedelta | None:
        """How long ``work`` may run: None for the client's setting, ``NO_TIMEOUT`` for ever."""
        return None

    def next_retry(self, job: Job[ArgsT]) -> datetime | None:
        """When to run a failed job again; None for the client's retry policy."""
        return None

    def middleware(self, job: JobRow) -> Sequence[WorkerMiddleware]:
        """Middleware around this worker only, outermost first; it is outside of the client's."""
        return ()
