"""Each test of this folder that asks for ``library`` runs on every library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.riverengine.drivers.libraries import LIBRARIES, Library


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
async def library(
    request: pytest.FixtureRequest, database_url: str, pool: asyncpg.Pool
) -> AsyncIterator[Library]:
    """A library connected to the test's database, with a table of the caller's."""
    made: Library = request.param(database_url, pool)
    await pool.execute("CREATE TABLE caller_row (id integer PRIMARY KEY)")
    yield made
    await made.close()
    await pool.execute("DROP TABLE caller_row")


@pytest.fixture
async def heard(pool: asyncpg.Pool) -> AsyncIterator[asyncio.Queue[str]]:
    """Payloads of River's topics, in order."""
    payloads: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        payloads.put_nowait(str(payload))

    async with pool.acquire() as connection:
        for topic in ("river_insert", "river_control"):
            await connection.add_listener(f"public.{topic}", hear)
        yield payloads
        for topic in ("river_insert", "river_control"):
            await connection.remove_listener(f"public.{topic}", hear)
