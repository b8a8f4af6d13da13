"""The migrator's semantics, and the check a client makes at its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from riverengine.schema.migrator import Migrator, check_schema
from riverengine.types.errors import MigrationError, SchemaVersionError

ALL = list(range(1, 9))


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to an empty database."""
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


async def test_up_applies_everything_once(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    assert [each.version for each in await migrator.migrate_up()] == ALL
    assert await migrator.migrate_up() == []
    assert await migrator.validate() == []


async def test_two_processes_migrate_at_once(empty_database: str) -> None:
    connections = [await asyncpg.connect(empty_database) for _ in range(4)]
    try:
        applied = await asyncio.gather(*(Migrator(each).migrate_up() for each in connections))
        assert sorted(step.version for steps in applied for step in steps) == ALL
    finally:
        for each in connections:
            await each.close()


async def test_target_and_steps(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    assert len(await migrator.migrate_up(target_version=3)) == 3
    assert await migrator.migrate_up(target_version=2) == []
    assert [each.version for each in await migrator.migrate_up(max_steps=2)] == [4, 5]
    assert await migrator.migrate_up(max_steps=-1) == []
    assert await migrator.validate() == ["Unapplied migrations: [6, 7, 8]"]


async def test_down_goes_one_step_unless_told(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    await migrator.migrate_up()
    assert [each.version for each in await migrator.migrate_down()] == [8]
    assert [each.version for each in await migrator.migrate_down(target_version=5)] == [7, 6]
    with pytest.raises(MigrationError, match="not applied"):
        await migrator.migrate_down(target_version=7)
    assert len(await migrator.migrate_down(target_version=-1)) == 5
    assert await migrator.existing_versions() == []


async def test_dry_run_changes_nothing(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    assert len(await migrator.migrate_up(dry_run=True)) == 8
    assert await migrator.existing_versions() == []


async def test_unknown_version_and_line_are_refused(connection: asyncpg.Connection) -> None:
    with pytest.raises(MigrationError, match="version 9 is not a valid"):
        await Migrator(connection).migrate_up(target_version=9)
    with pytest.raises(MigrationError, match="did you mean `main`"):
        Migrator(connection, line="mian")


async def test_down_from_5_keeps_other_lines(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    await migrator.migrate_up(target_version=5)
    await connection.execute("INSERT INTO river_migration (line, version) VALUES ('pro', 1)")
    with pytest.raises(asyncpg.RaiseError):
        await migrator.migrate_down()
    assert await migrator.existing_versions() == [1, 2, 3, 4, 5]


async def test_rows_survive_the_way_down_and_up(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    await migrator.migrate_up()
    await connection.execute("INSERT INTO river_job (kind, args) VALUES ('kept', '{}')")
    await migrator.migrate_down(target_version=2)
    await migrator.migrate_up()
    assert await connection.fetchval("SELECT kind FROM river_job") == "kept"


@pytest.mark.parametrize("version", [None, 4, 6])
async def test_a_database_too_old_is_refused_with_the_command(
    connection: asyncpg.Connection, version: int | None
) -> None:
    if version is not None:
        await Migrator(connection).migrate_up(target_version=version)
    with pytest.raises(SchemaVersionError, match="riverengine migrate-up"):
        await check_schema(connection, schema=None)


@pytest.mark.parametrize("version", [7, 8])
async def test_a_fitting_database_is_accepted(connection: asyncpg.Connection, version: int) -> None:
    await Migrator(connection).migrate_up(target_version=version)
    await check_schema(connection, schema=None)


async def test_a_newer_database_is_refused(connection: asyncpg.Connection) -> None:
    await Migrator(connection).migrate_up()
    await connection.execute("INSERT INTO river_migration (line, version) VALUES ('main', 9)")
    with pytest.raises(SchemaVersionError, match="upgrade riverjobs"):
        await check_schema(connection, schema=None)
