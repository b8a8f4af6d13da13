"""The database's side of one attempt of a step: begin, then commit, fail, put off or refuse.

Each is one transaction that starts by locking the execution, so that whatever changes a workflow
waits in line; each end includes the River job's own, fenced by the attempt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from riverengine import (
    Cancelled,
    Client,
    Completed,
    Failed,
    Job,
    JobNotFoundError,
    JobNotRunningError,
    JobRow,
    JobState,
    Json,
    Snoozed,
)
from riverengine.work.outcome import error_text
from riverjobs.args import BaseJobArgs
from riverjobs.context import checked_object, merged
from riverjobs.definition import WorkflowDefinition
from riverjobs.errors import is_permanent
from riverjobs.execution import (
    StepStatus,
    WorkflowExecution,
    WorkflowStatus,
    WorkflowStep,
)
from riverjobs.queries.event import event_insert
from riverjobs.queries.execution import (
    execution_lock,
    execution_set_completed,
    execution_set_context,
    execution_set_failed,
    execution_set_running,
)
from riverjobs.queries.step import (
    step_get_many,
    step_set_completed,
    step_set_ended,
    step_set_put_off,
    step_set_running,
)
from riverjobs.step_jobs import insert_ready_jobs

MAX_MESSAGE = 4096
"""Longest error message kept with a step."""

OnCommit = Callable[[asyncpg.Connection, Mapping[str, Json]], Awaitable[None]]
"""Writes the application's own rows in the step's commit; gets the merged context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step's code is given. context: a snapshot; changes to it are lost, return them."""

    workflow_id: str
    workflow_type: str
    step_name: str
    attempt: int
    org_id: str
    user_id: str
    context: Mapping[str, Json] = field(repr=False)
    job: Job[Any] = field(repr=False)

    def idempotency_key(self, purpose: str = "") -> str:
        """A key for a provider: the same for every attempt of this step and purpose."""
        parts = [self.workflow_id, self.step_name, *([purpose] if purpose else [])]
        return ":".join(parts)


