"""The jobs of a client that is not heard of are taken back, by any living client and no sooner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import Job, JobState, QueueConfig
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import SystemClock
from riverengine.run.dead_clients import DeadClientRescuer
from riverengine.run.heartbeat import Heartbeat
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from tests.integration.riverengine.test_heartbeat import OPTIONS, beating, left_running
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    heard,
    started,
    stored,
    wait_for_state,
    wait_for_yes,
)

PYTHON = "host_2026_11_24T01_51_10_454620_py"
GO = "host_2026_11_24T01_51_10_454620"


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
    """The look of another client."""
    return dead_client_rescuer(pool, clock)


def dead_client_rescuer(pool: asyncpg.Pool, clock: FakeClock) -> DeadClientRescuer:
    """The look of a client that runs nothing itself, with the real durations."""
    own = Heartbeat(
        asyncpg.connect,
        schema=None,
        client_id="looking",
        named=False,
        has_table=True,
        max_deaths=3,
        on_replaced=lambda: None,
        on_restored=lambda: None,
        logger=logging.getLogger("riverengine"),
    )
    return DeadClientRescuer(
        BoundedPool(pool),
        schema=None,
        client_id="looking",
        heartbeat=own,
        max_deaths=3,
        clock=clock,
        timings=MaintenanceTimings(),
    )


async def beat(pool: asyncpg.Pool, client_id: str) -> None:
    """A sign of life."""
    await pool.execute(
        "INSERT INTO riverengine_client (id, incarnation, host, pid) VALUES ($1,"
        " gen_random_uuid(), 'host', 1) ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()",
        client_id,
    )


async def look(rescuer: DeadClientRescuer, clock: FakeClock, *, seconds: float) -> int:
    """Look every ten seconds for so long; returns how many jobs were taken back."""
    taken = await rescuer.run_once()
    end = clock.seconds + seconds
    while clock.seconds < end:
        clock.seconds = min(clock.seconds + 10, end)
        taken += await rescuer.run_once()
    return taken


@pytest.mark.parametrize("client_id", [PYTHON, "worker-1"])
async def test_silence_of_25_seconds_is_death(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock, client_id: str
) -> None:
    dead = await left_running(pool, client_id)
    await beat(pool, client_id)
    assert await look(rescuer, clock, seconds=24) == 0
    assert await look(rescuer, clock, seconds=2) == 1
    row = await stored(pool, dead)
    assert (row.state, row.attempt) == (JobState.AVAILABLE, 1)
    assert row.metadata == {"river:rescue_count": 1, "riverengine:deaths": 1}
    assert await pool.fetchval("SELECT count(*) FROM riverengine_client") == 0


@pytest.mark.parametrize("client_id", [GO, "go-worker"])
async def test_go_s_jobs_are_never_touched(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock, client_id: str
) -> None:
    go = await left_running(pool, client_id)
    await beat(pool, "somebody else")
    assert await look(rescuer, clock, seconds=300) == 0
    assert (await stored(pool, go)).state is JobState.RUNNING


async def test_each_sign_of_life_counts_anew(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    mine = await left_running(pool, PYTHON)
    for _ in range(4):
        await beat(pool, PYTHON)
        assert await look(rescuer, clock, seconds=20) == 0
    assert (await stored(pool, mine)).state is JobState.RUNNING


@asynccontextmanager
async def untouchable(pool: asyncpg.Pool, *job_ids: int) -> AsyncIterator[None]:
    """A constraint that forbids to take these jobs back."""
    chosen = ", ".join(map(str, job_ids))
    await pool.execute(
        "ALTER TABLE river_job ADD CONSTRAINT no_poison"
        f" CHECK (id NOT IN ({chosen}) OR errors IS NULL)"
    )
    try:
        yield
    finally:
        await pool.execute("ALTER TABLE river_job DROP CONSTRAINT no_poison")


async def test_a_job_that_cannot_be_taken_back_holds_up_no_other(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    dead = [await left_running(pool, "a-worker") for _ in range(9)]
    others = [await left_running(pool, name) for name in ("b-worker", PYTHON)]
    for name in ("a-worker", "b-worker", PYTHON):
        await beat(pool, name)
    poison = {dead[2], dead[7]}
    async with untouchable(pool, *poison):
        assert await look(rescuer, clock, seconds=30) == 9
        for job_id in {*dead, *others} - poison:
            row = await stored(pool, job_id)
            assert (row.state, len(row.errors)) == (JobState.AVAILABLE, 1)
        for job_id in poison:
            assert (await stored(pool, job_id)).state is JobState.RUNNING
        assert rescuer.failures >= 2
    assert await look(rescuer, clock, seconds=40) == 2


async def test_a_job_that_cannot_be_taken_back_keeps_no_client_of_its_name_from_starting(
    pool: asyncpg.Pool,
) -> None:
    left = [
        await left_running(pool, "worker-1", attempted_at=datetime(2026, 1, 1, tzinfo=UTC))
        for _ in range(5)
    ]
    poison = left.pop(3)
    worker = NoteWorker()
    async with (
        untouchable(pool, poison),
        heard(pool, worker, client_options=OPTIONS, id="worker-1") as (_, events),
    ):
        done = await ended(events, 4)
        assert {event.job.id for event in done if event.job} == {*left}
        # Looking for jobs of its predecessor, the started client meets it again.
        other = await left_running(pool, "worker-1", attempted_at=datetime(2026, 1, 1, tzinfo=UTC))
        (event,) = await ended(events)
        assert event.job is not None
        assert event.job.id == other
    assert (await stored(pool, poison)).state is JobState.RUNNING


async def test_a_deleted_row_hides_no_job(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    await left_running(pool, PYTHON)
    await left_running(pool, "worker-1")
    await beat(pool, PYTHON)
    await beat(pool, "worker-1")
    assert await look(rescuer, clock, seconds=10) == 0
    await pool.execute("DELETE FROM riverengine_client")
    # What comes back is heard of as if it had just spoken.
    assert await look(rescuer, clock, seconds=30) == 0
    assert await look(rescuer, clock, seconds=10) == 2


async def test_an_outage_of_the_database_buries_nobody(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    """Afterwards every heartbeat is old; the first client to come back must not judge by that."""
    mine = await left_running(pool, PYTHON)
    await beat(pool, PYTHON)
    await pool.execute("UPDATE riverengine_client SET heartbeat_at = now() - interval '1 hour'")
    assert await look(rescuer, clock, seconds=10) == 0
    clock.seconds += 600
    assert await look(rescuer, clock, seconds=20) == 0
    assert (await stored(pool, mine)).state is JobState.RUNNING


async def test_a_sign_of_life_at_the_last_moment_saves_the_jobs(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    mine = await left_running(pool, PYTHON)
    await beat(pool, PYTHON)
    await look(rescuer, clock, seconds=20)
    (seen,) = rescuer._seen.values()
    await beat(pool, PYTHON)
    assert await rescuer._bury(PYTHON, seen.heartbeat_at) == 0
    assert (await stored(pool, mine)).state is JobState.RUNNING


async def test_a_job_another_transaction_holds_is_taken_back_later(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    held, free = await left_running(pool, PYTHON), await left_running(pool, PYTHON)
    await beat(pool, PYTHON)
    async with pool.acquire() as half_open, half_open.transaction():
        await half_open.execute("SELECT FROM river_job WHERE id = $1 FOR UPDATE", held)
        assert await look(rescuer, clock, seconds=30) == 1
    assert (await stored(pool, free)).state is JobState.AVAILABLE
    assert await look(rescuer, clock, seconds=40) == 1


async def test_from_the_second_death_on_jobs_start_apart(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    for _ in range(20):
        await left_running(pool, PYTHON, metadata='{"riverengine:deaths": 1}')
    await beat(pool, PYTHON)
    assert await look(rescuer, clock, seconds=30) == 20
    starts = await pool.fetch("SELECT scheduled_at FROM river_job ORDER BY 1")
    assert starts[-1]["scheduled_at"] - starts[0]["scheduled_at"] > timedelta(seconds=2)
    latest = await pool.fetchval("SELECT max(scheduled_at) - now() FROM river_job")
    assert latest < timedelta(seconds=10)


async def test_jobs_of_an_earlier_process_of_one_s_own_name_are_found(
    pool: asyncpg.Pool,
) -> None:
    """A restarted pod of the same name keeps the row fresh; the old jobs are not its own."""
    gate = Gate()
    async with started(pool, NoteWorker(gate), client_options=OPTIONS, id="worker-1") as client:
        own = (await client.insert(NoteArgs(text="own"))).job
        await gate.next()
        old = await left_running(pool, "worker-1", attempted_at=own.created_at - timedelta(hours=1))
        assert (await gate.next()).row.id == old
        assert (await stored(pool, own.id)).attempt == 1
        gate.opened.set()


@pytest.mark.parametrize("poll_only", [False, True])
@pytest.mark.parametrize("leader_election_disabled", [False, True])
async def test_any_living_client_takes_back(
    pool: asyncpg.Pool, poll_only: bool, leader_election_disabled: bool
) -> None:
    dead = await left_running(pool, PYTHON)
    async with heard(
        pool,
        NoteWorker(),
        client_options=OPTIONS,
        poll_only=poll_only,
        leader_election_disabled=leader_election_disabled,
    ) as (_, events):
        (event,) = await ended(events)
    assert event.job is not None
    assert event.job.id == dead


async def test_a_client_whose_event_loop_is_blocked_keeps_its_jobs(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer, clock: FakeClock
) -> None:
    async with beating(pool, PYTHON):
        mine = await left_running(pool, PYTHON)
        for _ in range(4):
            assert await rescuer.run_once() == 0
            clock.seconds += 20
            beaten = await pool.fetchval("SELECT heartbeat_at FROM riverengine_client")
            await wait_for_yes(pool, "SELECT heartbeat_at > $1 FROM riverengine_client", beaten)
        assert await rescuer.run_once() == 0
    assert (await wait_for_state(pool, mine, JobState.RUNNING)).attempt == 1


async def test_a_client_that_had_been_taken_for_dead_cancels_what_others_got(
    pool: asyncpg.Pool,
) -> None:
    """It was frozen, and wakes up: what it goes on doing would be done twice."""
    gate = Gate()
    cancelled: asyncio.Queue[str] = asyncio.Queue()

    async def work(job: Job[NoteArgs]) -> None:
        try:
            await gate(job)
        except asyncio.CancelledError:
            cancelled.put_nowait(job.args.text)
            raise

    queues = {"default": QueueConfig(max_workers=2)}
    async with started(pool, NoteWorker(work), queues=queues, client_options=OPTIONS) as client:
        lost = (await client.insert(NoteArgs(text="lost"))).job
        kept = (await client.insert(NoteArgs(text="kept"))).job
        for _ in range(2):
            await gate.next()
        # Somebody else took one of them, as it does with all jobs of the dead.
        await pool.execute(
            "UPDATE river_job SET attempt = 2, attempted_at = now(), attempted_by ="
            " array_append(attempted_by, 'somebody') WHERE id = $1",
            lost.id,
        )
        await pool.execute("DELETE FROM riverengine_client")
        async with asyncio.timeout(20):
            assert await cancelled.get() == "lost"
        gate.opened.set()
        await wait_for_state(pool, kept.id, JobState.COMPLETED)
        row = await stored(pool, lost.id)
        assert (row.state, row.attempt, row.errors) == (JobState.RUNNING, 2, ())
    assert cancelled.empty()


async def test_long_silent_rows_without_jobs_are_forgotten(
    pool: asyncpg.Pool, rescuer: DeadClientRescuer
) -> None:
    for client_id in ("idle", "worker-1"):
        await beat(pool, client_id)
    await left_running(pool, "worker-1")
    await pool.execute("UPDATE riverengine_client SET heartbeat_at = now() - interval '2 hours'")
    await beat(pool, "alive")
    await rescuer.run_once()
    left = await pool.fetch("SELECT id FROM riverengine_client ORDER BY id")
    assert [row["id"] for row in left] == ["alive", "worker-1"]
