"""A dead link never holds anybody up: every wait on the pool ends, and the pool recovers."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import asyncpg
import pytest

from riverengine import AmbiguousCommitError, Client, InsertOpts, UniqueOpts
from riverengine.client import insert
from riverengine.queries.transaction import session_sync
from riverengine.run import bounded_pool
from riverengine.run.bounded_pool import BoundedPool
from tests.integration.riverengine.working import NoteArgs, wait_for_yes, wait_until
from tests.tcp_proxy import TcpProxy

LIMIT = 1.0
ENDS_WITHIN = 20.0
"""Seconds; far beyond the limit and its grace, far below for ever."""

GRACE_OF_RIVERENGINE = bounded_pool._GRACE


@pytest.fixture
async def proxy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TcpProxy]:
    """A proxy before the test's database; what does not answer there is given up soon."""
    monkeypatch.setattr(bounded_pool, "_GRACE", 0.5)
    async with TcpProxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: TcpProxy) -> AsyncIterator[asyncpg.Pool]:
    """A pool with two open connections through the proxy."""
    pool = await asyncpg.create_pool(proxy.url, min_size=2, max_size=2)
    yield pool
    pool.terminate()


async def test_asyncpg_alone_waits_for_ever(proxy: TcpProxy, behind: asyncpg.Pool) -> None:
    """Why the class exists: if this fails some day, the class may go."""
    proxy.fall_silent()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(LIMIT * 4):
            await behind.fetchval("SELECT 1", timeout=LIMIT / 4)


@pytest.mark.parametrize("use", ["fetch", "fetchrow", "fetchval", "execute"])
async def test_a_statement_on_a_silent_link_times_out(
    proxy: TcpProxy, behind: asyncpg.Pool, use: str
) -> None:
    bounded = BoundedPool(behind)
    proxy.fall_silent()
    async with asyncio.timeout(ENDS_WITHIN):
        with pytest.raises(TimeoutError):
            await getattr(bounded, use)("SELECT 1", timeout=LIMIT)
    proxy.recover()
    # The other idle connection leads the same dead way: it is replaced, not tried.
    assert await bounded.fetchval("SELECT 1", timeout=ENDS_WITHIN) == 1
    assert bounded.lost == 1


async def test_a_block_without_timeouts_ends(proxy: TcpProxy, behind: asyncpg.Pool) -> None:
    bounded = BoundedPool(behind)

    async def use() -> None:
        async with bounded.acquire(timeout=LIMIT) as connection:
            assert await connection.fetchval("SELECT 1") == 1
            proxy.fall_silent()
            await connection.fetchval("SELECT 2")

    async with asyncio.timeout(ENDS_WITHIN):
        with pytest.raises(TimeoutError):
            await use()
    proxy.recover()
    assert await bounded.fetchval("SELECT 1", timeout=ENDS_WITHIN) == 1


async def test_a_transaction_on_a_silent_link_ends(proxy: TcpProxy, behind: asyncpg.Pool) -> None:
    bounded = BoundedPool(behind)

    async def use() -> None:
        async with bounded.transaction(timeout=LIMIT) as connection:
            proxy.fall_silent()
            await connection.fetchval("SELECT 2")

    async with asyncio.timeout(ENDS_WITHIN):
        with pytest.raises(TimeoutError):
            await use()
    proxy.recover()
    async with bounded.transaction(timeout=ENDS_WITHIN) as connection:
        assert await connection.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("how", ["statement", "transaction"])
async def test_cancelling_a_task_on_a_silent_link_ends(
    proxy: TcpProxy, behind: asyncpg.Pool, how: str
) -> None:
    bounded = BoundedPool(behind)
    sent = asyncio.Event()

    async def use() -> None:
        if how == "statement":
            sent.set()
            await bounded.execute("SELECT pg_sleep(3)", timeout=60)
        async with bounded.transaction(timeout=60) as connection:
            sent.set()
            await connection.execute("SELECT pg_sleep(3)")

    task = asyncio.create_task(use())
    await sent.wait()
    await asyncio.sleep(0.1)
    proxy.fall_silent()
    task.cancel()
    async with asyncio.timeout(ENDS_WITHIN):
        await asyncio.wait({task})
    assert task.cancelled()


