"""Statements that insert jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from riverengine.insert.plan import InsertPlan
from riverengine.queries.conflicts import conflict_of, origin_of
from riverengine.queries.copy_text import copy_text
from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.notification import TOPIC_INSERT
from riverengine.queries.statement import CopyExecutor, Executor, Record, statement
from riverengine.types.job import JobRow

_FILE = "job_insert.sql"
_INSERT = statement(_FILE, "job_insert")
_INSERT_ANNOUNCED = statement(_FILE, "job_insert_announced")
_INSERT_MANY = statement(_FILE, "job_insert_many")
_INSERT_MANY_ANNOUNCED = statement(_FILE, "job_insert_many_announced")
_INSERT_MANY_UNIQUE = statement(_FILE, "job_insert_many_unique")
_INSERT_NO_RETURNING = statement(_FILE, "job_insert_many_no_returning")
_INSERT_COPY = statement(_FILE, "job_insert_copy")

_COPY_COLUMNS = (
    *("args", "created_at", "kind", "max_attempts", "metadata", "priority", "queue"),
    *("scheduled_at", "state", "tags", "unique_key", "unique_states"),
)


class Run(Protocol):
    """Runs a statement: an executor's ``fetch``, or a database's ``write``."""

    async def __call__(
        self, query: str, *args: object, timeout: float | None = None
    ) -> Sequence[Any]:
        """The statement's rows."""


async def job_insert_many(
    run: Run,
    *,
    schema: str | None,
    plans: Sequence[InsertPlan],
    now: datetime,
    payloads: Sequence[str] = (),
    timeout: float | None = None,
) -> list[tuple[JobRow, bool]]:
    """Insert rows in one statement; for each, in order, the row and whether it was there already.

    now: fills times the plans leave open, once for the whole batch.  payloads: notifications of
    the insert, sent in its transaction.  A plan whose unique key is held yields the holder,
    unchanged.  Two plans with the same key raise ``DuplicateInBatchError`` and insert nothing.
    Source: riverpgxv5 JobInsertFastMany at v0.51.1.
    """
    arguments: tuple[object, ...]
    if len(plans) == 1:
        insert = _INSERT_ANNOUNCED if payloads else _INSERT
        arguments = _values(plans[0], now)
    else:
        insert = _INSERT_MANY_ANNOUNCED if payloads else _INSERT_MANY
        arguments = _columns(plans, now)
    if _have_several_keys(plans):
        insert = _INSERT_MANY_UNIQUE
    if payloads or insert is _INSERT_MANY_UNIQUE:
        arguments += (schema, TOPIC_INSERT, list(payloads))
    try:
        records = await run(insert.sql(schema), *arguments, timeout=timeout)
    except Exception as error:
        _raise_conflict(error)
        raise
    if insert is _INSERT_MANY_UNIQUE:
        records = _in_order(plans, records)
    return [(job_row_from_record(record), record["skipped_as_duplicate"]) for record in records]


async def job_insert_many_fast(
    db: Executor, *, schema: str | None, plans: Sequence[InsertPlan], now: datetime
) -> int:
    """Insert rows by COPY, or by INSERT where the driver has no COPY, and return their number.

    Rows with unique keys come first, in the order of the keys, as :func:`job_insert_many` writes
    them: batches never wait for each other's keys crosswise, but ids do not keep their order.  A
    held unique key raises ``UniqueConflictError`` and inserts nothing.
    Source: riverpgxv5 JobInsertFastManyNoReturning at v0.51.1.
    """
    if _have_several_keys(plans):
        plans = sorted(plans, key=lambda plan: (plan.unique_key is None, plan.unique_key or b""))
    try:
        if isinstance(db, asyncpg.Connection):
            await db.copy_to_table(
                "river_job",
                schema_name=schema,
                columns=_COPY_COLUMNS,
                encoding="UTF8",
                # asyncpg takes bytes for the name of a file.
                source=memoryview(copy_text(plans, now)),
            )
        elif isinstance(db, CopyExecutor):
            await db.copy(_INSERT_COPY.sql(schema), copy_text(plans, now))
        else:
            await db.execute(_INSERT_NO_RETURNING.sql(schema), *_columns(plans, now))
    except Exception as error:
        _raise_conflict(error)
        raise
    return len(plans)


def _have_several_keys(plans: Sequence[InsertPlan]) -> bool:
    return sum(plan.unique_key is not None for plan in plans) > 1


def _in_order(plans: Sequence[InsertPlan], records: Sequence[Record]) -> Sequence[Record]:
    """The plans' records, which come in the order of their keys, those without a key at the end."""
    by_key = {record["unique_key"]: record for record in records}
    without = iter(records[sum(plan.unique_key is not None for plan in plans) :])
    return [next(without) if plan.unique_key is None else by_key[plan.unique_key] for plan in plans]


def _columns(plans: Sequence[InsertPlan], now: datetime) -> tuple[list[object], ...]:
    rows = [_values(plan, now) for plan in plans]
    return tuple([row[column] for row in rows] for column in range(len(_COPY_COLUMNS)))


def _values(plan: InsertPlan, now: datetime) -> tuple[object, ...]:
    return (
        plan.encoded_args,
        plan.created_at or now,
        plan.kind,
        plan.max_attempts,
        plan.metadata_json,
        plan.priority,
        plan.queue,
        plan.scheduled_at or now,
        plan.state.value,
        ",".join(plan.tags),
        plan.unique_key,
        plan.unique_states,
    )


def _raise_conflict(error: Exception) -> None:
    conflict = conflict_of(error)
    if conflict is not None:
        raise conflict from origin_of(error)
