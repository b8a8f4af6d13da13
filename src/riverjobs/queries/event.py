"""Statements on ``workflow_events``, which only ever grows."""

from __future__ import annotations

import json
from collections.abc import Mapping

from riverengine import Json
from riverengine.queries.statement import Executor, statement
from riverjobs.execution import WorkflowEvent

_PACKAGE = "riverjobs.queries.sql"
_INSERT = statement("event.sql", "event_insert", package=_PACKAGE).sql(None)
_GET_MANY = statement("event.sql", "event_get_many", package=_PACKAGE).sql(None)


async def event_insert(
    db: Executor,
    *,
    workflow_id: str,
    kind: str,
    step_name: str | None = None,
    attempt: int | None = None,
    detail: Mapping[str, Json] | None = None,
) -> None:
    """Add to a workflow's history."""
    await db.execute(_INSERT, workflow_id, kind, step_name, attempt, json.dumps(detail or {}))


async def event_get_many(db: Executor, *, workflow_id: str) -> list[WorkflowEvent]:
    """A workflow's history, in order."""
    return [
        WorkflowEvent(
            event_id=record["event_id"],
            workflow_id=record["workflow_id"],
            at=record["at"],
            kind=record["kind"],
            step_name=record["step_name"],
            attempt=record["attempt"],
            detail=json.loads(record["detail"]),
        )
        for record in await db.fetch(_GET_MANY, workflow_id)
    ]
