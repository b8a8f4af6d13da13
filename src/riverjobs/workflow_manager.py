"""Reads what is stored of workflows: executions, steps, history."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from riverengine.queries.statement import Executor
from riverjobs.errors import WorkflowNotFoundError
from riverjobs.execution import (
    WorkflowEvent,
    WorkflowExecution,
    WorkflowStatus,
    WorkflowStep,
    WorkflowSummary,
)
from riverjobs.queries.event import event_get_many
from riverjobs.queries.execution import execution_get, execution_list
from riverjobs.queries.step import step_get_many
from riverjobs.river_manager import RiverManager

MAX_LIST = 10_000
"""Most executions listed at once."""


class WorkflowManager:
    """State tracking and persistence of workflows; the changes are the orchestrator's."""

    def __init__(self, source: asyncpg.Pool | RiverManager) -> None:
        """source: a pool, or the manager whose pool is used once it is open."""
        self._source = source

    @property
    def pool(self) -> asyncpg.Pool:
        """The pool; raises ``RuntimeError`` while the manager is not open."""
        return self._source.pool if isinstance(self._source, RiverManager) else self._source

    async def get_workflow_execution(
        self, workflow_id: str, *, conn: Executor | None = None
    ) -> WorkflowExecution:
        """The execution; raises ``WorkflowNotFoundError``."""
        found = await execution_get(conn or self.pool, workflow_id=workflow_id)
        if found is None:
            raise WorkflowNotFoundError(workflow_id)
        return found

    async def list_workflow_executions(
        self,
        *,
        workflow_type: str | None = None,
        status: WorkflowStatus | None = None,
        limit: int = 50,
        conn: Executor | None = None,
    ) -> list[WorkflowExecution]:
        """Executions, the newest first. limit: 1 to 10,000."""
        if not 1 <= limit <= MAX_LIST:
            raise ValueError(f"limit must be between 1 and {MAX_LIST:,}")
        return await execution_list(
            conn or self.pool, workflow_type=workflow_type, status=status, limit=limit
        )

    async def get_steps(
        self, workflow_id: str, *, conn: Executor | None = None
    ) -> Sequence[WorkflowStep]:
        """The steps, in the definition's order; none for an unknown workflow."""
        return await step_get_many(conn or self.pool, workflow_id=workflow_id)

    async def get_events(
        self, workflow_id: str, *, conn: Executor | None = None
    ) -> Sequence[WorkflowEvent]:
        """The history, in order; none for an unknown workflow."""
        return await event_get_many(conn or self.pool, workflow_id=workflow_id)

    async def get_workflow_summary(self, workflow_id: str) -> WorkflowSummary:
        """Execution and steps of one moment; raises ``WorkflowNotFoundError``."""
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            execution = await self.get_workflow_execution(workflow_id, conn=connection)
            return WorkflowSummary(execution, await self.get_steps(workflow_id, conn=connection))
