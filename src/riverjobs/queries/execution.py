"""Statements on ``workflow_executions``. Those that change a row expect its lock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from riverengine import Json
from riverengine.queries.statement import Executor, Record, statement
from riverjobs.execution import WorkflowExecution, WorkflowStatus


def _query(name: str) -> str:
    return statement("execution.sql", name, package="riverjobs.queries.sql").sql(None)


_INSERT = _query("execution_insert")
_GET_BY_KEY = _query("execution_get_by_key")
_GET = _query("execution_get")
_LOCK = _query("execution_lock")
_LIST = _query("execution_list")
_SET_RUNNING = _query("execution_set_running")
_SET_CONTEXT = _query("execution_set_context")
_SET_COMPLETED = _query("execution_set_completed")
_SET_FAILED = _query("execution_set_failed")
_SET_CANCELLED = _query("execution_set_cancelled")
_GET_STUCK = _query("execution_get_stuck")
_DELETE_COMPLETED = _query("execution_delete_completed")
_COUNT = _query("execution_count")
_DURATIONS = _query("execution_durations")


async def execution_insert(
    db: Executor,
    *,
    workflow_id: str,
    workflow_type: str,
    context: Mapping[str, Json],
    definition_version: int,
    org_id: str,
    user_id: str,
    idempotency_key: str | None,
    queue: str | None,
    priority: int | None,
) -> bool:
    """Insert an execution; False when its idempotency key is taken."""
    found = await db.fetchval(
        _INSERT,
        *(workflow_id, workflow_type, json.dumps(context), definition_version),
        *(org_id, user_id, idempotency_key, queue, priority),
    )
    return found is not None


async def execution_get_by_key(
    db: Executor, *, workflow_type: str, idempotency_key: str
) -> str | None:
    """The id of the execution that holds the key."""
    found: str | None = await db.fetchval(_GET_BY_KEY, workflow_type, idempotency_key)
    return found


async def execution_get(db: Executor, *, workflow_id: str) -> WorkflowExecution | None:
    """The execution, or None."""
    return _execution(await db.fetchrow(_GET, workflow_id))


async def execution_lock(db: Executor, *, workflow_id: str) -> WorkflowExecution | None:
    """The execution, locked until the transaction ends; or None."""
    return _execution(await db.fetchrow(_LOCK, workflow_id))


async def execution_list(
    db: Executor, *, workflow_type: str | None, status: WorkflowStatus | None, limit: int
) -> list[WorkflowExecution]:
    """Executions, the newest first; None leaves a filter out."""
    records = await db.fetch(_LIST, workflow_type, status and status.value, limit)
    return [_from_record(record) for record in records]


async def execution_set_running(db: Executor, *, workflow_id: str) -> None:
    """The first step began, or the workflow goes on by hand."""
    await db.execute(_SET_RUNNING, workflow_id)


async def execution_set_context(
    db: Executor, *, workflow_id: str, context: Mapping[str, Json]
) -> None:
    """Replace the context."""
    await db.execute(_SET_CONTEXT, workflow_id, json.dumps(context))


async def execution_set_completed(db: Executor, *, workflow_id: str) -> None:
    """All steps are done."""
    await db.execute(_SET_COMPLETED, workflow_id)


async def execution_set_failed(
    db: Executor, *, workflow_id: str, error: Mapping[str, Json]
) -> None:
    """A step failed for good."""
    await db.execute(_SET_FAILED, workflow_id, json.dumps(error))


async def execution_set_cancelled(
    db: Executor, *, workflow_id: str, error: Mapping[str, Json]
) -> None:
    """Somebody wants no more of it."""
    await db.execute(_SET_CANCELLED, workflow_id, json.dumps(error))


async def execution_get_stuck(
    db: Executor, *, older_than: timedelta, limit: int
) -> list[WorkflowExecution]:
    """Executions that run longer than this, the oldest first."""
    return [_from_record(record) for record in await db.fetch(_GET_STUCK, older_than, limit)]


async def execution_delete_completed(
    db: Executor, *, older_than: timedelta, limit: int
) -> list[str]:
    """Delete completed executions older than this with all that belongs to them: their ids."""
    records = await db.fetch(_DELETE_COMPLETED, older_than, limit)
    return [record["workflow_id"] for record in records]


async def execution_count(db: Executor) -> Sequence[tuple[str, WorkflowStatus, int]]:
    """Number of executions per type and status."""
    return [
        (record["workflow_type"], WorkflowStatus(record["status"]), record["number"])
        for record in await db.fetch(_COUNT)
    ]


async def execution_durations(
    db: Executor, *, within: timedelta
) -> Sequence[tuple[str, int, float, float]]:
    """Per type: number, median and 95th percentile of the seconds of those completed lately."""
    return [
        (
            *(record["workflow_type"], record["number"]),
            *(float(record["median"]), float(record["p95"])),
        )
        for record in await db.fetch(_DURATIONS, within)
    ]


def _execution(record: Record | None) -> WorkflowExecution | None:
    return None if record is None else _from_record(record)


def _from_record(record: Record) -> WorkflowExecution:
    error = record["error"]
    return WorkflowExecution(
        workflow_id=record["workflow_id"],
        workflow_type=record["workflow_type"],
        status=WorkflowStatus(record["status"]),
        context=json.loads(record["context"]),
        started_at=record["started_at"],
        completed_at=record["completed_at"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        definition_version=record["definition_version"],
        org_id=record["org_id"],
        user_id=record["user_id"],
        idempotency_key=record["idempotency_key"],
        queue=record["queue"],
        priority=record["priority"],
        error=None if error is None else json.loads(error),
        cancel_requested_at=record["cancel_requested_at"],
    )
