"""Statements of the leader's maintenance services.

Horizons come from the database's clock: a leader whose own clock is wrong rescues and deletes
nothing it should not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.job import JobState

_FILE = "maintenance.sql"
_HORIZON = statement(_FILE, "database_horizon")
_SCHEDULE = statement(_FILE, "job_schedule")
_GET_STUCK = statement(_FILE, "job_get_stuck")
_RESCUE = statement(_FILE, "job_rescue_many")
_DELETE_BEFORE = statement(_FILE, "job_delete_before")
_QUEUE_DELETE_EXPIRED = statement(_FILE, "queue_delete_expired")
_SLOT_LOCK = statement(_FILE, "periodic_slot_lock")
_SLOT_EXISTS = statement(_FILE, "periodic_slot_exists")
_REINDEX_CLAIM = statement(_FILE, "reindex_claim")
_REINDEX_KEEP_CLAIM = statement(_FILE, "reindex_keep_claim")
_INDEX_ARTIFACTS = statement(_FILE, "index_artifacts")
_INDEX_EXISTS = statement(_FILE, "index_exists")
_INDEX_COMMAND = statement(_FILE, "index_command")

_LONGEST = timedelta(days=365 * 1000)
"""Longer ones leave PostgreSQL's calendar; there is no older row."""


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job the scheduler moved.

    discarded: because of its unique key, instead of made available.  due_now: may be fetched at
    once.
    """

    id: int
    queue: str
    discarded: bool
    due_now: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """A stuck job's new values. scheduled_at: None keeps the stored one."""

    id: int
    state: JobState
    error_json: str
    finalized_at: datetime | None
    scheduled_at: datetime | None


@dataclass(frozen=True, slots=True)
class IndexArtifact:
    """An index made by a concurrent rebuild. is_abandoned: unusable, and no rebuild needs it."""

    name: str
    is_abandoned: bool


async def database_horizon(db: Executor, *, age: timedelta) -> tuple[datetime, datetime]:
    """The database's present, and the instant ``age`` before it."""
    row = await db.fetchrow(_HORIZON.sql(None), min(age, _LONGEST))
    return row["now"], row["horizon"]


async def job_schedule(
    conn: Executor,
    *,
    schema: str | None,
    look_ahead: timedelta,
    due_within: timedelta,
    limit: int,
    take_keys: bool | None,
    timeout: float,
) -> list[ScheduledJob]:
    """Make scheduled and retryable jobs available, up to ``look_ahead`` early.

    take_keys: True for those that take their unique key by it, and wait for whoever is about to
    take it in a transaction under way; False for those that wait for nobody; None for all.

    Where another job holds the unique key, the job is discarded with the metadata key
    ``unique_key_conflict``. Rows locked by someone else are left for the next batch. ``due_within``
    bounds ``ScheduledJob.due_now``. A job inserted meanwhile under the same unique key raises
    asyncpg's ``UniqueViolationError``: run the batch again.
    """
    rows = await conn.fetch(
        *(_SCHEDULE.sql(schema), look_ahead, limit, due_within, take_keys), timeout=timeout
    )
    return [ScheduledJob(row["id"], row["queue"], row["discarded"], row["due_now"]) for row in rows]


async def job_get_stuck(
    db: Executor,
    *,
    schema: str | None,
    horizon: datetime,
    after_id: int,
    limit: int,
    timeout: float,
) -> Sequence[Record]:
    """Running jobs whose attempt began before ``horizon``, by ID, from ``after_id`` on.

    The rows carry all job columns and ``cancel_attempted_at``, the text of that metadata key or
    None. Args, metadata and errors are undecoded JSON text.
    """
    return await db.fetch(_GET_STUCK.sql(schema), horizon, after_id, limit, timeout=timeout)


