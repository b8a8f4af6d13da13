"""Rows of ``river_job`` for tests of the maintenance services, with times relative to now()."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import asyncpg

INSERT = """
INSERT INTO river_job (
    kind, args, metadata, state, attempt, max_attempts, attempted_at, scheduled_at, finalized_at,
    queue, unique_key, unique_states, priority
) VALUES (
    $1::text, $2::text::jsonb, $3::text::jsonb, $4::text::river_job_state, $5::smallint,
    $6::smallint, now() - $7::interval, now() - $8::interval, now() - $9::interval, $10::text,
    $11::bytea, $12::text::bit(8), $13::smallint
) RETURNING id
"""


async def insert_job(
    db: asyncpg.Pool,
    *,
    kind: str = "known",
    args: object = None,
    metadata: object = None,
    state: str = "available",
    attempt: int = 1,
    max_attempts: int = 25,
    attempted_ago: timedelta | None = None,
    scheduled_ago: timedelta = timedelta(0),
    finalized_ago: timedelta | None = None,
    queue: str = "default",
    unique_key: bytes | None = None,
    unique_states: str | None = None,
    priority: int = 1,
) -> int:
    """Insert a job and return its ID; ages count back from the database's present."""
    job_id: int = await db.fetchval(
        INSERT,
        kind,
        json.dumps({} if args is None else args),
        json.dumps({} if metadata is None else metadata),
        state,
        attempt,
        max_attempts,
        attempted_ago,
        scheduled_ago,
        finalized_ago,
        queue,
        unique_key,
        unique_states,
        priority,
    )
    return job_id


async def job(db: asyncpg.Pool, job_id: int) -> asyncpg.Record:
    """The stored row."""
    row = await db.fetchrow("SELECT * FROM river_job WHERE id = $1::bigint", job_id)
    assert row is not None
    return row


async def states(db: asyncpg.Pool) -> dict[int, str]:
    """State of every job by ID."""
    return {row["id"]: row["state"] for row in await db.fetch("SELECT id, state FROM river_job")}


async def blocked(pool: asyncpg.Pool) -> None:
    """Until a statement waits for another transaction."""
    async with asyncio.timeout(20):
        while True:
            waiting = await pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if waiting:
                return
            await asyncio.sleep(0.01)
