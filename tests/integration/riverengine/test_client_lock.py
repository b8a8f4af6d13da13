"""What a dead process left running is taken back: by its successor, or by any living client."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from riverengine import Client, ConfigError, InsertOpts, JobState
from riverengine.run.client_lock import ClientLock, DeadClientRescuer
from riverengine.run.clock import SystemClock
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    heard,
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
    async with heard(pool, worker, id="worker-1") as (_, events):
        (event,) = await ended(events)
    assert event.job is not None
    assert (event.job.id, event.job.attempt) == (mine, 2)
    assert event.job.state is JobState.COMPLETED
    assert event.job.errors[0].error == "Job taken back: its client's process died"
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
    async with heard(pool, worker, id="worker-1") as (_, events):
        if state is JobState.COMPLETED:
            await ended(events)
    row = await stored(pool, mine)
    assert row.state is state
    assert row.finalized_at is not None


async def test_two_living_clients_cannot_share_an_id(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(), id="worker-1"):
        own = ClientLock(
            schema=None,
            client_id="worker-1",
            named=True,
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


class FakeClock(SystemClock):
    """Monotonic time that tests move."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rescuer(pool: asyncpg.Pool, clock: FakeClock) -> DeadClientRescuer:
    return DeadClientRescuer(
        pool,
        schema=None,
        clock=clock,
        timings=MaintenanceTimings(),
        logger=Client(pool).logger,
    )


async def test_jobs_of_a_client_without_session_are_taken_back_after_a_while(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    dead = await left_running(pool, "host_2026_11_24T01_51_10_454620_py")
    go = await left_running(pool, "host_2026_11_24T01_51_10_454620")
    assert await rescuer.run_once() == 0
    clock.seconds += 14
    assert await rescuer.run_once() == 0
    clock.seconds += 2
    assert await rescuer.run_once() == 1
    row = await stored(pool, dead)
    assert (row.state, row.attempt) == (JobState.AVAILABLE, 1)
    assert row.metadata["river:rescue_count"] == 1
    assert (await stored(pool, go)).state is JobState.RUNNING


async def test_a_lock_that_was_free_only_for_a_moment_saves_the_jobs(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    client_id = "host_2026_11_24T01_51_10_454620_py"
    mine = await left_running(pool, client_id)
    assert await rescuer.run_once() == 0
    lock = ClientLock(
        schema=None,
        client_id=client_id,
        named=False,
        clock=SystemClock(),
        logger=Client(pool).logger,
    )
    clock.seconds += 10
    async with pool.acquire() as connection:
        await lock.prepare(connection)
        assert await rescuer.run_once() == 0
        clock.seconds += 10
        assert await rescuer.run_once() == 0
        await connection.execute("SELECT pg_advisory_unlock_all()")
    assert await rescuer.run_once() == 0
    assert (await stored(pool, mine)).state is JobState.RUNNING


async def test_a_working_client_is_never_taken_for_dead(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client:
        await client.insert(NoteArgs())
        await gate.next()
        for _ in range(3):
            assert await rescuer.run_once() == 0
            clock.seconds += 60
        assert client.id.endswith("_py")


async def test_a_polling_client_has_no_lock_and_is_left_to_the_rescuer(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), poll_only=True) as client:
        await client.insert(NoteArgs())
        await gate.next()
        for _ in range(3):
            assert await rescuer.run_once() == 0
            clock.seconds += 60
        assert not client.id.endswith("_py")


async def test_a_client_with_an_id_of_river_s_kind_takes_nothing_back_at_its_start(
    pool: asyncpg.Pool,
) -> None:
    async with started(pool, NoteWorker()) as client:
        mine = await left_running(pool, client.id)
        await client.stop()
        await client.start()
        assert (await stored(pool, mine)).state is JobState.RUNNING


async def test_an_id_whose_old_session_lingers_is_claimed_later(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    client_id = "host_2026_11_24T01_51_10_454620_py"
    await left_running(pool, client_id)
    lock = ClientLock(
        schema=None,
        client_id=client_id,
        named=False,
        clock=SystemClock(),
        logger=Client(pool).logger,
    )
    async with pool.acquire() as old, pool.acquire() as fresh:
        await lock.prepare(old)
        await lock.prepare(fresh)
        await lock.keep(fresh)
        await old.execute("SELECT pg_advisory_unlock_all()")
        await lock.keep(fresh)
        for _ in range(3):
            assert await rescuer.run_once() == 0
            clock.seconds += 60
        await fresh.execute("SELECT pg_advisory_unlock_all()")
    assert await rescuer.run_once() == 0
    clock.seconds += 60
    assert await rescuer.run_once() == 1
