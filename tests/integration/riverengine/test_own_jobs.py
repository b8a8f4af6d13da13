"""A restarted client takes back what its dead process left running."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from riverengine import Client, ConfigError, InsertOpts, JobState
from riverengine.run.clock import SystemClock
from riverengine.run.own_jobs import OwnJobs
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
)


async def left_running(pool: asyncpg.Pool, client_id: str, **columns: object) -> int:
    """A job that a process of this client left running."""
    job = (await Client(pool).insert(NoteArgs(), InsertOpts(max_attempts=3))).job
    await pool.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by ="
        " array['older', $2] WHERE id = $1",
        *(job.id, client_id),
    )
    for name, value in columns.items():
        await pool.execute(f"UPDATE river_job SET {name} = $2 WHERE id = $1", job.id, value)
    return job.id


async def test_jobs_left_running_run_again_at_once(pool: asyncpg.Pool) -> None:
    mine = await left_running(pool, "worker-1")
    others = await left_running(pool, "worker-2")
    worker = NoteWorker()
    async with started(pool, worker, id="worker-1") as client, client.subscribe() as events:
        (event,) = await ended(events)
    assert event.job is not None
    assert (event.job.id, event.job.attempt) == (mine, 2)
    assert event.job.state is JobState.COMPLETED
    assert event.job.errors[0].error == "Job taken back: its client was started again"
    assert event.job.metadata["river:rescue_count"] == 1
    assert (await stored(pool, others)).state is JobState.RUNNING


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"attempt": 3}, JobState.DISCARDED),
        ({"metadata": '{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'}, JobState.CANCELLED),
        ({"metadata": "[1]"}, JobState.COMPLETED),
    ],
)
async def test_what_is_taken_back_follows_the_rescuer_s_rules(
    pool: asyncpg.Pool, columns: dict[str, object], state: JobState
) -> None:
    mine = await left_running(pool, "worker-1", **columns)
    worker = NoteWorker()
    async with started(pool, worker, id="worker-1") as client, client.subscribe() as events:
        if state is JobState.COMPLETED:
            await ended(events)
    row = await stored(pool, mine)
    assert row.state is state
    assert row.finalized_at is not None


async def test_two_living_clients_cannot_share_an_id(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(), id="worker-1"):
        own = OwnJobs(
            schema=None,
            client_id="worker-1",
            clock=SystemClock(),
            logger=Client(pool).logger,
            claim_within=timedelta(milliseconds=50),
        )
        async with pool.acquire() as connection:
            with pytest.raises(ConfigError, match="worker-1"):
                await own.prepare(connection)
    async with pool.acquire() as connection:
        await own.prepare(connection)
        await connection.execute("SELECT pg_advisory_unlock_all()")


async def test_a_client_with_a_name_of_river_s_takes_nothing_back(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client:
        mine = await left_running(pool, client.id)
        await client.stop()
        await client.start()
        assert (await stored(pool, mine)).state is JobState.RUNNING
