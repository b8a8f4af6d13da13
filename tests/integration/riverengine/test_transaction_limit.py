"""The server ends a transaction whose client was frozen."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from riverengine.queries.transaction import transaction_limit

LIMIT = timedelta(milliseconds=300)
ENDS_WITHIN = 10.0
"""Seconds; far beyond the limit, far below for ever."""


@pytest.mark.parametrize("frozen", ["between two statements", "before a statement it announced"])
async def test_a_frozen_client_s_locks_are_freed(
    database_url: str, pool: asyncpg.Pool, frozen: str
) -> None:
    connection = await asyncpg.connect(database_url)
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    try:
        await connection.execute("BEGIN")
        await transaction_limit(connection, LIMIT)
        await connection.execute("SELECT pg_advisory_xact_lock(1)")
        if frozen == "before a statement it announced":
            if connection.get_server_version() < (17,):
                pytest.skip("PostgreSQL before 17 does not notice it")
            await connection.prepare("SELECT 1")
        async with asyncio.timeout(ENDS_WITHIN):
            async with pool.acquire() as other, other.transaction():
                await other.execute("SELECT pg_advisory_xact_lock(1)")
            await ended.wait()
    finally:
        connection.terminate()


async def test_the_limit_ends_with_its_transaction(pool: asyncpg.Pool) -> None:
    settings = "SELECT name, setting FROM pg_settings WHERE name ~ 'transaction.*timeout'"
    async with pool.acquire() as connection:
        before = await connection.fetch(settings)
        async with connection.transaction():
            await transaction_limit(connection, LIMIT)
            assert await connection.fetch(settings) != before
        assert await connection.fetch(settings) == before
