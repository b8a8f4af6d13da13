"""A database of the adapter's own, and one process for all tests on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from riverengine import Migrator
from tests.conftest import _database_name, _execute, with_database
from tests.integration.riverengine.conformance.adapter import Adapter, running_adapter


@pytest.fixture(scope="session")
async def conformance_url(server_url: str) -> AsyncIterator[str]:
    """DSN of a migrated database that only these tests use."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    url = with_database(server_url, name)
    connection = await asyncpg.connect(url)
    try:
        await Migrator(connection).migrate_up()
    finally:
        await connection.close()
    yield url
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


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
