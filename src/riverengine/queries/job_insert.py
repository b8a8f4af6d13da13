"""Statements that insert jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from riverengine.insert.plan import InsertPlan
from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, statement
from riverengine.types.job import JobRow

_INSERT_MANY = statement("job_insert.sql", "job_insert_many")

_COPY_COLUMNS = (
    *("args", "created_at", "kind", "max_attempts", "metadata", "priority", "queue"),
    *("scheduled_at", "state", "tags", "unique_key", "unique_states"),
)


async def job_insert_many(
    db: Executor, *, schema: str | None, plans: Sequence[InsertPlan], now: datetime
) -> list[tuple[JobRow, bool]]:
    """Insert rows in one statement; for each, in order, the row and whether it was there already.

    now: fills times the plans leave open, once for the whole batch.  A plan whose unique key is
    held yields the holder, unchanged.  Two plans with the same key raise
    ``asyncpg.CardinalityViolationError`` and insert nothing.
    Source: riverpgxv5 JobInsertFastMany at v0.51.1.
    """
    records = await db.fetch(
        _INSERT_MANY.sql(schema),
        [plan.encoded_args for plan in plans],
        [plan.created_at or now for plan in plans],
        [plan.kind for plan in plans],
        [plan.max_attempts for plan in plans],
        [plan.metadata_json for plan in plans],
        [plan.priority for plan in plans],
        [plan.queue for plan in plans],
        [plan.scheduled_at or now for plan in plans],
        [plan.state.value for plan in plans],
        [",".join(plan.tags) for plan in plans],
        [plan.unique_key for plan in plans],
        [plan.unique_states for plan in plans],
    )
    return [(job_row_from_record(record), record["skipped_as_duplicate"]) for record in records]


async def job_insert_many_fast(
    connection: asyncpg.Connection,
    *,
    schema: str | None,
    plans: Sequence[InsertPlan],
    now: datetime,
) -> int:
    """Insert rows by COPY and return their number.

    A held unique key raises ``asyncpg.UniqueViolationError`` and inserts nothing.
    Source: riverpgxv5 JobInsertFastManyNoReturning at v0.51.1.
    """
    await connection.copy_records_to_table(
        "river_job",
        schema_name=schema,
        columns=_COPY_COLUMNS,
        records=[_copy_record(plan, now) for plan in plans],
    )
    return len(plans)


def _copy_record(plan: InsertPlan, now: datetime) -> tuple[object, ...]:
    states = plan.unique_states
    return (
        *(plan.encoded_args, plan.created_at or now, plan.kind, plan.max_attempts),
        *(plan.metadata_json, plan.priority, plan.queue, plan.scheduled_at or now),
        *(plan.state.value, plan.tags, plan.unique_key),
        None if states is None else asyncpg.BitString.from_int(states, 8),
    )