async def test_giving_back_to_a_silent_link_ends(proxy: TcpProxy, behind: asyncpg.Pool) -> None:
    bounded = BoundedPool(behind)
    async with asyncio.timeout(ENDS_WITHIN):
        async with bounded.acquire(timeout=LIMIT) as connection:
            await connection.fetchval("SELECT 1")
            proxy.fall_silent()
    proxy.recover()
    assert await bounded.fetchval("SELECT 1", timeout=ENDS_WITHIN) == 1


async def _no_reset(connection: asyncpg.Connection) -> None:
    pass


@pytest.mark.parametrize("how", ["refused arguments", "cancelled"])
async def test_a_statement_that_was_only_announced_leaves_no_lock(
    database_url: str, pool: asyncpg.Pool, how: str
) -> None:
    class Slow(asyncpg.Connection):  # type: ignore[misc]
        async def _get_statement(self, *args: object, **options: object) -> object:
            statement = await super()._get_statement(*args, **options)
            announced.set()
            await go_on.wait()
            return statement

    announced, go_on = asyncio.Event(), asyncio.Event()
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=1, connection_class=Slow, reset=_no_reset
    ) as unreset:
        bounded = BoundedPool(unreset)
        statement = "SELECT id FROM river_job WHERE id = $1"
        if how == "cancelled":
            task = asyncio.create_task(bounded.fetch(statement, 1))
            await announced.wait()
            task.cancel()
            await asyncio.wait({task})
        else:
            go_on.set()
            with pytest.raises(asyncpg.DataError):
                await bounded.fetch(statement, "no number")
        async with asyncio.timeout(ENDS_WITHIN), pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")