async def job_rescue_many(
    db: Executor, *, schema: str | None, rescues: Sequence[Rescue], horizon: datetime
) -> list[int]:
    """Apply ``rescues`` to the jobs still stuck, and return their IDs.

    ``horizon`` must be the one the jobs were selected with: a job that finished, or was fetched
    again meanwhile, stays as it is, as does one locked by someone else.
    """
    rows = await db.fetch(
        _RESCUE.sql(schema),
        [rescue.id for rescue in rescues],
        [rescue.state.value for rescue in rescues],
        [rescue.error_json for rescue in rescues],
        [rescue.finalized_at for rescue in rescues],
        [rescue.scheduled_at for rescue in rescues],
        horizon,
    )
    return [row["id"] for row in rows]


async def job_delete_before(
    db: Executor,
    *,
    schema: str | None,
    cancelled: timedelta | None,
    completed: timedelta | None,
    discarded: timedelta | None,
    limit: int,
    timeout: float,
) -> int:
    """Delete up to ``limit`` final jobs older than their state's age; None keeps the state."""
    tag = await db.execute(
        _DELETE_BEFORE.sql(schema),
        *(age if age is None else min(age, _LONGEST) for age in (cancelled, completed, discarded)),
        limit,
        timeout=timeout,
    )
    return int(tag.rpartition(" ")[2])


async def queue_delete_expired(
    db: Executor, *, schema: str | None, age: timedelta, limit: int, timeout: float
) -> list[str]:
    """Delete up to ``limit`` queue rows without a heartbeat for ``age``; returns their names."""
    rows = await db.fetch(_QUEUE_DELETE_EXPIRED.sql(schema), age, limit, timeout=timeout)
    return [row["name"] for row in rows]


async def periodic_slot_claim(
    conn: Executor, *, schema: str | None, job_id: str, slot: datetime, slot_key: str
) -> bool:
    """Whether no job exists yet for this instant of a periodic job; keeps others from inserting it.

    Needs a transaction in READ COMMITTED: the claim ends with it. A job counts by ``slot_key`` in
    its metadata, or, if another runtime inserted it, by its ``scheduled_at``.
    """
    text = slot.isoformat()
    await conn.execute(_SLOT_LOCK.sql(schema), schema, f"{job_id} {text}")
    named = {"river:periodic_job_id": job_id}
    exists = await conn.fetchval(
        _SLOT_EXISTS.sql(schema),
        json.dumps({**named, slot_key: text}),
        json.dumps(named),
        slot,
    )
    return not exists


async def reindex_claim(conn: Executor, *, schema: str | None) -> bool:
    """Whether no other transaction has claimed the rebuild of the schema's indexes.

    The claim ends with the connection's transaction.
    """
    is_claimed = await conn.fetchval(_REINDEX_CLAIM.sql(schema), schema)
    # Without arguments, and last: a statement with some keeps its snapshot until the next one, and
    # the rebuild would wait for it.
    await conn.execute(_REINDEX_KEEP_CLAIM.sql(schema))
    return bool(is_claimed)


async def index_artifacts(
    db: Executor, *, schema: str | None, index: str, own_pid: int = 0
) -> list[IndexArtifact]:
    """Indexes that look as if a concurrent rebuild of ``index`` made them.

    own_pid: the session of one's own rebuild, whose end need not be waited for.
    """
    rows = await db.fetch(_INDEX_ARTIFACTS.sql(schema), schema, index, own_pid)
    return [IndexArtifact(row["name"], row["is_abandoned"]) for row in rows]


async def index_exists(db: Executor, *, schema: str | None, index: str) -> bool:
    """Whether the index exists."""
    return bool(await db.fetchval(_INDEX_EXISTS.sql(schema), schema, index))


async def index_rebuild(
    conn: Executor, *, schema: str | None, index: str, timeout: float | None
) -> None:
    """Rebuild the index without blocking writers; not inside a transaction.

    timeout: seconds, None for no limit.
    """
    command = await conn.fetchval(_INDEX_COMMAND.sql(schema), "reindex", schema, index)
    await conn.execute(command, timeout=timeout)


async def index_drop(conn: Executor, *, schema: str | None, index: str, timeout: float) -> None:
    """Drop the index, if it exists, without blocking writers; not inside a transaction."""
    command = await conn.fetchval(_INDEX_COMMAND.sql(schema), "drop", schema, index)
    await conn.execute(command, timeout=timeout)
