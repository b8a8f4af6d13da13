"""Middleware and hooks around inserts and work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from riverengine.types.job import JobRow

if TYPE_CHECKING:
    from riverengine.insert.plan import InsertPlan

WorkNext = Callable[[], Awaitable[None]]
InsertNext = Callable[["Sequence[InsertPlan]"], Awaitable[Sequence[object]]]


class WorkerMiddleware(Protocol):
    """Wraps one execution: call ``next_()`` to go on; raise to fail the attempt."""

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """Run around the job."""


class JobInsertMiddleware(Protocol):
    """Wraps the insert of a batch; runs once per insert call, in the caller's transaction."""

    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> Sequence[object]:
        """Run around the insert and return its results."""
