"""Statements on ``workflow_steps``. Those that change a row expect their execution's lock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from riverengine import Json
from riverengine.queries.statement import Executor, Record, statement
from riverjobs.execution import StepStatus, WorkflowStep

_PACKAGE = "riverjobs.queries.sql"


def _query(name: str) -> str:
    return statement("step.sql", name, package=_PACKAGE).sql(None)


_INSERT_MANY = _query("step_insert_many")
_GET_MANY = _query("step_get_many")
_SET_JOB = _query("step_set_job")
_RESET = _query("step_reset")
_SET_RUNNING = _query("step_set_running")
_SET_COMPLETED = _query("step_set_completed")
_SET_PUT_OFF = _query("step_set_put_off")
_SET_ENDED = _query("step_set_ended")
_CANCEL_OPEN = _query("step_cancel_open")
_GET_STRANDED = statement("step.sql", "step_get_stranded", package=_PACKAGE)


async def step_insert_many(
    db: Executor, *, workflow_id: str, steps: Sequence[tuple[str, str, Sequence[str]]]
) -> None:
    """Insert a workflow's steps in order: id, name and the names of those before it."""
    await db.execute(
        _INSERT_MANY,
        workflow_id,
        [step_id for step_id, _, _ in steps],
        [name for _, name, _ in steps],
        list(range(len(steps))),
        [",".join(after) for _, _, after in steps],
    )


async def step_get_many(db: Executor, *, workflow_id: str) -> list[WorkflowStep]:
    """A workflow's steps, in order."""
    return [_step(record) for record in await db.fetch(_GET_MANY, workflow_id)]


async def step_set_job(db: Executor, *, workflow_id: str, step_name: str, job_id: int) -> None:
    """A job was inserted for the step, or its own was revived."""
    await db.execute(_SET_JOB, workflow_id, step_name, job_id)


async def step_reset(db: Executor, *, workflow_id: str, step_name: str) -> None:
    """A step that ended before it had a job is to wait for its predecessors again."""
    await db.execute(_RESET, workflow_id, step_name)


async def step_set_running(
    db: Executor,
    *,
    workflow_id: str,
    step_name: str,
    job_id: int,
    attempt: int,
    input_data: Mapping[str, Json],
) -> None:
    """An attempt began."""
    await db.execute(_SET_RUNNING, workflow_id, step_name, job_id, attempt, json.dumps(input_data))


async def step_set_completed(
    db: Executor, *, workflow_id: str, step_name: str, output_data: Mapping[str, Json]
) -> None:
    """The step is done."""
    await db.execute(_SET_COMPLETED, workflow_id, step_name, json.dumps(output_data))


async def step_set_put_off(
    db: Executor,
    *,
    workflow_id: str,
    step_name: str,
    status: Literal[StepStatus.RETRYING, StepStatus.WAITING],
    error_message: str | None,
    next_attempt_at: datetime,
) -> None:
    """The step runs again later. error_message: None keeps the last one."""
    await db.execute(
        _SET_PUT_OFF, workflow_id, step_name, status.value, error_message, next_attempt_at
    )


async def step_set_ended(
    db: Executor,
    *,
    workflow_id: str,
    step_name: str,
    status: Literal[StepStatus.FAILED, StepStatus.CANCELLED],
    error_message: str | None,
) -> None:
    """The step runs no more. error_message: None keeps the last one."""
    await db.execute(_SET_ENDED, workflow_id, step_name, status.value, error_message)


async def step_cancel_open(db: Executor, *, workflow_id: str) -> Sequence[tuple[str, int | None]]:
    """Cancel every step that may still run: their names and jobs."""
    records = await db.fetch(_CANCEL_OPEN, workflow_id)
    return [(record["step_name"], record["job_id"]) for record in records]


async def step_get_stranded(
    db: Executor, *, river_schema: str | None, limit: int
) -> Sequence[tuple[str, str]]:
    """Open steps whose job ended or vanished: workflow and step. Locks nothing."""
    records = await db.fetch(_GET_STRANDED.sql(river_schema), limit)
    return [(record["workflow_id"], record["step_name"]) for record in records]


def _step(record: Record) -> WorkflowStep:
    given, output = record["input_data"], record["output_data"]
    return WorkflowStep(
        step_id=record["step_id"],
        workflow_id=record["workflow_id"],
        step_name=record["step_name"],
        status=StepStatus(record["status"]),
        input_data=None if given is None else json.loads(given),
        output_data=None if output is None else json.loads(output),
        error_message=record["error_message"],
        started_at=record["started_at"],
        completed_at=record["completed_at"],
        created_at=record["created_at"],
        position=record["position"],
        depends_on=tuple(record["depends_on"]),
        attempt=record["attempt"],
        job_id=record["job_id"],
        next_attempt_at=record["next_attempt_at"],
    )
