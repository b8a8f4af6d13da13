"""The simulators as a process of their own, and adapters that lead to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib import resources

import asyncpg
import pytest

from riverengine.schema.line import bundled_lines
from riverengine.schema.migrator import Migrator
from riverjobs import Config, RiverManager, WorkflowOrchestrator
from riverjobs.schema import WORKFLOW_MIGRATIONS, apply_migrations, bundled_migrations
from tests.conftest import _database_name, _execute, with_database
from v1consortium.facility_file import read_facilities
from v1consortium.providers import Providers, build_providers
from v1consortium.queries.facility import facility_upsert_many
from v1consortium.settings import Settings, read_settings
from v1consortium.simulators.client import Simulators
from v1consortium.wiring import register_river_workers

APP_MIGRATIONS = "v1consortium.supabase.migrations"
TABLES = (
    *("notifications", "drug_test_orders", "subscriptions", "organizations", "facilities"),
    *("workflow_executions", "river_job", "river_queue", "river_leader"),
    "riverengine_client",
)


@pytest.fixture(scope="session")
def _simulators() -> Iterator[Simulators]:
    with Simulators() as simulators:
        yield simulators


@pytest.fixture
def simulators(_simulators: Simulators) -> Simulators:
    """The simulators, remembering nothing."""
    _simulators.reset()
    return _simulators


@pytest.fixture
def settings(simulators: Simulators) -> Settings:
    """Settings that lead to the simulators."""
    return read_settings(simulators.env)


@pytest.fixture
async def providers(settings: Settings) -> AsyncIterator[Providers]:
    """Adapters for every provider."""
    built = build_providers(settings)
    yield built
    await built.aclose()


@pytest.fixture(scope="session")
async def _app_database(server_url: str) -> AsyncIterator[str]:
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    url = with_database(server_url, name)
    connection = await asyncpg.connect(url)
    try:
        for line in bundled_lines():
            await Migrator(connection, line=line).migrate_up()
        await apply_migrations(connection, bundled_migrations(WORKFLOW_MIGRATIONS, APP_MIGRATIONS))
    finally:
        await connection.close()
    yield url
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def app_url(_app_database: str) -> AsyncIterator[str]:
    """DSN of a database with all the application's tables, emptied afterwards."""
    yield _app_database
    await _execute(_app_database, ";".join(f"DELETE FROM {table}" for table in TABLES))


@pytest.fixture
async def app_pool(app_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on ``app_url``."""
    async with asyncpg.create_pool(app_url, min_size=1, max_size=10) as pool:
        yield pool


@pytest.fixture
def environment(simulators: Simulators, app_url: str) -> dict[str, str]:
    """Settings of a worker process: simulated providers, quick polling and retries."""
    return {
        **simulators.env,
        "DATABASE_URL": app_url,
        "WORKFLOW_RETRY_BASE": "0.1",
        "WORKER_POLL_INTERVAL_S": "0.1",
    }


@pytest.fixture
async def orchestrator(environment: dict[str, str]) -> AsyncIterator[WorkflowOrchestrator]:
    """Starts workflows and looks at them; works none. Sites are known."""
    manager = RiverManager(Config(database_url=environment["DATABASE_URL"], pool_size=4))
    orchestrator = register_river_workers(manager, read_settings(environment))
    await manager.open()
    with resources.as_file(resources.files("v1consortium.demo") / "sites.csv") as path:
        await facility_upsert_many(manager.pool, facilities=read_facilities(path))
    yield orchestrator
    await manager.stop()
