"""Middleware: code wrapped around inserts and work.

A middleware is any object with one or both of the methods below; the function forms make one of a
function, also as decorators. Source: rivertype and middleware_defaults.go at v0.51.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from riverengine.types.insert import InsertResult
from riverengine.types.job import JobRow

if TYPE_CHECKING:
    from riverengine.insert.plan import InsertPlan

WorkNext = Callable[[], Awaitable[None]]
InsertResults = Sequence[InsertResult | None]
"""Results of an insert, in the order of its jobs; None for each job of a fast insert."""
InsertNext = Callable[["Sequence[InsertPlan]"], Awaitable[InsertResults]]


@runtime_checkable
class WorkerMiddleware(Protocol):
    """Wraps one execution: call ``next_()`` to go on; raise to fail the attempt."""

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """Run around the job."""


@runtime_checkable
class JobInsertMiddleware(Protocol):
    """Wraps the insert of a batch; runs once per insert call, in the caller's transaction."""

    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        """Run around the insert and return its results.

        The plans handed to ``next_`` are inserted, as they are or changed. What it raises fails the
        insert, even after ``next_`` did its part.
        """


Middleware = WorkerMiddleware | JobInsertMiddleware


@dataclass(frozen=True, slots=True)
class WorkerMiddlewareFunc:
    """An async function as :class:`WorkerMiddleware`."""

    function: Callable[[JobRow, WorkNext], Awaitable[None]]

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """Call the function."""
        await self.function(job, next_)


@dataclass(frozen=True, slots=True)
class JobInsertMiddlewareFunc:
    """An async function as :class:`JobInsertMiddleware`."""

    function: Callable[[Sequence[InsertPlan], InsertNext], Awaitable[InsertResults]]

    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        """Call the function."""
        return await self.function(plans, next_)
