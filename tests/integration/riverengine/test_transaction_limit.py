"""The server ends a transaction whose client was frozen."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from riverengine import AmbiguousCommitError, Client
from riverengine.queries.transaction import transaction_limit
from riverengine.run import bounded_pool
from riverengine.run.bounded_pool import BoundedPool
from riverengine.testing import TransactionPool

LIMIT = 1.0
ENDS_WITHIN = 20.0
"""Seconds; far beyond the limit, far below for ever."""

SETTINGS = "SELECT name, setting FROM pg_settings WHERE name ~ 'transaction.*timeout'"


def skip_before_17(connection: asyncpg.Connection) -> None:
    if connection.get_server_version() < (17,):
        pytest.skip("PostgreSQL before 17 does not notice it")


@pytest.mark.parametrize(
    "frozen",
    [
        "between two statements",
        "before a statement it announced",
        "where the database has a longer limit",
    ],
)
async def test_a_frozen_client_s_locks_are_freed(
    database_url: str, pool: asyncpg.Pool, frozen: str
) -> None:
    connection = await asyncpg.connect(database_url)
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    try:
        if frozen != "between two statements":
            skip_before_17(connection)
        if frozen == "where the database has a longer limit":
            await connection.execute("SET transaction_timeout = '1h'")
        await connection.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        await transaction_limit(connection, LIMIT)
        if frozen != "between two statements":
            await connection.prepare("SELECT 1")
        async with asyncio.timeout(ENDS_WITHIN):
            async with pool.acquire() as other, other.transaction():
                await other.execute("SELECT pg_advisory_xact_lock(1)")
            await ended.wait()
    finally:
        connection.terminate()


async def test_every_transaction_of_a_client_has_the_limit(pool: asyncpg.Pool) -> None:
    async with Client(pool).transaction(timeout=30) as connection:
        expected = dict(await pool.fetch(SETTINGS))
        name = "transaction_timeout"
        if name not in expected:
            name = "idle_in_transaction_session_timeout"
        expected[name] = str(round(1_000 * (30 + bounded_pool._GRACE)))
        assert dict(await connection.fetch(SETTINGS)) == expected


async def test_the_limit_ends_with_its_transaction(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        before = await connection.fetch(SETTINGS)
        async with connection.transaction():
            await transaction_limit(connection, float("inf"))
            assert await connection.fetch(SETTINGS) != before
        assert await connection.fetch(SETTINGS) == before


async def test_the_transaction_a_test_is_in_is_not_limited(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        before = await connection.fetch(SETTINGS)
        async with Client(TransactionPool(connection)).transaction() as savepoint:
            assert await savepoint.fetch(SETTINGS) == before
        assert await connection.fetch(SETTINGS) == before


async def test_a_limited_transaction_may_still_choose_its_isolation(pool: asyncpg.Pool) -> None:
    async with BoundedPool(pool).transaction() as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        assert await connection.fetchval("SHOW transaction_isolation") == "serializable"


@pytest.mark.parametrize(
    ("at_its_end", "told"), [("commits", AmbiguousCommitError), ("fails", LookupError)]
)
async def test_a_client_that_wakes_too_late_is_told(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, at_its_end: str, told: type[Exception]
) -> None:
    """Nothing told it before it goes on: neither its own timer nor the server's farewell."""
    monkeypatch.setattr(bounded_pool, "_GRACE", 0.1)
    bounded = BoundedPool(pool)

    async def freeze() -> None:
        async with bounded.transaction(timeout=LIMIT) as connection:
            await connection.execute(
                "INSERT INTO river_queue (name, updated_at) VALUES ('q', now())"
            )
            time.sleep(LIMIT + 2)  # noqa: ASYNC251 - as frozen as a process can be in a test
            if at_its_end == "fails":
                raise LookupError

    with pytest.raises(told):
        await freeze()
    assert await bounded.fetchval("SELECT count(*) FROM river_queue", timeout=ENDS_WITHIN) == 0
