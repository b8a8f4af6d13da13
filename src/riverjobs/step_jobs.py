"""Turns the steps that are ready into River jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg

from riverengine import Client, InsertManyParams, InsertOpts, Json
from riverjobs.definition import StepDefinition, WorkflowDefinition
from riverjobs.errors import DefinitionError
from riverjobs.execution import StepStatus, WorkflowExecution, WorkflowStep
from riverjobs.queries.step import step_set_job


def ready_steps(steps: Sequence[WorkflowStep]) -> list[WorkflowStep]:
    """Steps that have no job yet and whose predecessors are all completed."""
    completed = {step.step_name for step in steps if step.status is StepStatus.COMPLETED}
    return [
        step
        for step in steps
        if step.status is StepStatus.PENDING
        and step.job_id is None
        and completed.issuperset(step.depends_on)
    ]


def job_of(
    definition: WorkflowDefinition,
    step: StepDefinition,
    execution: WorkflowExecution,
    context: Mapping[str, Json],
) -> InsertManyParams:
    """The job of a step. The step's settings win over the start's, these over the definition's.

    The metadata are those by which River UI draws a workflow.
    """
    chosen = definition.insert_opts(context) if definition.insert_opts else InsertOpts()
    args = step.args_type(
        workflow_id=execution.workflow_id,
        workflow_type=execution.workflow_type,
        step_name=step.name,
        org_id=execution.org_id,
        user_id=execution.user_id,
    )
    opts = InsertOpts(
        queue=step.queue or execution.queue or chosen.queue,
        priority=step.priority or execution.priority or chosen.priority,
        max_attempts=step.max_attempts or chosen.max_attempts,
        tags=chosen.tags,
        metadata={
            "workflow_id": execution.workflow_id,
            "workflow_name": execution.workflow_type,
            "task": step.name,
            "deps": list(step.after),
        },
    )
    return InsertManyParams(args, opts)


async def insert_ready_jobs(
    connection: asyncpg.Connection,
    *,
    client: Client,
    definition: WorkflowDefinition,
    execution: WorkflowExecution,
    steps: Sequence[WorkflowStep],
    context: Mapping[str, Json],
) -> list[str]:
    """Insert a job for each ready step, in the connection's transaction; returns their names.

    The transaction holds the execution's lock, so that no step gets two.
    """
    ready = ready_steps(steps)
    if not ready:
        return []
    jobs = []
    for step in ready:
        declared = definition.step(step.step_name)
        if declared is None:
            raise DefinitionError(
                f"workflow {definition.type!r} has no step {step.step_name!r} any more, but "
                f"execution {execution.workflow_id} waits for it"
            )
        jobs.append(job_of(definition, declared, execution, context))
    results = await client.insert_many(jobs, tx=connection)
    for step, result in zip(ready, results, strict=True):
        await step_set_job(
            connection,
            workflow_id=execution.workflow_id,
            step_name=step.step_name,
            job_id=result.job.id,
        )
    return [step.step_name for step in ready]
