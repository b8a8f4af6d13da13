"""Coordinates workflows: start, go on by hand, cancel, wait."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg

from riverengine import Client, InsertOpts, JobNotFoundError, JobState, Json
from riverjobs.context import MAX_CONTEXT_BYTES, check_size
from riverjobs.definition import WorkflowDefinition
from riverjobs.errors import (
    ContextTooLargeError,
    DefinitionError,
    UnknownWorkflowTypeError,
    WorkflowInputError,
    WorkflowNotFoundError,
    WorkflowStateError,
)
from riverjobs.execution import (
    StepStatus,
    WorkflowExecution,
    WorkflowStatus,
    WorkflowStep,
    WorkflowSummary,
)
from riverjobs.queries.event import event_insert
from riverjobs.queries.execution import (
    execution_get_by_key,
    execution_insert,
    execution_lock,
    execution_set_cancelled,
    execution_set_running,
)
from riverjobs.queries.step import (
    step_cancel_open,
    step_get_many,
    step_insert_many,
    step_reset,
    step_set_job,
)
from riverjobs.step_jobs import insert_ready_jobs
from riverjobs.workflow_manager import WorkflowManager

if TYPE_CHECKING:
    from riverjobs.river_manager import RiverManager

_POLL = 0.1


class WorkflowOrchestrator:
    """Starts and steers the workflows whose definitions are registered with it."""

    def __init__(
        self,
        river_manager: RiverManager,
        workflow_manager: WorkflowManager,
        logger: logging.Logger | None = None,
        *,
        max_context_bytes: int = MAX_CONTEXT_BYTES,
    ) -> None:
        """max_context_bytes: largest context, as JSON text."""
        self.river_manager = river_manager
        self.workflow_manager = workflow_manager
        self.logger = logger or logging.getLogger("riverjobs")
        self.max_context_bytes = max_context_bytes
        self._definitions: dict[str, WorkflowDefinition] = {}

    @property
    def client(self) -> Client:
        """The River client; raises ``RuntimeError`` before the manager is open."""
        return self.river_manager.client

    @property
    def definitions(self) -> Mapping[str, WorkflowDefinition]:
        """The registered definitions by type."""
        return self._definitions

    def register(self, definition: WorkflowDefinition) -> None:
        """Make a type of workflow known; raises ``DefinitionError`` for a type known already."""
        if definition.type in self._definitions:
            raise DefinitionError(f"workflow {definition.type!r} is registered already")
        self._definitions[definition.type] = definition

    def definition(self, workflow_type: str) -> WorkflowDefinition:
        """The definition of a type; raises ``UnknownWorkflowTypeError``."""
        found = self._definitions.get(workflow_type)
        if found is None:
            raise UnknownWorkflowTypeError(workflow_type, list(self._definitions))
        return found

    async def start_workflow(
        self,
        workflow_type: str,
        context: Mapping[str, Json],
        *,
        idempotency_key: str | None = None,
        org_id: str = "",
        user_id: str = "",
        insert_opts: InsertOpts | None = None,
        tx: asyncpg.Connection | None = None,
    ) -> str:
        """Start a workflow and return its id: execution, steps and first jobs in one transaction.

        idempotency_key: a second start of the type with it returns the first one's id and changes
        nothing.  insert_opts: queue and priority of all its jobs.  tx: the caller's transaction.
        Raises ``UnknownWorkflowTypeError`` or ``WorkflowInputError`` with nothing written.
        """
        definition = self.definition(workflow_type)
        if idempotency_key is not None and not 0 < len(idempotency_key) <= 255:
            raise WorkflowInputError(
                workflow_type, [("idempotency_key", "must have 1 to 255 characters")]
            )
        checked = definition.check_input(context)
        try:
            check_size(checked, self.max_context_bytes)
        except ContextTooLargeError as error:
            raise WorkflowInputError(workflow_type, [("", str(error))]) from None
        opts = insert_opts or InsertOpts()
        workflow_id = str(uuid4())
        async with self.client.transaction(tx) as connection:
            inserted = await execution_insert(
                connection,
                workflow_id=workflow_id,
                workflow_type=workflow_type,
                context=checked,
                definition_version=definition.version,
                org_id=org_id,
                user_id=user_id,
                idempotency_key=idempotency_key,
                queue=opts.queue,
                priority=opts.priority,
            )
            if not inserted and idempotency_key is not None:
                found = await execution_get_by_key(
                    connection, workflow_type=workflow_type, idempotency_key=idempotency_key
                )
                if found is None:
                    raise WorkflowNotFoundError(idempotency_key)
                return found
            await step_insert_many(
                connection,
                workflow_id=workflow_id,
                steps=[(str(uuid4()), step.name, step.after) for step in definition.steps],
            )
            await event_insert(connection, workflow_id=workflow_id, kind="workflow_started")
            execution, steps = await self._lock(connection, workflow_id)
            await self._insert_jobs(connection, execution, steps)
        self.logger.info(
            "workflow started",
            extra={"fields": {"workflow_id": workflow_id, "workflow_type": workflow_type}},
        )
        return workflow_id

    async def get_workflow_summary(self, workflow_id: str) -> WorkflowSummary:
        """Execution and steps; raises ``WorkflowNotFoundError``."""
        return await self.workflow_manager.get_workflow_summary(workflow_id)

    async def retry_workflow(
        self, workflow_id: str, *, tx: asyncpg.Connection | None = None
    ) -> list[str]:
        """Go on from the failed or cancelled steps, keeping the history; returns their names.

        Raises ``WorkflowNotFoundError``; ``WorkflowStateError`` unless the workflow failed or was
        cancelled and none of its jobs still runs.
        """
        async with self.client.transaction(tx) as connection:
            execution, steps = await self._lock(connection, workflow_id)
            if execution.status not in (WorkflowStatus.FAILED, WorkflowStatus.CANCELLED):
                raise WorkflowStateError(
                    workflow_id, execution.status, "only failed or cancelled ones can be retried"
                )
            ended = [s for s in steps if s.status in (StepStatus.FAILED, StepStatus.CANCELLED)]
            for step in ended:
                await self._revive(connection, execution, step)
            await execution_set_running(connection, workflow_id=workflow_id)
            await event_insert(connection, workflow_id=workflow_id, kind="workflow_retried")
            steps = await step_get_many(connection, workflow_id=workflow_id)
            started = await self._insert_jobs(connection, execution, steps)
        return [*(step.step_name for step in ended if step.job_id is not None), *started]

    async def cancel_workflow(
        self, workflow_id: str, reason: str = "", *, tx: asyncpg.Connection | None = None
    ) -> None:
        """Cancel the workflow and its jobs; running ones are asked to stop.

        Raises ``WorkflowNotFoundError``, or ``WorkflowStateError`` when it has ended.
        """
        async with self.client.transaction(tx) as connection:
            execution, _ = await self._lock(connection, workflow_id)
            if execution.status.is_final:
                raise WorkflowStateError(workflow_id, execution.status, "it has ended already")
            error = {"type": "Cancelled", "message": reason or "cancelled on request"}
            await execution_set_cancelled(connection, workflow_id=workflow_id, error=error)
            for _, job_id in await step_cancel_open(connection, workflow_id=workflow_id):
                if job_id is None:
                    continue
                try:
                    await self.client.job_cancel(job_id, tx=connection)
                except JobNotFoundError:
                    self.logger.info("job %d of a cancelled workflow is gone already", job_id)
            await event_insert(
                connection, workflow_id=workflow_id, kind="workflow_cancelled", detail=error
            )

    async def wait(
        self, workflow_id: str, *, timeout: timedelta | None = None
    ) -> WorkflowExecution:
        """The execution once it has ended, by looking at it ten times a second.

        timeout: raises ``TimeoutError``.  Raises ``WorkflowNotFoundError``.
        """
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            while True:
                execution = await self.workflow_manager.get_workflow_execution(workflow_id)
                if execution.status.is_final:
                    return execution
                await asyncio.sleep(_POLL)

    async def _lock(
        self, connection: asyncpg.Connection, workflow_id: str
    ) -> tuple[WorkflowExecution, list[WorkflowStep]]:
        execution = await execution_lock(connection, workflow_id=workflow_id)
        if execution is None:
            raise WorkflowNotFoundError(workflow_id)
        return execution, await step_get_many(connection, workflow_id=workflow_id)

    async def _insert_jobs(
        self,
        connection: asyncpg.Connection,
        execution: WorkflowExecution,
        steps: list[WorkflowStep],
    ) -> list[str]:
        return await insert_ready_jobs(
            connection,
            client=self.client,
            definition=self.definition(execution.workflow_type),
            execution=execution,
            steps=steps,
            context=execution.context,
        )

    async def _revive(
        self, connection: asyncpg.Connection, execution: WorkflowExecution, step: WorkflowStep
    ) -> None:
        """Give an ended step its job back, or a fresh one where the old is gone."""
        if step.job_id is None:
            await step_reset(connection, workflow_id=step.workflow_id, step_name=step.step_name)
            return
        try:
            job = await self.client.job_retry(step.job_id, tx=connection)
        except JobNotFoundError:
            definition = self.definition(execution.workflow_type)
            fresh = dataclasses.replace(step, status=StepStatus.PENDING, job_id=None, depends_on=())
            await insert_ready_jobs(
                connection,
                client=self.client,
                definition=definition,
                execution=execution,
                steps=[fresh],
                context=execution.context,
            )
            return
        if job.state is JobState.RUNNING:
            raise WorkflowStateError(
                step.workflow_id, execution.status, f"job {job.id} still runs: try again shortly"
            )
        await step_set_job(
            connection, workflow_id=step.workflow_id, step_name=step.step_name, job_id=job.id
        )
