"""Through a pooler in transaction mode, which keeps no session, everything works by polling."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    ConfigError,
    EventKind,
    JobState,
    QueueConfig,
    open_pool,
)
from riverengine.queries.transaction import transaction_limit
from riverengine.run import notifier
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.connect import connect_beside
from riverengine.run.heartbeat import HeartbeatState
from riverengine.run.pooler import warn_of_kept_statements
from riverjobs.river_manager import connect_pool
from tests.integration.riverengine.test_heartbeat import OPTIONS, QUICK, beating, left_running
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_for_state,
    wait_until,
    workers_of,
)

_SETTINGS = """
[databases]
* = host={host} port={port} user={user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
unix_socket_dir =
logfile = {folder}/log
pidfile = {folder}/pid
"""

_ADVISORY_LOCKS = (
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)


def _free_port() -> int:
    """A port that no connection of another process is given: those have higher numbers."""
    while True:
        # The random numbers of the tests are the same in all processes of a run.
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _program() -> str:
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("the tests through a pooler need PgBouncer: apt-get install pgbouncer")
        pytest.skip("PgBouncer is not installed")
    return found


@pytest.fixture(scope="module")
def pgbouncer(server_url: str) -> Iterator[int]:
    """The port of a PgBouncer with two connections to the tests' server."""
    program = _program()
    server = urlsplit(server_url)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="riverjobs-pgbouncer-") as folder:
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(
            _SETTINGS.format(
                host=server.hostname,
                port=server.port,
                user=server.username,
                password=f" password={server.password}" if server.password else "",
                own_port=port,
                folder=folder,
            ),
            encoding="utf-8",
        )
        command = [program, "-q"]
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            command += ["-u", "nobody"]
        process = subprocess.Popen([*command, str(settings)], stderr=subprocess.DEVNULL)
        try:
            _wait_for_port(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("PgBouncer did not start")


@pytest.fixture
def pooled_url(pgbouncer: int, database_url: str) -> str:
    """DSN of the test's database through the pooler."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{pgbouncer}"))


@pytest.fixture
def quick_to_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients do not wait long for the notification that never comes through a pooler."""
    monkeypatch.setattr(notifier, "_ECHO_TIMEOUT", 1.0)


@pytest.fixture
async def pooled(pooled_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool as one makes it behind a transaction pooler."""
    async with asyncpg.create_pool(
        pooled_url, min_size=1, max_size=8, statement_cache_size=0
    ) as pool:
        yield pool


@pytest.mark.usefixtures("quick_to_poll")
async def test_jobs_are_inserted_worked_cancelled_and_the_client_stops(
    pooled: asyncpg.Pool, pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    async def work(job) -> None:  # type: ignore[no-untyped-def]
        if job.args.text == "held":
            await gate(job)

    async with started(pooled, NoteWorker(work), client_options=OPTIONS) as client:
        assert client.health.notifications == "polling"
        assert client.health.notifications_lost
        assert "notifications do not get through the transaction pooler" in caplog.text
        async with client.subscribe(EventKind.JOB_COMPLETED) as events:
            await client.insert_many([NoteArgs(text=str(number)) for number in range(200)])
            await client.insert_many_fast([NoteArgs(text="copied")])
            await ended(events, 201)
        held = (await client.insert(NoteArgs(text="held"))).job
        await gate.next()
        await client.job_cancel(held.id)
        row = await wait_for_state(pool, held.id, JobState.CANCELLED)
        assert row.attempt == 1
        await wait_until(lambda: client.health.heartbeats is HeartbeatState.BEATING)
        await client.queue_pause("default")
        await client.stop()
    assert await pool.fetchval("SELECT count(*) FROM river_job WHERE state = 'running'") == 0
    assert await pool.fetchval("SELECT count(*) FROM riverengine_client") == 0


async def test_a_direct_connection_to_listen_on_gets_notifications(
    pooled: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    options = {**OPTIONS, "connect": lambda: connect_beside(pool)}
    async with started(
        pooled, NoteWorker(), poll=timedelta(seconds=30), client_options=options
    ) as client:
        assert client.health.notifications == "listening"
        assert not client.health.notifications_lost
        async with client.subscribe() as events:
            await client.insert(NoteArgs())
            await ended(events)


@pytest.mark.usefixtures("quick_to_poll")
async def test_a_pool_that_keeps_statements_is_refused(pooled_url: str) -> None:
    async with asyncpg.create_pool(pooled_url, min_size=1, max_size=1) as careless:
        config = Config(queues={"default": QueueConfig(max_workers=1)})
        client = Client(careless, config, workers=workers_of(NoteWorker()))
        with pytest.raises(ConfigError, match="statement_cache_size=0"):
            await client.start()


async def test_a_client_that_polls_is_warned_of_a_pool_that_keeps_statements(
    pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # One connection, so that nothing is mixed up.
    async with asyncpg.create_pool(pooled_url, min_size=1, max_size=1) as careless:
        database, logger = BoundedPool(careless), logging.getLogger("riverengine")
        await warn_of_kept_statements(database=database, pool=careless, logger=logger)
    assert "riverengine.open_pool" in caplog.text


@pytest.mark.usefixtures("quick_to_poll")
async def test_a_pool_opened_for_a_pooler_keeps_no_statements(
    pooled_url: str, database_url: str
) -> None:
    async with await open_pool(database_url, min_size=1, max_size=2) as direct:
        assert "statement_cache_size" not in direct._connect_kwargs
    pool = await open_pool(pooled_url, min_size=2, max_size=4)
    try:
        assert pool._connect_kwargs["statement_cache_size"] == 0
        async with started(pool, NoteWorker()) as client, client.subscribe() as events:
            await client.insert(NoteArgs())
            await ended(events)
    finally:
        await pool.close()


async def test_a_manager_of_workflows_opens_such_a_pool(pooled_url: str) -> None:
    pool = await connect_pool(pooled_url, size=2)
    try:
        assert pool._connect_kwargs["statement_cache_size"] == 0
    finally:
        await pool.close()


async def test_a_name_is_held_by_heartbeats_alone(pooled: asyncpg.Pool, pool: asyncpg.Pool) -> None:
    """A lock would belong to the pooler's session, and outlive the process."""
    async with beating(pooled):
        with pytest.raises(ConfigError, match="worker-1"):
            async with beating(pooled):
                pass
    assert await pool.fetchval(_ADVISORY_LOCKS) == 0
    mine = await left_running(pool, "worker-1")
    await pool.execute(
        "INSERT INTO riverengine_client (id, incarnation, host, pid)"
        " VALUES ('worker-1', gen_random_uuid(), 'died', 1)"
    )
    began = time.monotonic()
    async with beating(pooled):
        assert time.monotonic() - began >= QUICK.dead_after.total_seconds()
    assert (await stored(pool, mine)).state is JobState.AVAILABLE


@pytest.mark.usefixtures("quick_to_poll")
async def test_the_client_that_leads_through_a_pooler_does_maintenance(
    pooled: asyncpg.Pool,
) -> None:
    async with started(pooled, NoteWorker(), client_options=OPTIONS) as client:
        await wait_until(lambda: client.is_leader)


async def test_a_frozen_client_s_locks_are_freed(
    pooled_url: str, pooled: asyncpg.Pool, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is the transaction's alone: the session serves others after it."""
    monkeypatch.setattr("riverengine.run.bounded_pool._GRACE", 0.3)
    bounded = BoundedPool(pooled)
    settings = "SELECT setting FROM pg_settings WHERE name ~ 'transaction.*timeout'"
    before = await pooled.fetch(settings)
    async with bounded.transaction() as connection:
        assert await connection.fetch(settings) != before
    assert await asyncio.gather(*(pooled.fetch(settings) for _ in range(4))) == [before] * 4

    # Not of the pool, which takes one back as soon as the server has ended it.
    frozen = await asyncpg.connect(pooled_url, statement_cache_size=0)
    try:
        await frozen.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        await transaction_limit(frozen, 0.3)
        async with asyncio.timeout(20), pool.acquire() as other, other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock(1)")
    finally:
        frozen.terminate()


async def test_a_statement_that_was_only_announced_leaves_no_lock(
    pooled_url: str, pool: asyncpg.Pool
) -> None:
    async def no_reset(connection: asyncpg.Connection) -> None:
        pass

    async with asyncpg.create_pool(
        pooled_url, min_size=4, max_size=4, statement_cache_size=0, reset=no_reset
    ) as pooled:
        bounded = BoundedPool(pooled)
        # More than the pooler has sessions: each would be kept for the client it was lent to.
        for _ in range(4):
            with pytest.raises(asyncpg.DataError):
                await bounded.fetch("SELECT id FROM river_job WHERE id = $1", "no number")
        async with asyncio.timeout(10), pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")
