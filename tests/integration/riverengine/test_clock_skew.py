"""A worker whose clock is hours off does no harm: horizons are the database's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import Client, Clock, InsertOpts, JobState, SystemClock
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from tests.integration.riverengine.job_rows import insert_job
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    started,
    stored,
    wait_for_state,
    wait_for_yes,
    wait_until,
)

HOURS = timedelta(hours=2)


class SkewedClock(SystemClock):
    """The wall clock of a badly set machine."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


def options(by: timedelta) -> dict[str, object]:
    """A client that maintains at once, by a wrong clock."""
    clock: Clock = SkewedClock(by)
    return {"clock": clock, "maintenance_timings": MaintenanceTimings(stagger=timedelta(0))}


@pytest.mark.parametrize("by", [-HOURS, HOURS], ids=["behind", "ahead"])
async def test_a_leader_with_a_wrong_clock_does_nothing_too_early(
    pool: asyncpg.Pool, by: timedelta
) -> None:
    hour = timedelta(hours=1)
    running = await insert_job(pool, state="running", attempted_ago=timedelta(minutes=50))
    stuck = await insert_job(pool, state="running", attempted_ago=timedelta(minutes=70))
    kept = await insert_job(pool, state="completed", finalized_ago=23 * hour)
    old = await insert_job(pool, state="completed", finalized_ago=25 * hour)
    later = await insert_job(pool, state="scheduled", scheduled_ago=-hour)
    due = await insert_job(pool, state="scheduled", scheduled_ago=timedelta(seconds=1))
    await pool.execute(
        "INSERT INTO river_queue (name, created_at, metadata, updated_at) VALUES"
        " ('fresh', now(), '{}', now() - interval '23 hours'),"
        " ('stale', now(), '{}', now() - interval '25 hours')"
    )
    async with started(pool, NoteWorker(), client_options=options(by)) as client:
        await wait_until(lambda: client.is_leader)
        await wait_for_state(pool, stuck, JobState.RETRYABLE, JobState.AVAILABLE)
        await wait_for_yes(
            pool,
            "SELECT NOT EXISTS (SELECT FROM river_job WHERE id = $1)"
            " AND NOT EXISTS (SELECT FROM river_queue WHERE name = 'stale')"
            " AND NOT EXISTS (SELECT FROM river_job WHERE id = $2 AND state = 'scheduled')",
            *(old, due),
        )
    assert (await stored(pool, running)).state is JobState.RUNNING
    assert (await stored(pool, kept)).state is JobState.COMPLETED
    assert (await stored(pool, later)).state is JobState.SCHEDULED
    assert await pool.fetchval("SELECT count(*) FROM river_queue WHERE name = 'fresh'") == 1


@pytest.mark.parametrize("by", [-HOURS, HOURS], ids=["behind", "ahead"])
async def test_a_scheduled_job_starts_by_the_database_s_clock(
    pool: asyncpg.Pool, by: timedelta
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=3)
    worker = NoteWorker()
    async with (
        started(pool, worker, client_options=options(by)) as client,
        client.subscribe() as events,
    ):
        await Client(pool).insert(NoteArgs(), InsertOpts(scheduled_at=at))
        await events.next(timeout=30)
    (job,) = worker.ran
    assert job.row.attempted_at is not None
    assert timedelta(0) <= job.row.attempted_at - at < timedelta(seconds=20)


async def test_of_clients_with_different_clocks_one_leads(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), client_options=options(HOURS)) as ahead,
        started(pool, NoteWorker(), client_options=options(-HOURS)) as behind,
    ):
        await wait_until(lambda: ahead.is_leader or behind.is_leader)
        for _ in range(20):
            assert not (ahead.is_leader and behind.is_leader)
            await asyncio.sleep(0.05)
        assert await pool.fetchval("SELECT count(*) FROM river_leader") == 1