@pytest.mark.parametrize("how", ["cancelled", "the pool is closed"])
async def test_ending_what_was_announced_is_itself_interrupted(
    proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No place of the pool is lost by it, and closing the pool waits for nothing more."""
    ending = asyncio.Event()

    async def silenced(connection: asyncpg.Connection) -> None:
        proxy.fall_silent()
        ending.set()
        await session_sync(connection)

    monkeypatch.setattr(bounded_pool, "session_sync", silenced)
    async with asyncio.timeout(ENDS_WITHIN):
        async with asyncpg.create_pool(proxy.url, min_size=1, max_size=1, reset=_no_reset) as one:
            bounded = BoundedPool(one)
            refused = asyncio.create_task(bounded.fetch("SELECT $1::bigint", "no number"))
            await ending.wait()
            if how == "cancelled":
                refused.cancel()
                await asyncio.wait({refused})
                assert refused.cancelled()
                proxy.recover()
                assert await bounded.fetchval("SELECT 1", timeout=LIMIT) == 1
    if how == "the pool is closed":
        with pytest.raises(asyncpg.DataError):
            await refused


async def test_a_slow_statement_is_cancelled_and_the_connections_stay(pool: asyncpg.Pool) -> None:
    bounded = BoundedPool(pool)
    with pytest.raises(TimeoutError):
        await bounded.execute("SELECT pg_sleep(61)", timeout=0.2)
    assert bounded.lost == 0
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND query = 'SELECT pg_sleep(61)'"
    )
    assert await pool.fetchval(sleeping) == 0


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_slow_statement_in_a_transaction_gives_its_locks_back(
    pool: asyncpg.Pool, how: str
) -> None:
    bounded = BoundedPool(pool)
    locked = asyncio.Event()

    async def use() -> None:
        async with bounded.transaction() as connection:
            await connection.execute("LOCK TABLE river_job")
            locked.set()
            limit = 0.2 if how == "timeout" else None
            await connection.execute("SELECT pg_sleep(20)", timeout=limit)

    task = asyncio.create_task(use())
    await locked.wait()
    if how == "cancel":
        await asyncio.sleep(0.1)
        task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() or isinstance(task.exception(), TimeoutError)
    async with asyncio.timeout(ENDS_WITHIN):
        assert await pool.fetchval("SELECT count(*) FROM river_job") == 0
    assert bounded.lost == 0


async def test_an_error_of_a_statement_rolls_back_and_stays_itself(pool: asyncpg.Pool) -> None:
    bounded = BoundedPool(pool)

    async def fail(statement: str, error: Exception | None = None) -> None:
        async with bounded.transaction() as connection:
            await connection.execute(
                "INSERT INTO river_leader (elected_at, expires_at, leader_id)"
                " VALUES (now(), now(), 'x')"
            )
            await connection.execute(statement)
            if error is not None:
                raise error

    with pytest.raises(asyncpg.DivisionByZeroError):
        await fail("SELECT 1 / 0")
    with pytest.raises(KeyError):
        await fail("SELECT 1", KeyError())
    assert await pool.fetchval("SELECT count(*) FROM river_leader") == 0
    assert bounded.lost == 0


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("cut_at", [b"COMMIT;", b'"once"'], ids=["commit", "statement"])
async def test_a_connection_cut_at_the_end_is_ambiguous_and_a_unique_key_settles_it(
    proxy: TcpProxy, behind: asyncpg.Pool, pool: asyncpg.Pool, stored: bool, cut_at: bytes
) -> None:
    client = Client(behind)
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    proxy.cut_at(cut_at, delivered=stored)

    async def insert_in_transaction() -> None:
        async with client.transaction() as connection:
            await client.insert(NoteArgs(text="once"), opts, tx=connection)

    with pytest.raises(AmbiguousCommitError):
        await (
            insert_in_transaction()
            if cut_at == b"COMMIT;"
            else client.insert(NoteArgs(text="once"), opts)
        )
    assert proxy.cuts == 1
    assert await pool.fetchval("SELECT count(*) FROM river_job") == int(stored)
    result = await client.insert(NoteArgs(text="once"), opts)
    assert result.unique_skipped_as_duplicate is stored
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 1


async def test_a_commit_the_database_refuses_is_not_ambiguous(pool: asyncpg.Pool) -> None:
    bounded = BoundedPool(pool)
    await pool.execute(
        "CREATE TABLE late (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO late"
        " VALUES (1)"
    )
    try:
        with pytest.raises(asyncpg.UniqueViolationError):
            async with bounded.transaction() as connection:
                await connection.execute("INSERT INTO late VALUES (1)")
    finally:
        await pool.execute("DROP TABLE late")


async def test_an_insert_on_a_silent_link_ends_within_15_seconds(
    proxy: TcpProxy, behind: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(behind)
    assert bounded_pool.TIMEOUT + 2 * GRACE_OF_RIVERENGINE <= 15
    monkeypatch.setattr(insert, "TIMEOUT", LIMIT)
    proxy.fall_silent()
    async with asyncio.timeout(ENDS_WITHIN):
        with pytest.raises(AmbiguousCommitError):
            await client.insert(NoteArgs())
    proxy.recover()
    await client.insert(NoteArgs())


async def test_a_connection_kept_for_the_next_statement_goes_back_soon(
    database_url: str,
) -> None:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        bounded = BoundedPool(pool)
        first = await bounded.fetchval("SELECT pg_backend_pid()")
        assert pool.get_idle_size() == 0
        assert await bounded.fetchval("SELECT pg_backend_pid()") == first
        await wait_until(lambda: pool.get_idle_size() == 1)
        assert pool.get_size() == 1


async def test_the_last_connection_of_a_pool_is_never_kept(database_url: str) -> None:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        bounded = BoundedPool(pool)
        await bounded.execute("SELECT 1")
        assert pool.get_idle_size() == 1


async def test_a_block_that_may_leave_something_behind_is_reset(database_url: str) -> None:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        bounded = BoundedPool(pool)
        async with bounded.transaction() as connection:
            await connection.execute("SET statement_timeout = 12345")
        assert await bounded.fetchval("SHOW statement_timeout") == "0"
        with pytest.raises(asyncpg.DivisionByZeroError):
            await bounded.execute("SELECT 1 / 0")
        assert pool.get_idle_size() == 1


async def test_an_argument_the_driver_refuses_is_not_ambiguous(pool: asyncpg.Pool) -> None:
    bounded = BoundedPool(pool)
    with pytest.raises(asyncpg.DataError):
        await bounded.write("SELECT $1::integer", "text")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await bounded.write("SELECT 1 / $1::integer", 0)


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, object]]]:
    """What the loop complains of, such as errors nobody retrieved."""
    # What earlier tests left to be collected is none of this test's.
    gc.collect()
    found: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, complaint: found.append(complaint))
    yield found
    loop.set_exception_handler(None)


async def test_a_transaction_cancelled_while_it_begins_leaves_nothing_behind(
    pool: asyncpg.Pool, complaints: list[dict[str, object]]
) -> None:
    bounded = BoundedPool(pool)

    async def begin() -> None:
        async with bounded.transaction():
            await asyncio.Event().wait()

    for steps in range(20):
        task = asyncio.create_task(begin())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert complaints == []
    # The session of a connection that was given up ends a moment later.
    await wait_for_yes(
        pool,
        "SELECT count(*) = 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
    )
