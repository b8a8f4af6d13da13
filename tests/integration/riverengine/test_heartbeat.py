"""A living client is heard of whatever its event loop does, and holds its id alone."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import asyncpg
import pytest

from riverengine import Client, ConfigError, InsertOpts, JobState
from riverengine.run.connect import connect_beside
from riverengine.run.heartbeat import Heartbeat, HeartbeatState, HeartbeatTimings
from riverengine.schema import ENGINE_LINE, Migrator
from tests.integration.riverengine.working import (
    SOON,
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    heard,
    started,
    stored,
    wait_for_state,
    wait_for_yes,
    wait_until,
)
from tests.tcp_proxy import TcpProxy

QUICK = HeartbeatTimings(
    interval=timedelta(milliseconds=100),
    timeout=timedelta(seconds=1),
    dead_after=timedelta(seconds=3),
    look_interval=timedelta(milliseconds=200),
    lock_within=timedelta(milliseconds=500),
)
OPTIONS = {"heartbeat_timings": QUICK}


async def left_running(pool: asyncpg.Pool, client_id: str, **columns: object) -> int:
    """A job that a process of this client left running."""
    # Nobody sees it available: a client that works would take it.
    async with pool.acquire() as connection, connection.transaction():
        opts = InsertOpts(max_attempts=3)
        job = (await Client(pool).insert(NoteArgs(), opts, tx=connection)).job
        await connection.execute(
            "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),"
            " attempted_by = array['older', $2] WHERE id = $1",
            *(job.id, client_id),
        )
        for name, value in columns.items():
            await connection.execute(
                f"UPDATE river_job SET {name} = $2 WHERE id = $1", job.id, value
            )
    return job.id


@asynccontextmanager
async def beating(
    pool: asyncpg.Pool, client_id: str = "worker-1", *, timings: HeartbeatTimings = QUICK
) -> AsyncIterator[Heartbeat]:
    """A process that lives under a name."""
    heartbeat = Heartbeat(
        lambda: connect_beside(pool),
        schema=None,
        client_id=client_id,
        named=True,
        has_table=True,
        max_deaths=3,
        on_replaced=lambda: None,
        on_restored=lambda: None,
        logger=logging.getLogger("riverengine"),
        timings=timings,
    )
    await heartbeat.start()
    try:
        yield heartbeat
    finally:
        await heartbeat.stop()


@pytest.mark.parametrize("poll_only", [False, True])
async def test_a_working_client_has_a_row_until_it_stops(
    pool: asyncpg.Pool, poll_only: bool
) -> None:
    async with started(pool, NoteWorker(), client_options=OPTIONS, poll_only=poll_only) as client:
        row = await pool.fetchrow("SELECT * FROM riverengine_client")
        assert (row["id"], row["pid"] > 0) == (client.id, True)
        await wait_until(lambda: client.health.heartbeats == "beating")
        await wait_for_yes(
            pool, "SELECT max(heartbeat_at) > $1 FROM riverengine_client", row["heartbeat_at"]
        )
    assert await pool.fetchval("SELECT count(*) FROM riverengine_client") == 0
    assert client.health.heartbeats == "off"


async def test_a_blocked_event_loop_beats_on(database_url: str, pool: asyncpg.Pool) -> None:
    """What a careless worker does: nothing runs on the loop while somebody else looks."""
    seen: set[datetime] = set()

    async def look() -> None:
        observer = await asyncpg.connect(database_url)
        ends = time.monotonic() + SOON
        while len(seen) < 4 and time.monotonic() < ends:
            seen.add(await observer.fetchval("SELECT heartbeat_at FROM riverengine_client"))
            await asyncio.sleep(0.02)
        await observer.close()

    async with started(pool, NoteWorker(), client_options=OPTIONS):
        other = threading.Thread(target=lambda: asyncio.run(look()))
        other.start()
        other.join()
    assert len(seen) == 4


@pytest.mark.parametrize(
    "happened",
    [
        "DELETE FROM riverengine_client",
        # Deleted, and made again by another client that saw a job of a client without a row.
        "UPDATE riverengine_client SET incarnation = '00000000-0000-0000-0000-000000000000'",
    ],
    ids=["deleted", "expected"],
)
async def test_a_lost_row_comes_back(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture, happened: str
) -> None:
    async with started(pool, NoteWorker(), client_options=OPTIONS):
        own = await pool.fetchval("SELECT incarnation FROM riverengine_client")
        await pool.execute(happened)
        await wait_for_yes(
            pool, "SELECT count(*) = 1 FROM riverengine_client WHERE incarnation = $1", own
        )
        await wait_until(lambda: "taken for dead" in caplog.text)
    assert caplog.text.count("taken for dead") == 1


async def test_a_client_whose_id_another_process_took_stops(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), client_options=OPTIONS, id="worker-1") as client:
        await client.insert(NoteArgs())
        await gate.next()
        await pool.execute("UPDATE riverengine_client SET incarnation = gen_random_uuid()")
        async with asyncio.timeout(20):
            await client.stopped.wait()
    assert await pool.fetchval("SELECT count(*) FROM riverengine_client") == 1


async def test_two_living_clients_cannot_share_a_name(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), client_options=OPTIONS, id="worker-1") as client:
        job = (await client.insert(NoteArgs())).job
        await gate.next()
        with pytest.raises(ConfigError, match="worker-1"):
            async with beating(pool):
                pass
        assert (await stored(pool, job.id)).state is JobState.RUNNING
    async with beating(pool):
        pass


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
    assert event.job.metadata == {"river:rescue_count": 1, "riverengine:deaths": 1}
    assert (await stored(pool, others)).state is JobState.RUNNING


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"attempt": 3}, JobState.DISCARDED),
        ({"metadata": '{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'}, JobState.CANCELLED),
        ({"metadata": "[1]"}, JobState.COMPLETED),
        ({"metadata": '{"riverengine:deaths": "x"}'}, JobState.COMPLETED),
        ({"metadata": '{"riverengine:deaths": 1e300}'}, JobState.DISCARDED),
        ({"attempt": -3}, JobState.COMPLETED),
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


async def test_a_job_whose_processes_die_three_times_is_set_aside(pool: asyncpg.Pool) -> None:
    mine = await left_running(pool, "worker-1")
    for deaths in (1, 2, 3):
        await pool.execute("UPDATE river_job SET state = 'running', attempt = 1")
        async with beating(pool):
            pass
        row = await stored(pool, mine)
        assert row.metadata["riverengine:deaths"] == deaths
        assert row.state is (JobState.DISCARDED if deaths == 3 else JobState.AVAILABLE)
        await pool.execute("DELETE FROM riverengine_client")
    assert row.errors[-1].error == "Job set aside: its client's process died 3 times while it ran"
    assert row.errors[-1].attempt == 1


async def test_no_number_of_deaths_sets_aside_when_told_so(pool: asyncpg.Pool) -> None:
    mine = await left_running(pool, "worker-1", metadata='{"riverengine:deaths": 7}')
    async with started(pool, NoteWorker(), id="worker-1", max_process_deaths=0):
        row = await wait_for_state(pool, mine, JobState.COMPLETED)
    assert row.metadata["riverengine:deaths"] == 8


async def test_a_name_whose_session_outlived_its_machine_is_taken_after_a_while(
    pool: asyncpg.Pool,
) -> None:
    """The server holds the session of a vanished machine for hours; the heartbeats tell."""
    mine = await left_running(pool, "worker-1")
    await pool.execute(
        "INSERT INTO riverengine_client (id, incarnation, host, pid)"
        " VALUES ('worker-1', gen_random_uuid(), 'gone', 1)"
    )
    async with pool.acquire() as vanished:
        await vanished.execute(
            "SELECT pg_advisory_lock(hashtextextended('riverengine:client::worker-1', 0))"
        )
        began = time.monotonic()
        async with beating(pool) as heartbeat:
            assert time.monotonic() - began >= QUICK.dead_after.total_seconds()
            assert heartbeat.state is HeartbeatState.BEATING
        await vanished.execute("SELECT pg_advisory_unlock_all()")
    assert (await stored(pool, mine)).state is JobState.AVAILABLE


async def test_a_client_with_an_id_of_river_s_kind_takes_nothing_back_at_its_start(
    pool: asyncpg.Pool,
) -> None:
    async with started(pool, NoteWorker()) as client:
        mine = await left_running(pool, client.id)
        await client.stop()
        await client.start()
        assert (await stored(pool, mine)).state is JobState.RUNNING
        assert client.id.endswith("_py")


async def test_heartbeats_get_over_a_silent_link(database_url: str, pool: asyncpg.Pool) -> None:
    async with TcpProxy(database_url) as proxy:
        behind = await asyncpg.create_pool(proxy.url, min_size=1, max_size=1)
        try:
            async with beating(behind) as heartbeat:
                proxy.fall_silent()
                await wait_until(lambda: heartbeat.errors > 0)
                await wait_until(lambda: heartbeat.state is HeartbeatState.LATE)
                proxy.recover()
                await wait_until(lambda: heartbeat.state is HeartbeatState.BEATING)
                await wait_for_yes(
                    pool,
                    "SELECT clock_timestamp() - heartbeat_at < $1 FROM riverengine_client",
                    QUICK.dead_after,
                )
        finally:
            behind.terminate()


async def test_a_client_that_gets_no_connection_beside_its_pool_beats_on(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL may have no room for one more while the pool's connections work jobs."""
    has_room = True

    async def connect() -> asyncpg.Connection:
        if not has_room:
            raise asyncpg.TooManyConnectionsError("sorry, too many clients already")
        return await connect_beside(pool)

    options = {**OPTIONS, "connect": connect}
    async with started(pool, NoteWorker(), client_options=options, poll_only=True) as client:
        has_room = False
        await wait_for_yes(
            pool,
            "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '-- A heartbeat%'",
        )
        heartbeat = client._presence._heartbeat
        assert heartbeat is not None
        await wait_until(lambda: heartbeat.errors > 1)
        at = await pool.fetchval("SELECT heartbeat_at FROM riverengine_client")
        await wait_for_yes(
            pool,
            "SELECT heartbeat_at > $1::timestamptz + $2 FROM riverengine_client",
            *(at, QUICK.dead_after),
        )
        await wait_until(lambda: client.health.heartbeats is HeartbeatState.BEATING)
    assert "taken for dead" not in caplog.text


async def test_without_our_table_a_warning_names_the_command(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncpg.create_pool(empty_database, min_size=1, max_size=5) as plain:
        async with plain.acquire() as connection:
            await Migrator(connection).migrate_up()
        mine = await left_running(plain, "worker-1")
        async with heard(plain, NoteWorker(), id="worker-1") as (client, events):
            (event,) = await ended(events)
            assert event.job is not None
            assert event.job.id == mine
            assert client.health.heartbeats is HeartbeatState.OFF
            with pytest.raises(ConfigError, match="worker-1"):
                await Client(
                    plain, client.config, workers=client.workers, heartbeat_timings=QUICK
                ).start()
        assert f"riverengine migrate-up --line {ENGINE_LINE}" in caplog.text
        async with started(plain, NoteWorker()) as client:
            await client.insert(NoteArgs())
