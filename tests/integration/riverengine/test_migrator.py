"""The migrator's semantics, and the check a client makes at its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from riverengine.queries.statement import Statement
from riverengine.schema import (
    ENGINE_LINE,
    Migration,
    Migrator,
    bundled_lines,
    check_schema,
    load_migrations,
)
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
    assert await migrator.validate() == ["Unapplied migrations: [6 7 8]"]


async def test_down_goes_one_step_unless_told(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    await migrator.migrate_up()
    assert [each.version for each in await migrator.migrate_down()] == [8]
    assert [each.version for each in await migrator.migrate_down(target_version=5)] == [7, 6]
    with pytest.raises(MigrationError, match="version 7 is not in target list"):
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
    for line, told in (
        ("mian", " (did you mean `main`?)"),
        ("riverngine", " (did you mean `riverengine`?)"),
        ("pro", ""),
    ):
        with pytest.raises(MigrationError) as refused:
            Migrator(connection, line=line)
        assert str(refused.value) == f"migration line does not exist: {line}{told}"
    with pytest.raises(MigrationError, match=r"migration 44 not found \(.*\[1 2 3 4 5 6 7 8\]\)"):
        Migrator(connection).get_version(44)
    assert Migrator(connection).get_version(6).name == "bulk unique"
    assert bundled_lines()[0] == "main"
    assert "riverengine" in bundled_lines()


async def test_validate_looks_as_far_as_it_is_told(connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    await migrator.migrate_up(target_version=5)
    assert await migrator.validate(target_version=5) == []
    assert await migrator.validate(target_version=7) == ["Unapplied migrations: [6 7]"]
    with pytest.raises(MigrationError, match="version 9 is not a valid"):
        await migrator.validate(target_version=9)


@pytest.fixture
def shop_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Migration, ...]:
    """Two migrations of an application's own, as files of a package."""
    folder = tmp_path / "shop_line"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, sql in {
        "001_orders.up": "CREATE TABLE /* SCHEMA */shop_order (id bigint)",
        "001_orders.down": "DROP TABLE /* SCHEMA */shop_order",
        "002_price.up": "ALTER TABLE /* SCHEMA */shop_order ADD COLUMN price bigint",
        "002_price.down": "ALTER TABLE /* SCHEMA */shop_order DROP COLUMN price",
    }.items():
        (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return load_migrations("shop_line")


@pytest.mark.parametrize("schema", [None, "River_2"])
async def test_another_line_lives_beside_river_s(
    connection: asyncpg.Connection, shop_line: tuple[Migration, ...], schema: str | None
) -> None:
    if schema is not None:
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    river = Migrator(connection, schema=schema)
    shop = Migrator(connection, schema=schema, line="shop", migrations=shop_line)
    for version in (None, 4):
        await river.migrate_up(target_version=version) if version else None
        with pytest.raises(MigrationError, match="line main first"):
            await shop.migrate_up()
    await river.migrate_up()
    assert [each.name for each in await shop.migrate_up()] == ["orders", "price"]
    assert await shop.validate() == await river.validate() == []
    assert await river.existing_versions() == ALL
    assert [each.version for each in await shop.migrate_down(target_version=0)] == [2, 1]
    assert await shop.existing_versions() == []
    assert await river.existing_versions() == ALL
    assert await connection.fetchval("SELECT to_regclass('shop_order')") is None


async def test_our_line_goes_up_after_river_s_and_down_before_it(
    connection: asyncpg.Connection,
) -> None:
    river, ours = Migrator(connection), Migrator(connection, line=ENGINE_LINE)
    await river.migrate_up()
    assert await ours.validate() == ["Unapplied migrations: [1]"]
    assert [each.version for each in await ours.migrate_up()] == [1]
    with pytest.raises(asyncpg.RaiseError):
        await river.migrate_down(target_version=4)
    assert await river.existing_versions() == [1, 2, 3, 4, 5]
    assert [each.version for each in await ours.migrate_down(target_version=0)] == [1]
    assert len(await river.migrate_down(target_version=0)) == 5


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["001_a.up.sql", "001_b.down.sql"], "two names"),
        (["001_a.up.sql", "001_a.down.sql", "003_c.up.sql", "003_c.down.sql"], "without gaps"),
        (["001_a.up.sql"], "an up and a down file"),
    ],
)
def test_a_line_whose_files_are_incomplete_is_refused(
    files: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"line_{len(files)}_{files[-1][:3]}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name in files:
        (folder / name).write_text("SELECT 1", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MigrationError, match=told):
        load_migrations(folder.name)


async def test_what_it_does_is_logged(
    connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "riverengine")
    migrator = Migrator(connection)
    await migrator.migrate_up(max_steps=1)
    await migrator.migrate_up(max_steps=-1)
    await migrator.validate()
    first, second, third = caplog.messages
    assert first.startswith("applied migration: line=main version=1 direction=up dry_run=False")
    assert second == "no migrations to apply: line=main"
    assert third == "Unapplied migrations: [2 3 4 5 6 7 8]"


async def test_a_migration_that_fails_takes_back_itself_and_no_other(
    connection: asyncpg.Connection, shop_line: tuple[Migration, ...]
) -> None:
    await Migrator(connection).migrate_up()
    first, second = shop_line
    broken = replace(second, up=Statement("up", "DROP TABLE /* SCHEMA */shop_order; SELECT 1 / 0"))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await Migrator(connection, line="shop", migrations=[first, broken]).migrate_up()
    shop = Migrator(connection, line="shop", migrations=shop_line)
    assert await shop.existing_versions() == [1]
    assert [each.version for each in await shop.migrate_up()] == [2]


async def test_a_process_frozen_in_a_migration_keeps_nobody_out_for_long(
    connection: asyncpg.Connection, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks on the tables stop every client: a laptop that falls asleep is enough."""
    is_frozen = asyncio.Event()

    class Freezing(asyncpg.Connection):  # type: ignore[misc]
        async def execute(self, query: str, *args: object, timeout: float | None = None) -> object:
            if query.startswith("INSERT INTO"):
                is_frozen.set()
                await asyncio.Event().wait()
            return await super().execute(query, *args, timeout=timeout)

    monkeypatch.setattr("riverengine.schema.migrator._IDLE_LIMIT", 0.3)
    frozen = await asyncpg.connect(empty_database, connection_class=Freezing)
    migrating = asyncio.create_task(Migrator(frozen).migrate_up())
    try:
        await is_frozen.wait()
        async with asyncio.timeout(20):
            assert [each.version for each in await Migrator(connection).migrate_up()] == ALL
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "0"
    finally:
        migrating.cancel()
        await asyncio.wait({migrating})
        frozen.terminate()


async def test_looking_works_inside_a_transaction(connection: asyncpg.Connection) -> None:
    await Migrator(connection).migrate_up(target_version=7)
    async with connection.transaction():
        await connection.execute("CREATE TABLE mine ()")
        assert await Migrator(connection).existing_versions() == ALL[:-1]
        assert await Migrator(connection).validate() == ["Unapplied migrations: [8]"]
    assert await connection.fetchval("SELECT to_regclass('mine')") is not None


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
