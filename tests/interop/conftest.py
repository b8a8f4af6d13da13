"""Programs of ours on Go River's released modules, built once per session."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from riverengine import Client, Config, QueueConfig, Workers
from tests.interop.peer import InteropWorker, Peer

_MODULE = Path(__file__).parent / "go"
_BINARIES = Path(__file__).parents[2] / ".cache" / "interop"


@pytest.fixture(scope="session")
def go_migrate() -> Path:
    """Moves a database to a schema version with Go River's migrator."""
    return _build("migrate")


@pytest.fixture(scope="session")
def _go_peer() -> Path:
    return _build("peer")


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


def _build(name: str) -> Path:
    if shutil.which("go") is None:
        if os.environ.get("CI"):
            pytest.fail("the interop tests need the Go toolchain")
        pytest.skip("the Go toolchain is not installed")
    target = _BINARIES / name
    subprocess.run(["go", "build", "-o", str(target), f"./cmd/{name}"], cwd=_MODULE, check=True)
    return target
