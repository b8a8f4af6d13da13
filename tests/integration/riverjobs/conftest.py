"""A database with River's and the workflow tables, and a workflow system on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from riverengine.schema.line import bundled_lines
from riverengine.schema.migrator import Migrator
from riverjobs.schema import WORKFLOW_MIGRATIONS, apply_migrations, bundled_migrations
from tests.conftest import _database_name, _execute, with_database
from tests.integration.riverjobs.flows import System


@pytest.fixture(scope="session")
async def _workflow_template(server_url: str) -> AsyncIterator[str]:
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    url = with_database(server_url, name)
    connection = await asyncpg.connect(url)
    try:
        for line in bundled_lines():
            await Migrator(connection, line=line).migrate_up()
        await apply_migrations(connection, bundled_migrations(WORKFLOW_MIGRATIONS))
    finally:
        await connection.close()
    yield url
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def workflow_url(_workflow_template: str) -> AsyncIterator[str]:
    """DSN of a database with all tables of the workflow layer, emptied afterwards."""
    yield _workflow_template
    await _execute(
        _workflow_template,
        "DELETE FROM workflow_executions; DELETE FROM river_job; DELETE FROM river_queue;"
        "DELETE FROM river_leader; DELETE FROM riverengine_client",
    )


@pytest.fixture
async def system(workflow_url: str) -> AsyncIterator[System]:
    """A workflow system with the tests' workflows, open but not working yet."""
    system = System(workflow_url)
    await system.manager.open()
    yield system
    await system.manager.stop_and_cancel()
