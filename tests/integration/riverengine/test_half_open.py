"""A path to PostgreSQL that falls silent is noticed by every role within 15 s, and got over."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from riverengine import AmbiguousCommitError, Client, JobState
from riverengine.run.connect import connect_beside
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    started,
    stored,
    wait_until,
)
from tests.tcp_proxy import TcpProxy

NOTICED_WITHIN = 15.0
ALLOWANCE = 5.0
"""Seconds by which a busy machine may be late."""


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    """A proxy before the test's database."""
    async with TcpProxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: TcpProxy) -> AsyncIterator[asyncpg.Pool]:
    """A pool through the proxy."""
    pool = await asyncpg.create_pool(proxy.url, min_size=4, max_size=10)
    yield pool
    pool.terminate()


async def seconds_until(condition: Callable[[], bool], began: float) -> float:
    """How long after ``began`` the condition came true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - counters have no events
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def insert_fails(client: Client, began: float) -> float:
    """How long after ``began`` an insert gave up."""
    with pytest.raises((AmbiguousCommitError, TimeoutError)):
        await client.insert(NoteArgs(text="unheard"))
    return time.monotonic() - began


@pytest.mark.timeout(180)
async def test_every_role_notices_a_silent_path_and_recovers(
    proxy: TcpProxy, behind: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    gate = Gate()

    async def work(job) -> None:  # type: ignore[no-untyped-def]
        if job.args.text == "held":
            await gate(job)

    async with started(behind, NoteWorker(work)) as client, client.subscribe() as events:
        held = (await client.insert(NoteArgs(text="held"))).job
        await gate.next()
        await wait_until(lambda: client.is_leader)
        notifier, completer, elector = client._notifier, client._completer, client._elector
        heartbeat = client._presence._heartbeat
        assert notifier is not None
        assert completer is not None
        assert elector is not None
        assert heartbeat is not None
        producer = client.producers["default"]
        notifier.signal_lost.arm()
        began = time.monotonic()
        proxy.fall_silent()
        gate.opened.set()

        async def listener() -> float:
            await notifier.signal_lost.wait(60)
            return time.monotonic() - began

        noticed = dict(
            zip(
                ("listener", "fetcher", "completer", "elector", "heartbeat", "insert"),
                await asyncio.gather(
                    listener(),
                    seconds_until(lambda: producer.fetch_errors > 0, began),
                    seconds_until(lambda: completer.errors > 0, began),
                    seconds_until(lambda: elector.errors > 0, began),
                    seconds_until(lambda: heartbeat.errors > 0, began),
                    insert_fails(client, began),
                ),
                strict=True,
            )
        )
        # Maintenance ends with the term, which is not trusted beyond its time.
        noticed["maintenance"] = await seconds_until(lambda: not client.is_leader, began)
        late = {
            role: seconds
            for role, seconds in noticed.items()
            if seconds > NOTICED_WITHIN + ALLOWANCE
        }
        assert late == {}
        assert client.health.lost_connections > 0

        proxy.recover()
        after = (await Client(pool).insert(NoteArgs(text="after"))).job
        # What waits for an answer on the dead path does so for its whole limit, at most.
        seen = [await events.next(timeout=60) for _ in range(2)]
        assert {event.job.id for event in seen if event.job} == {held.id, after.id}
        for job_id in (held.id, after.id):
            row = await stored(pool, job_id)
            assert (row.state, row.attempt) == (JobState.COMPLETED, 1)
        assert await pool.fetchval("SELECT count(*) FROM river_job") == 2


@pytest.mark.timeout(120)
async def test_a_client_stops_within_its_limits_on_a_silent_path(
    proxy: TcpProxy, behind: asyncpg.Pool
) -> None:
    async with started(behind, NoteWorker(), stop=False) as client:
        await wait_until(lambda: client.is_leader)
        proxy.fall_silent()
        began = time.monotonic()
        await client.stop()
        assert time.monotonic() - began < 2 * NOTICED_WITHIN + ALLOWANCE


async def test_a_slow_path_loses_and_repeats_nothing(
    proxy: TcpProxy, behind: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    proxy.delay = 0.1
    worker = NoteWorker()
    async with started(behind, worker) as client, client.subscribe() as events:
        await Client(pool).insert_many([NoteArgs(text=str(number)) for number in range(20)])
        for _ in range(20):
            await events.next(timeout=60)
        proxy.delay = 0
    assert len(worker.ran) == 20
    rows = await pool.fetch("SELECT state, attempt FROM river_job")
    assert {(row["state"], row["attempt"]) for row in rows} == {("completed", 1)}


async def test_cut_connections_are_got_over_at_once(
    proxy: TcpProxy, behind: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    async with started(behind, NoteWorker()) as client, client.subscribe() as events:
        for round_ in range(3):
            proxy.cut_all()
            await Client(pool).insert(NoteArgs(text=str(round_)))
            await events.next(timeout=15)


async def test_connections_beside_the_pool_have_the_kernel_look_after_them(
    pool: asyncpg.Pool,
) -> None:
    connection = await connect_beside(pool)
    try:
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
    finally:
        await connection.close()
