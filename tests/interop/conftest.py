"""Programs of ours on Go River's released modules, built once per session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from riverengine import Client, Config, QueueConfig, Workers
from tests.conformance.adapter import Adapter
from tests.conformance.fleet import go_program
from tests.interop.go_programs import build
from tests.interop.peer import InteropWorker, Peer


@pytest.fixture(scope="session")
def go_migrate() -> Path:
    """Moves a database to a schema version with Go River's migrator."""
    return build("migrate")


@pytest.fixture(scope="session")
def go_conformance() -> Path:
    """Go River behind River's conformance contract."""
    return build("conformance")


@pytest.fixture
async def go_adapter(go_conformance: Path, database_url: str) -> AsyncIterator[Adapter]:
    """A process of ``go_conformance`` on the test's database."""
    adapter = Adapter(go_program(go_conformance), "go")
    await adapter.open(database_url)
    yield adapter
    await adapter.close()


@pytest.fixture(scope="session")
def _go_peer() -> Path:
    return build("peer")


@pytest.fixture
async def go(_go_peer: Path, database_url: str) -> AsyncIterator[Peer]:
    """A Go River client that inserts and administers, and works once told to start."""
    async with Peer(_go_peer, database_url) as peer:
        yield peer


@pytest.fixture
async def python(pool: asyncpg.Pool) -> AsyncIterator[Client]:
    """Our client, which inserts and administers, and works once started."""
    workers = Workers()
    workers.add(InteropWorker())
    client = Client(
        pool,
        Config(
            queues={"default": QueueConfig(max_workers=10)},
            fetch_cooldown=timedelta(milliseconds=10),
            fetch_poll_interval=timedelta(milliseconds=50),
        ),
        workers=workers,
    )
    yield client
    await client.stop_and_cancel()
