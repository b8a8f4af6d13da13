"""Migration files in Supabase's format, and the SQL of the workflow layer."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import asyncpg
import pytest

import riverjobs.queries
from riverengine import DatabaseUnavailableError, MigrationError, SchemaVersionError
from riverengine.queries.statement import Statement, load_statements
from riverengine.schema.migrator import Migrator
from riverjobs import Config, RiverManager
from riverjobs.schema import (
    WORKFLOW_MIGRATIONS,
    MigrationFile,
    applied_versions,
    apply_migrations,
    bundled_migrations,
    pending_migrations,
)

PACKAGE = "riverjobs.queries.sql"
STATEMENTS = [
    found
    for entry in sorted(resources.files(PACKAGE).iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".sql")
    for found in load_statements(PACKAGE, entry.name).values()
]
GOOD = MigrationFile("20270101000000", "good", "CREATE TABLE good (id int); CREATE TABLE fine ()")
BAD = MigrationFile("20270101000001", "bad", "CREATE TABLE half (); SELECT 1 / 0")


@pytest.mark.parametrize("named", STATEMENTS, ids=lambda named: named.name)
async def test_statement_can_be_prepared(named: Statement, workflow_url: str) -> None:
    connection = await asyncpg.connect(workflow_url)
    try:
        parameters = (await connection.prepare(named.sql("public"))).get_parameters()
    finally:
        await connection.close()
    numbers = {int(number) for number in re.findall(r"\$(\d+)", named.text)}
    assert numbers == set(range(1, len(parameters) + 1))


@pytest.mark.parametrize("named", STATEMENTS, ids=lambda named: named.name)
def test_statement_is_used(named: Statement) -> None:
    folder = Path(next(iter(riverjobs.queries.__path__))).parent
    code = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    assert f'"{named.name}"' in code


async def test_files_apply_once_and_leave_the_cli_s_history(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        assert await applied_versions(connection) == []
        applied = await apply_migrations(connection, bundled_migrations(WORKFLOW_MIGRATIONS))
        assert [migration.name for migration in applied] == ["workflows"]
        assert await apply_migrations(connection, applied) == []
        (row,) = await connection.fetch("TABLE supabase_migrations.schema_migrations")
        assert (row["version"], row["name"]) == ("20260101000000", "workflows")
        assert row["statements"] == [applied[0].sql]
    finally:
        await connection.close()


async def test_a_process_frozen_in_a_file_keeps_nobody_out_for_long(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_frozen = asyncio.Event()

    class Freezing(asyncpg.Connection):  # type: ignore[misc]
        async def execute(self, query: str, *args: object, timeout: float | None = None) -> object:
            if query.startswith("INSERT INTO"):
                is_frozen.set()
                await asyncio.Event().wait()
            return await super().execute(query, *args, timeout=timeout)

    monkeypatch.setattr("riverjobs.schema.migrations._IDLE_LIMIT", 0.3)
    frozen = await asyncpg.connect(empty_database, connection_class=Freezing)
    other = await asyncpg.connect(empty_database)
    applying = asyncio.create_task(apply_migrations(frozen, [GOOD]))
    try:
        await is_frozen.wait()
        async with asyncio.timeout(20):
            assert await apply_migrations(other, [GOOD]) == [GOOD]
    finally:
        applying.cancel()
        await asyncio.wait({applying})
        frozen.terminate()
        await other.close()


async def test_a_session_that_ends_in_a_file_is_told_as_its_failure(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    killing = replace(BAD, sql="SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(MigrationError, match="bad"):
        await apply_migrations(connection, [killing])


async def test_the_cli_s_history_counts(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute(
            "CREATE SCHEMA supabase_migrations; CREATE TABLE supabase_migrations.schema_migrations"
            " (version text NOT NULL PRIMARY KEY);"
            f"INSERT INTO supabase_migrations.schema_migrations VALUES ('{GOOD.version}')"
        )
        assert await pending_migrations(connection, [BAD, GOOD]) == [BAD]
        assert await apply_migrations(connection, [GOOD]) == []
    finally:
        await connection.close()


async def test_a_failing_file_leaves_nothing_of_itself(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        with pytest.raises(MigrationError, match=r"20270101000001_bad\.sql"):
            await apply_migrations(connection, [BAD, GOOD])
        assert await applied_versions(connection) == [GOOD.version]
        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert await connection.fetchval("SELECT to_regclass('fine')") is not None
    finally:
        await connection.close()


async def test_processes_that_migrate_at_once_take_turns(empty_database: str) -> None:
    async def migrate() -> int:
        connection = await asyncpg.connect(empty_database)
        try:
            return len(await apply_migrations(connection, [GOOD]))
        finally:
            await connection.close()

    assert sorted(await asyncio.gather(*(migrate() for _ in range(4)))) == [0, 0, 0, 1]


async def test_a_manager_refuses_a_database_that_is_not_migrated(empty_database: str) -> None:
    manager = RiverManager(Config(database_url=empty_database))
    with pytest.raises(SchemaVersionError, match="riverengine migrate-up"):
        await manager.open()
    connection = await asyncpg.connect(empty_database)
    try:
        await Migrator(connection).migrate_up()
    finally:
        await connection.close()
    with pytest.raises(SchemaVersionError, match="v1consortium migrate"):
        await manager.open()


async def test_a_manager_tells_an_unreachable_database_without_its_password(
    refusing_port: int,
) -> None:
    manager = RiverManager(
        Config(database_url=f"postgres://me:secret@127.0.0.1:{refusing_port}/none")
    )
    with pytest.raises(DatabaseUnavailableError) as failure:
        await manager.open()
    assert "secret" not in str(failure.value)
    assert "secret" not in repr(manager.config)


async def test_a_manager_closes_although_somebody_keeps_a_connection(
    workflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverjobs.river_manager._CLOSE_TIMEOUT", 0.05)
    manager = RiverManager(Config(database_url=workflow_url))
    await manager.open()
    kept = await manager.pool.acquire()
    await manager.stop()
    with pytest.raises(asyncpg.InterfaceError):
        await kept.execute("SELECT 1")
