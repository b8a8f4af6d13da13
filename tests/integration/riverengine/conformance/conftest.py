"""A database of the adapter's own, and one process for all tests on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from riverengine import Migrator
from tests.conftest import with_database
from tests.integration.riverengine.conformance.adapter import Adapter, running_adapter

_NAME = "riverengine_conformance"


@pytest.fixture(scope="session")
async def conformance_url(server_url: str) -> AsyncIterator[str]:
    """DSN of a migrated database that only these tests use."""
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {_NAME} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {_NAME}")
        url = with_database(server_url, _NAME)
        database = await asyncpg.connect(url)
        try:
            await Migrator(database).migrate_up()
        finally:
            await database.close()
        yield url
        await connection.execute(f"DROP DATABASE {_NAME} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def _process(conformance_url: str) -> AsyncIterator[Adapter]:
    async with running_adapter(conformance_url) as adapter:
        yield adapter


@pytest.fixture
async def adapter(_process: Adapter) -> AsyncIterator[Adapter]:
    """The process, with empty tables and no client started."""
    await _process.call("reset")
    yield _process
    await _process.ask('{"id":"end","jsonrpc":"2.0","method":"stop","params":{"cancel":true}}')


@pytest.fixture
async def database(conformance_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own to the adapter's database."""
    connection = await asyncpg.connect(conformance_url)
    try:
        yield connection
    finally:
        await connection.close()