class RefusedError(Exception):
    """The step must not run: its job ends as cancelled. Not an error of the step."""


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """One attempt, by one job. definition: of the workflow's type."""

    client: Client
    definition: WorkflowDefinition
    job: Job[Any]
    max_context_bytes: int

    @property
    def _args(self) -> BaseJobArgs:
        args: BaseJobArgs = self.job.args
        return args

    async def begin(self) -> StepContext | None:
        """Mark the step running and return what its code is given; None if it is done already.

        Raises ``RefusedError`` when the step must not run, ``JobNotRunningError`` when the attempt
        lost the job before: its process was frozen, or waited long for the lock.
        """
        args, row = self._args, self.job.row
        async with self.client.transaction() as connection:
            execution, step, _ = await self._lock(connection)
            await self._check_claim(connection)
            if step.job_id not in (None, row.id):
                raise RefusedError(f"job {step.job_id} runs step {args.step_name}")
            if step.status is StepStatus.COMPLETED:
                return None
            # A failed step whose job somebody retried by River's own means lives again.
            revived = execution.status is WorkflowStatus.FAILED and step.status is StepStatus.FAILED
            if execution.status.is_final and not revived:
                raise RefusedError(f"the workflow is {execution.status}")
            if execution.status is not WorkflowStatus.RUNNING:
                await execution_set_running(connection, workflow_id=args.workflow_id)
            await step_set_running(
                connection,
                workflow_id=args.workflow_id,
                step_name=args.step_name,
                job_id=row.id,
                attempt=row.attempt,
                input_data=execution.context,
            )
            await self._tell(connection, "step_started")
        return StepContext(
            workflow_id=args.workflow_id,
            workflow_type=args.workflow_type,
            step_name=args.step_name,
            attempt=row.attempt,
            org_id=args.org_id,
            user_id=args.user_id,
            context=execution.context,
            job=self.job,
        )

    async def commit(
        self, output: Mapping[str, Json] | None, on_commit: OnCommit | None = None
    ) -> None:
        """Everything a completed step changes, in one transaction.

        Raises ``ContextValueError`` for an output a context cannot hold, ``JobNotRunningError``
        when the attempt lost the job; nothing is written then.
        """
        args = self._args
        added = checked_object(output or {}, what="output")
        async with self.client.transaction() as connection:
            execution, _, _ = await self._lock(connection)
            await self.client.job_finish_tx(connection, self.job, Completed())
            context = merged(execution.context, added, limit=self.max_context_bytes)
            await step_set_completed(
                connection,
                workflow_id=args.workflow_id,
                step_name=args.step_name,
                output_data=added,
            )
            await execution_set_context(connection, workflow_id=args.workflow_id, context=context)
            await self._tell(connection, "step_completed")
            if on_commit is not None:
                await on_commit(connection, context)
            if execution.status is WorkflowStatus.RUNNING:
                await self._go_on(connection, execution, context)

    async def finish_again(self) -> None:
        """Complete the job of a step that is done already, and heal a missing successor."""
        async with self.client.transaction() as connection:
            execution, _, _ = await self._lock(connection)
            await self.client.job_finish_tx(connection, self.job, Completed())
            if execution.status is WorkflowStatus.RUNNING:
                await self._go_on(connection, execution, execution.context)

    async def is_committed(self) -> bool:
        """Whether this attempt completed its step, for a commit of unknown outcome."""
        steps = await step_get_many(self.client.pool, workflow_id=self._args.workflow_id)
        return any(
            step.step_name == self._args.step_name
            and step.status is StepStatus.COMPLETED
            and step.job_id == self.job.row.id
            and step.attempt == self.job.row.attempt
            for step in steps
        )

    async def fail(self, error: BaseException, *, retry_at: datetime) -> JobRow:
        """Record a failure: tried again at ``retry_at``, or the workflow's end.

        Returns the job as it is then.  Raises ``JobNotRunningError`` when the attempt lost it.
        """
        args, message = self._args, stored_message(error)
        outcome = Failed(error, retry_at=retry_at, permanent=is_permanent(error))
        async with self.client.transaction() as connection:
            execution, _, _ = await self._lock(connection)
            row = await self.client.job_finish_tx(connection, self.job, outcome)
            if not row.state.is_final:
                await step_set_put_off(
                    connection,
                    workflow_id=args.workflow_id,
                    step_name=args.step_name,
                    status=StepStatus.RETRYING,
                    error_message=message,
                    next_attempt_at=row.scheduled_at,
                )
                await self._tell(connection, "step_retrying", error=message)
                return row
            await self._end(connection, execution, row, type(error).__name__, message)
            return row

    async def refuse(self, reason: str) -> None:
        """The step's own code cancelled its job: the workflow has failed."""
        async with self.client.transaction() as connection:
            execution, _, _ = await self._lock(connection)
            row = await self.client.job_finish_tx(connection, self.job, Cancelled(reason))
            await self._end(connection, execution, row, "JobCancel", reason[:MAX_MESSAGE])

    async def put_off(self, duration: timedelta) -> None:
        """The step's own code asked to run again later; the attempt does not count."""
        args = self._args
        async with self.client.transaction() as connection:
            execution, _, _ = await self._lock(connection)
            row = await self.client.job_finish_tx(connection, self.job, Snoozed(duration))
            if row.state.is_final:
                await self._end(connection, execution, row, "JobCancel", "cancelled")
                return
            await step_set_put_off(
                connection,
                workflow_id=args.workflow_id,
                step_name=args.step_name,
                status=StepStatus.WAITING,
                error_message=None,
                next_attempt_at=row.scheduled_at,
            )
            await self._tell(connection, "step_waiting")

    async def _lock(
        self, connection: asyncpg.Connection
    ) -> tuple[WorkflowExecution, WorkflowStep, Sequence[WorkflowStep]]:
        args = self._args
        execution = await execution_lock(connection, workflow_id=args.workflow_id)
        if execution is None:
            raise RefusedError(f"workflow {args.workflow_id} does not exist")
        steps = await step_get_many(connection, workflow_id=args.workflow_id)
        for step in steps:
            if step.step_name == args.step_name:
                return execution, step, steps
        raise RefusedError(f"workflow {args.workflow_id} has no step {args.step_name}")

    async def _check_claim(self, connection: asyncpg.Connection) -> None:
        row = self.job.row
        try:
            stored = await self.client.job_get(row.id, tx=connection)
        except JobNotFoundError:
            raise JobNotRunningError(row.id, row.attempt) from None
        if stored.state is not JobState.RUNNING or stored.attempted_at != row.attempted_at:
            raise JobNotRunningError(row.id, row.attempt)

    async def _go_on(
        self,
        connection: asyncpg.Connection,
        execution: WorkflowExecution,
        context: Mapping[str, Json],
    ) -> None:
        """Insert the successors' jobs, or complete the workflow after its last step."""
        workflow_id = execution.workflow_id
        steps = await step_get_many(connection, workflow_id=workflow_id)
        await insert_ready_jobs(
            connection,
            client=self.client,
            definition=self.definition,
            execution=execution,
            steps=steps,
            context=context,
        )
        if all(step.status is StepStatus.COMPLETED for step in steps):
            await execution_set_completed(connection, workflow_id=workflow_id)
            await event_insert(connection, workflow_id=workflow_id, kind="workflow_completed")

    async def _end(
        self,
        connection: asyncpg.Connection,
        execution: WorkflowExecution,
        row: JobRow,
        error_type: str,
        message: str,
    ) -> None:
        """The step failed for good, or was cancelled together with its workflow."""
        args = self._args
        cancelled = execution.status is WorkflowStatus.CANCELLED
        await step_set_ended(
            connection,
            workflow_id=args.workflow_id,
            step_name=args.step_name,
            status=StepStatus.CANCELLED if cancelled else StepStatus.FAILED,
            error_message=message,
        )
        await self._tell(
            connection, "step_cancelled" if cancelled else "step_failed", error=message
        )
        if execution.status.is_final:
            return
        error = {
            "type": error_type,
            "message": message,
            "step": args.step_name,
            "attempt": self.job.row.attempt,
            "job_state": row.state.value,
        }
        await execution_set_failed(connection, workflow_id=args.workflow_id, error=error)
        await event_insert(
            connection, workflow_id=args.workflow_id, kind="workflow_failed", detail=error
        )

    async def _tell(
        self, connection: asyncpg.Connection, kind: str, *, error: str | None = None
    ) -> None:
        await event_insert(
            connection,
            workflow_id=self._args.workflow_id,
            kind=kind,
            step_name=self._args.step_name,
            attempt=self.job.row.attempt,
            detail={} if error is None else {"error": error},
        )


def stored_message(error: BaseException) -> str:
    """An error's text as it is kept: without what PostgreSQL refuses, and of bounded length."""
    text = error_text(error).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text.encode(errors="replace").decode()[:MAX_MESSAGE]
