"""Fixtures for pytest, found by pytest itself wherever riverjobs is installed.

They work with pytest-asyncio and with anyio's plugin. The database is a private PostgreSQL started
for the run, or the one named by ``--river-database-url``, the variable ``RIVER_TEST_DATABASE_URL``
or the setting ``river_database_url``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest

from riverengine import Client, Config, QueueConfig, Worker, Workers
from riverengine.schema import bundled_lines
from riverengine.testing.schemas import TestSchemas

Fixture = Callable[[Callable[..., Any]], Callable[..., Any]]

try:
    import pytest_asyncio
except ModuleNotFoundError:
    _async_fixture: Fixture = pytest.fixture
else:
    _async_fixture = pytest_asyncio.fixture

_STOP_WITHIN = timedelta(seconds=10)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's options and settings."""
    group = parser.getgroup("riverengine")
    text = "database in which schemas are made and dropped; default: a private PostgreSQL"
    group.addoption("--river-database-url", metavar="URL", help=text)
    parser.addini("river_database_url", text)
    parser.addini("river_lines", "migration lines of the schemas; default: all", type="args")


@pytest.fixture(scope="session")
def river_database_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """DSN of the database the tests' schemas are in."""
    given = (
        pytestconfig.getoption("--river-database-url")
        or os.environ.get("RIVER_TEST_DATABASE_URL")
        or pytestconfig.getini("river_database_url")
    )
    if given:
        yield str(given)
        return
    # Imported only here: an embedded server is not to be had on every system pytest runs on.
    from riverengine.embedded.postgres import EmbeddedPostgresError, start_postgres

    with tempfile.TemporaryDirectory(prefix="riverengine-test-") as folder:
        # PostgreSQL runs as another account when the tests run as root.
        Path(folder).chmod(0o755)
        try:
            server = start_postgres(Path(folder, "data"), durable=False)
        except EmbeddedPostgresError as error:
            pytest.fail(f"{error}; or name a database by --river-database-url", pytrace=False)
        with server:
            yield server.url


@pytest.fixture(scope="session")
def _river_schemas(pytestconfig: pytest.Config, river_database_url: str) -> Iterator[TestSchemas]:
    schemas = TestSchemas(
        river_database_url, pytestconfig.getini("river_lines") or list(bundled_lines())
    )
    yield schemas
    schemas.close()


@pytest.fixture
def river_schema(_river_schemas: TestSchemas) -> Iterator[str]:
    """Name of a migrated schema that is the test's alone; emptied when the test ends."""
    name = _river_schemas.take()
    yield name
    _river_schemas.give_back(name)


@_async_fixture
async def river_pool(river_database_url: str, river_schema: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool whose search path begins with ``river_schema``: clients need no schema setting."""
    async with asyncpg.create_pool(
        river_database_url, min_size=1, max_size=20, server_settings=_settings(river_schema)
    ) as pool:
        yield pool


@_async_fixture
async def river_tx(river_database_url: str, river_schema: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a transaction on the test's schema, rolled back when the test ends."""
    connection = await asyncpg.connect(river_database_url, server_settings=_settings(river_schema))
    try:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()
    finally:
        await connection.close()


@_async_fixture
async def river_client(river_pool: asyncpg.Pool) -> Client:
    """A client that inserts and administers jobs of any kind, on ``river_pool``."""
    return Client(river_pool)


class StartRiver(Protocol):
    """What the fixture ``river_start`` is."""

    async def __call__(self, *workers: Worker[Any], config: Config | None = None) -> Client:
        """A client that works these workers' jobs until the test ends.

        config: None for ten workers on the queue ``default``.
        """


@_async_fixture
async def river_start(river_pool: asyncpg.Pool) -> AsyncIterator[StartRiver]:
    """Starts clients that work jobs; they are stopped, their jobs cancelled, at the test's end."""
    started: list[Client] = []

    async def start(*workers: Worker[Any], config: Config | None = None) -> Client:
        registry = Workers()
        for worker in workers:
            registry.add(worker)
        settings = config or Config(queues={"default": QueueConfig(max_workers=10)})
        client = Client(river_pool, settings, workers=registry)
        started.append(client)
        await client.start()
        return client

    yield start
    for client in started:
        await client.stop_and_cancel(timeout=_STOP_WITHIN)


def _settings(schema: str) -> dict[str, str]:
    return {"search_path": f'"{schema}", public'}
