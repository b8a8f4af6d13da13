"""Statements of the conformance adapter: odd rows, faults, and looks at the server.

No client runs them: they arrange and observe what the suite's scenarios need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.errors import JobNotFoundError, JobNotRunningError
from riverengine.types.job import JobRow, JobState

_FILE = "conformance.sql"
_RESET = statement(_FILE, "conformance_reset")
_SCHEMA_DEFINITION = statement(_FILE, "conformance_schema_definition")
_CONNECTION_COUNT = statement(_FILE, "conformance_connection_count")
_DISCONNECT_APPLICATION = statement(_FILE, "conformance_disconnect_application")
_DISCONNECT_BACKENDS = statement(_FILE, "conformance_disconnect_backends")
_EXPIRE_LEADER = statement(_FILE, "conformance_expire_leader")
_FAIL = statement(_FILE, "conformance_fail")
_FINALIZE = statement(_FILE, "conformance_finalize")
_INSERT_EXACT = statement(_FILE, "conformance_insert_exact")
_INSERT_FULL = statement(_FILE, "conformance_insert_full")
_RAW_JSON = statement(_FILE, "conformance_raw_json")
_RAW_ROW = statement(_FILE, "conformance_raw_row")

FULL_ROW_ARGS = '{"nested":{"enabled":true},"values":[1,"two",null]}'
FULL_ROW_METADATA = '{"output":{"ok":true},"river:rescue_count":2,"user":"metadata"}'
FULL_ROW_ERROR = (
    '{"at":"2026-01-02T03:04:06.123456Z","attempt":3,'
    '"error":"worker failed: escaped \\"detail\\"","trace":"frame one\\nframe two"}'
)
FULL_ROW_UNIQUE_KEY = b"\xab" * 32
FULL_ROW_UNIQUE_STATES = 245
EXTERNAL_ERROR = (
    '{"at":"2026-02-03T04:05:06.789Z","attempt":1,"error":"external discard",'
    '"trace":"external trace"}'
)


async def reset(db: Executor, *, schema: str | None) -> None:
    """Empty River's runtime tables; ids start at 1 again."""
    await db.execute(_RESET.sql(schema))


async def create_schema(db: Executor, *, schema: str) -> None:
    """Make the schema unless it exists."""
    await db.execute(await db.fetchval(_SCHEMA_DEFINITION.sql(None), schema))


async def connection_count(db: Executor, *, application_name: str) -> int:
    """Connections of an application to this database."""
    count: int = await db.fetchval(_CONNECTION_COUNT.sql(None), application_name)
    return count


async def disconnect_application(db: Executor, *, application_name: str) -> int:
    """End the connections of an application, but for this one; returns how many."""
    count: int = await db.fetchval(_DISCONNECT_APPLICATION.sql(None), application_name)
    return count


async def disconnect_backends(db: Executor, *, pids: Sequence[int]) -> int:
    """End connections by process id; returns how many."""
    count: int = await db.fetchval(_DISCONNECT_BACKENDS.sql(None), list(pids))
    return count


async def expire_leader(db: Executor, *, schema: str | None) -> None:
    """Let the current term run out."""
    await db.execute(_EXPIRE_LEADER.sql(schema))


async def fail(db: Executor) -> None:
    """Raises ``asyncpg.DivisionByZeroError``; a transaction is aborted by it."""
    await db.fetchval(_FAIL.sql(None))


async def finalize(
    db: Executor, *, schema: str | None, job_id: int, state: JobState, metadata_json: str
) -> JobRow:
    """End a running job; raises ``JobNotFoundError`` or ``JobNotRunningError``."""
    record = await db.fetchrow(
        _FINALIZE.sql(schema),
        *(job_id, state.value, metadata_json),
        EXTERNAL_ERROR if state is JobState.DISCARDED else None,
    )
    if record is None:
        await raw_json(db, schema=schema, job_id=job_id)
        raise JobNotRunningError(job_id, 0)
    return job_row_from_record(record)


async def insert_exact(
    db: Executor,
    *,
    schema: str | None,
    job_id: int | None,
    kind: str,
    args_json: str,
    metadata_json: str,
) -> int:
    """Insert a job with these JSON texts and return its id, ``job_id`` if given."""
    inserted: int = await db.fetchval(
        _INSERT_EXACT.sql(schema), job_id, args_json, kind, metadata_json
    )
    return inserted


async def insert_full(db: Executor, *, schema: str | None) -> JobRow:
    """Insert a job that has a value in every column."""
    record = await db.fetchrow(
        _INSERT_FULL.sql(schema),
        *(FULL_ROW_ARGS, FULL_ROW_ERROR, FULL_ROW_METADATA),
        *(FULL_ROW_UNIQUE_KEY, FULL_ROW_UNIQUE_STATES),
    )
    return job_row_from_record(record)


async def raw_json(db: Executor, *, schema: str | None, job_id: int) -> tuple[str, str]:
    """The stored texts of args and metadata; raises ``JobNotFoundError``."""
    record: Record | None = await db.fetchrow(_RAW_JSON.sql(schema), job_id)
    if record is None:
        raise JobNotFoundError(job_id)
    return record["args"], record["metadata"]


async def raw_row(db: Executor, *, schema: str | None, job_id: int) -> Mapping[str, str | None]:
    """The columns as PostgreSQL renders them; raises ``JobNotFoundError``."""
    record = await db.fetchrow(_RAW_ROW.sql(schema), job_id)
    if record is None:
        raise JobNotFoundError(job_id)
    return dict(record)
