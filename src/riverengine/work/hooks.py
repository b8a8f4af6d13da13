"""Hooks: code called at a moment of a job's life, without wrapping anything.

A hook is any object with one or more of the methods below; the function forms make one of a
function, also as decorators. Source: rivertype and hook_defaults_funcs.go at v0.51.1.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from riverengine.types.job import JobRow
from riverengine.types.metric import Metric

if TYPE_CHECKING:
    from riverengine.insert.plan import InsertPlan

T = TypeVar("T")


class NoError(Enum):
    """The type of :data:`NO_ERROR`."""

    NO_ERROR = "no_error"


NO_ERROR = NoError.NO_ERROR
"""Returned by ``work_end``: the attempt succeeds in spite of its error."""

WorkEndResult = BaseException | NoError | None


@runtime_checkable
class HookInsertBegin(Protocol):
    """Called for each job just before it is inserted, in the insert's transaction."""

    async def insert_begin(self, params: InsertPlan) -> InsertPlan | None:
        """Return a changed row (``dataclasses.replace``), or None to leave it as it is.

        What it raises refuses the whole insert. Nothing checks the changed row but PostgreSQL.
        """


@runtime_checkable
class HookWorkBegin(Protocol):
    """Called when a job is about to be worked, before its args are decoded."""

    async def work_begin(self, job: JobRow) -> JobRow | None:
        """Return a changed row for what follows (``dataclasses.replace``), None to leave it.

        Changed ``encoded_args`` are what is decoded; the stored row stays as it is.  What the hook
        raises ends the attempt as if the worker had raised it: the job is not worked.
        """


@runtime_checkable
class HookWorkEnd(Protocol):
    """Called when a job was worked, well or not; not when its work never began."""

    async def work_end(self, job: JobRow, error: BaseException | None) -> WorkEndResult:
        """Look at the error, None after success, and decide what it is for the next hook.

        Return None to leave it, another exception to replace it, ``NO_ERROR`` to let the attempt
        succeed. What the hook raises replaces it as well.
        """


@dataclass(frozen=True, slots=True)
class DurablePeriodicJob:
    """A periodic job whose next run is kept in the database."""

    id: str
    next_run_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class HookPeriodicJobsStartParams:
    """durable_jobs: those found in the database; empty when schedules live in memory only."""

    durable_jobs: Sequence[DurablePeriodicJob] = ()


@runtime_checkable
class HookPeriodicJobsStart(Protocol):
    """Called on a newly elected leader, before it inserts periodic jobs."""

    async def periodic_jobs_start(self, params: HookPeriodicJobsStartParams) -> None:
        """Beware of raising, and of 30 seconds: the leader's maintenance does not start then.

        After three tries the leader resigns. Where every client fails, nobody leads.
        """


@runtime_checkable
class HookMetricEmit(Protocol):
    """Called with the client's measurements, after every fetch."""

    def metric_emit(self, metric: Metric) -> None:
        """Hand the metric on without blocking; what it raises is logged."""


Hook = HookInsertBegin | HookWorkBegin | HookWorkEnd | HookPeriodicJobsStart | HookMetricEmit


async def _settled(value: T | Awaitable[T]) -> T:
    """What a plain or a coroutine function returned."""
    return await value if inspect.isawaitable(value) else value


@dataclass(frozen=True, slots=True)
class HookInsertBeginFunc:
    """A function, plain or async, as :class:`HookInsertBegin`."""

    function: Callable[[InsertPlan], InsertPlan | Awaitable[InsertPlan | None] | None]

    async def insert_begin(self, params: InsertPlan) -> InsertPlan | None:
        """Call the function."""
        return await _settled(self.function(params))


@dataclass(frozen=True, slots=True)
class HookWorkBeginFunc:
    """A function, plain or async, as :class:`HookWorkBegin`."""

    function: Callable[[JobRow], JobRow | Awaitable[JobRow | None] | None]

    async def work_begin(self, job: JobRow) -> JobRow | None:
        """Call the function."""
        return await _settled(self.function(job))


@dataclass(frozen=True, slots=True)
class HookWorkEndFunc:
    """A function, plain or async, as :class:`HookWorkEnd`."""

    function: Callable[[JobRow, BaseException | None], WorkEndResult | Awaitable[WorkEndResult]]

    async def work_end(self, job: JobRow, error: BaseException | None) -> WorkEndResult:
        """Call the function."""
        return await _settled(self.function(job, error))


@dataclass(frozen=True, slots=True)
class HookPeriodicJobsStartFunc:
    """A function, plain or async, as :class:`HookPeriodicJobsStart`."""

    function: Callable[[HookPeriodicJobsStartParams], Awaitable[None] | None]

    async def periodic_jobs_start(self, params: HookPeriodicJobsStartParams) -> None:
        """Call the function."""
        await _settled(self.function(params))


@dataclass(frozen=True, slots=True)
class HookMetricEmitFunc:
    """A plain function as :class:`HookMetricEmit`."""

    function: Callable[[Metric], None]

    def metric_emit(self, metric: Metric) -> None:
        """Call the function."""
        self.function(metric)
