"""Tells workflows of jobs that ended behind their back: by River UI, the CLI, the rescuer, SQL."""

from __future__ import annotations

import asyncpg

from riverengine import Client, JobNotFoundError, JobRow, JobState
from riverjobs.execution import StepStatus, WorkflowExecution, WorkflowStatus, WorkflowStep
from riverjobs.queries.event import event_insert
from riverjobs.queries.execution import (
    execution_lock,
    execution_set_cancelled,
    execution_set_failed,
)
from riverjobs.queries.step import step_get_many, step_get_stranded, step_set_ended
from riverjobs.step_attempt import MAX_MESSAGE

BATCH = 500
"""Steps looked at in one run."""


async def reconcile(client: Client) -> int:
    """End the steps whose job ended or vanished without them, and their workflows.

    A transaction per step. Returns how many were ended.
    """
    stranded = await step_get_stranded(client.pool, river_schema=client.config.schema, limit=BATCH)
    ended = 0
    for workflow_id, step_name in stranded:
        async with client.transaction() as connection:
            ended += await _reconcile_step(client, connection, workflow_id, step_name)
    return ended


async def _reconcile_step(
    client: Client, connection: asyncpg.Connection, workflow_id: str, step_name: str
) -> bool:
    """Look again under the lock: a worker may have told the workflow meanwhile."""
    execution = await execution_lock(connection, workflow_id=workflow_id)
    if execution is None or execution.status.is_final:
        return False
    steps = await step_get_many(connection, workflow_id=workflow_id)
    step = next((each for each in steps if each.step_name == step_name), None)
    if step is None or not step.status.is_open or step.job_id is None:
        return False
    job: JobRow | None
    try:
        job = await client.job_get(step.job_id, tx=connection)
    except JobNotFoundError:
        job = None
    if job is not None and not job.state.is_final:
        return False
    await _end(connection, execution, step, job)
    return True


async def _end(
    connection: asyncpg.Connection,
    execution: WorkflowExecution,
    step: WorkflowStep,
    job: JobRow | None,
) -> None:
    workflow_id = execution.workflow_id
    cancelled = job is not None and job.state is JobState.CANCELLED
    message = _message(step, job)
    await step_set_ended(
        connection,
        workflow_id=workflow_id,
        step_name=step.step_name,
        status=StepStatus.CANCELLED if cancelled else StepStatus.FAILED,
        error_message=message,
    )
    error = {
        "type": "JobCancelled" if cancelled else "JobDeleted" if job is None else "JobEnded",
        "message": message,
        "step": step.step_name,
        "attempt": step.attempt,
        "job_state": None if job is None else job.state.value,
    }
    status = WorkflowStatus.CANCELLED if cancelled else WorkflowStatus.FAILED
    if cancelled:
        await execution_set_cancelled(connection, workflow_id=workflow_id, error=error)
    else:
        await execution_set_failed(connection, workflow_id=workflow_id, error=error)
    await event_insert(
        connection,
        workflow_id=workflow_id,
        kind=f"workflow_{status.value}",
        step_name=step.step_name,
        detail=error,
    )


def _message(step: WorkflowStep, job: JobRow | None) -> str:
    if job is None:
        return f"job {step.job_id} was deleted before the step was completed"
    if job.state is JobState.COMPLETED:
        return f"job {job.id} was completed without completing the step"
    last = job.errors[-1].error if job.errors else ""
    return f"job {job.id} is {job.state.value}{': ' + last if last else ''}"[:MAX_MESSAGE]
