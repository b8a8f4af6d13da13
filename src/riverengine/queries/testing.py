"""Statements of :mod:`riverengine.testing`: what was inserted, attempts by hand, schemas to throw
away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, Record, statement
from riverengine.queries.transaction import transaction_check
from riverengine.types.errors import JobNotFoundError
from riverengine.types.job import JobRow

_FILE = "testing.sql"
_GET_BY_KIND_MANY = statement(_FILE, "job_get_by_kind_many")
_START_ATTEMPT = statement(_FILE, "job_start_attempt")
_SCHEMA_CREATE = statement(_FILE, "schema_create_command")
_SCHEMA_DROP = statement(_FILE, "schema_drop_command")
_SCHEMA_EMPTY = statement(_FILE, "schema_empty_command")
_SCHEMA_NAMES = statement(_FILE, "schema_names")


async def job_get_by_kind_many(
    db: Executor, *, schema: str | None, kinds: Sequence[str]
) -> list[JobRow]:
    """All jobs of these kinds, in any state, by id."""
    records = await db.fetch(_GET_BY_KIND_MANY.sql(schema), list(kinds))
    return [job_row_from_record(record) for record in records]


async def job_start_attempt(
    db: Executor, *, schema: str | None, job_id: int, client_id: str, attempted_at: datetime
) -> Record:
    """Set one job running, as a fetch would, whatever its state; raises ``JobNotFoundError``."""
    record: Record | None = await db.fetchrow(
        _START_ATTEMPT.sql(schema), job_id, attempted_at, client_id
    )
    if record is None:
        raise JobNotFoundError(job_id)
    return record


async def transaction_is_aborted(tx: Executor) -> bool:
    """Whether an error broke the transaction, so that only a rollback is possible."""
    try:
        await transaction_check(tx)
    except asyncpg.InFailedSQLTransactionError:
        return True
    return False


async def schema_create(db: Executor, name: str) -> None:
    """Make an empty schema."""
    await db.execute(await db.fetchval(_SCHEMA_CREATE.sql(None), name))


async def schema_drop(db: Executor, name: str) -> None:
    """Remove a schema with everything in it."""
    await db.execute(await db.fetchval(_SCHEMA_DROP.sql(None), name))


async def schema_empty(db: Executor, name: str) -> None:
    """Delete every row of a schema's tables but its migrations'; ids count from 1 again."""
    command = await db.fetchval(_SCHEMA_EMPTY.sql(None), name)
    if command is not None:
        await db.execute(command)


async def schema_names(db: Executor, *, prefix: str) -> list[str]:
    """The schemas whose name starts with ``prefix``, by name."""
    return [record["name"] for record in await db.fetch(_SCHEMA_NAMES.sql(None), prefix)]
