"""One PostgreSQL server per run; databases cloned from a migrated template."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from riverengine.embedded import EmbeddedPostgres, start_postgres
from riverengine.schema.line import bundled_lines
from riverengine.schema.migrator import Migrator
from tests.shared_state import SharedState

# On a busy machine the time that one example takes tells nothing.
settings.register_profile(
    "busy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

_SERVER_URL = "RIVERJOBS_TEST_SERVER_URL"
_EMPTY = (
    "DELETE FROM river_job; DELETE FROM river_queue; DELETE FROM river_leader;"
    "DELETE FROM river_notification; DELETE FROM riverengine_client"
)
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_SHAPE = """
    SELECT string_agg(line, E'\\n' ORDER BY line COLLATE "C") FROM (
        SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_'
        UNION ALL
        SELECT 'relation ' || nspname || '.' || relname || ' ' || relkind::text || ' '
            || coalesce(reloptions::text, '')
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname !~ '^pg_'
        UNION ALL
        SELECT 'function ' || pg_proc.oid::regprocedure
        FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema')
        UNION ALL
        SELECT 'trigger ' || tgrelid::regclass || ' ' || tgname FROM pg_trigger
        UNION ALL
        SELECT 'constraint ' || conrelid::regclass || ' ' || conname FROM pg_constraint
        JOIN pg_namespace ON pg_namespace.oid = connamespace
        WHERE conrelid <> 0 AND nspname NOT IN ('pg_catalog', 'information_schema')
        UNION ALL
        SELECT 'setting ' || setconfig::text FROM pg_db_role_setting
        LEFT JOIN pg_database ON pg_database.oid = setdatabase
        WHERE setdatabase = 0 OR datname = current_database()
    ) AS lines (line)
"""
"""What the tests on a database share beside rows."""
_numbers = itertools.count(1)
_started: list[tuple[EmbeddedPostgres, tempfile.TemporaryDirectory[str]]] = []


def pytest_configure(config: pytest.Config) -> None:
    """Start the server once, in the process that controls the run."""
    if os.environ.get("TEST_DATABASE_URL"):
        os.environ[_SERVER_URL] = os.environ["TEST_DATABASE_URL"]
    elif not hasattr(config, "workerinput") and not config.option.collectonly:
        folder = tempfile.TemporaryDirectory(prefix="riverjobs-test-")
        Path(folder.name).chmod(0o755)
        server = start_postgres(Path(folder.name, "data"), durable=False)
        _started.append((server, folder))
        os.environ[_SERVER_URL] = server.url


def pytest_unconfigure() -> None:
    """End the server this process started."""
    while _started:
        server, folder = _started.pop()
        server.stop()
        folder.cleanup()


def with_database(url: str, name: str) -> str:
    """The DSN of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def server_url() -> str:
    """DSN of a database from which others may be created."""
    return os.environ[_SERVER_URL]


def _database_name() -> str:
    return f"riverjobs_test_{os.getpid()}_{next(_numbers)}"


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def empty_database(server_url: str) -> AsyncIterator[str]:
    """DSN of a new, empty database, dropped afterwards."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    yield with_database(server_url, name)
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
async def _migrated_database(server_url: str) -> AsyncIterator[str]:
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    url = with_database(server_url, name)
    connection = await asyncpg.connect(url)
    try:
        for line in bundled_lines():
            await Migrator(connection, line=line).migrate_up()
    finally:
        await connection.close()
    yield url
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _shapes() -> list[str]:
    """What the migrated database looked like after each test that changed it."""
    return []


@pytest.fixture
async def database_url(_migrated_database: str, _shapes: list[str]) -> AsyncIterator[str]:
    """DSN of a database at River's newest version, its tables emptied after the test."""
    if not _shapes:
        _shapes.append(await _emptied(_migrated_database))
    yield _migrated_database
    found = await _emptied(_migrated_database)
    if found != _shapes[-1]:
        # Only the test that changed it fails, not all after it.
        _shapes.append(found)
        assert found == _shapes[-2]


async def _emptied(url: str) -> str:
    """Empty the tables; returns what the database looks like beside rows."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SET lock_timeout = '20s'; {_EMPTY}")
        return str(await connection.fetchval(_SHAPE))
    except asyncpg.LockNotAvailableError:
        # A session outlived its test: it must not hold up the others'.
        await connection.execute(f"{_END_SESSIONS}; {_EMPTY}")
        raise
    finally:
        await connection.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on ``database_url``."""
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=20)
    yield pool
    try:
        async with asyncio.timeout(30):
            await pool.close()
    finally:
        # Nothing happens to a pool that is closed; one with connections in use must end too.
        pool.terminate()


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections, and that nobody else is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        yield port


@pytest.fixture(autouse=True)
def _process_as_found() -> Iterator[None]:
    before = SharedState.now()
    yield
    assert SharedState.now() == before


@pytest.fixture(autouse=True)
async def _loop_as_found() -> AsyncIterator[None]:
    yield
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert [name for name in names if name.startswith("riverengine:")] == []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(None)
    assert handler is None
