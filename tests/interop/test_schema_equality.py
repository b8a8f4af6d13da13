"""A database migrated by us equals one migrated by Go River, at every version, both ways."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from riverengine.embedded.postgres import Account, find_binaries
from riverengine.schema.line import ENGINE_LINE
from riverengine.schema.migrator import Migrator
from tests.conftest import _database_name, _execute, with_database

pytestmark = pytest.mark.interop

NEWEST = 8


@pytest.fixture
async def go_database(server_url: str) -> AsyncIterator[str]:
    """A second empty database, for Go."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    yield with_database(server_url, name)
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def dump(url: str) -> list[str]:
    """The sorted lines of the schema, less the random key newer releases print."""
    program = find_binaries(Account()) / "pg_dump"
    text = subprocess.run(
        [str(program), "--schema-only", url], check=True, capture_output=True, text=True
    ).stdout
    return sorted(
        line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    )


async def migrate(url: str, schema: str | None, version: int) -> None:
    """Move our database to a version, from above or below."""
    connection = await asyncpg.connect(url)
    try:
        migrator = Migrator(connection, schema=schema)
        if len(await migrator.existing_versions()) < version:
            await migrator.migrate_up(target_version=version)
        else:
            await migrator.migrate_down(target_version=version)
        assert await migrator.existing_versions() == list(range(1, version + 1))
    finally:
        await connection.close()


@pytest.mark.parametrize("schema", [None, "river_Mixed"])
async def test_schema_equals_gos_at_every_step_up_and_down(
    empty_database: str, go_database: str, go_migrate: Path, schema: str | None
) -> None:
    for url in (empty_database, go_database):
        if schema is not None:
            connection = await asyncpg.connect(url)
            await connection.execute(f'CREATE SCHEMA "{schema}"')
            await connection.close()
    versions = [*range(1, NEWEST + 1), *range(NEWEST - 1, -1, -1)]
    for version in versions:
        await migrate(empty_database, schema, version)
        subprocess.run([str(go_migrate), go_database, schema or "", str(version)], check=True)
        assert dump(empty_database) == dump(go_database), f"version {version}"


async def test_go_continues_where_we_stopped_and_the_reverse(
    empty_database: str, go_migrate: Path
) -> None:
    for version in range(1, NEWEST + 1):
        if version % 2:
            await migrate(empty_database, None, version)
        else:
            subprocess.run([str(go_migrate), empty_database, "", str(version)], check=True)
    connection = await asyncpg.connect(empty_database)
    try:
        assert await Migrator(connection).validate() == []
    finally:
        await connection.close()


async def test_go_leaves_our_line_alone_and_refuses_to_go_below_it(
    empty_database: str, go_migrate: Path
) -> None:
    subprocess.run([str(go_migrate), empty_database, "", str(NEWEST)], check=True)
    connection = await asyncpg.connect(empty_database)
    try:
        ours = Migrator(connection, line=ENGINE_LINE)
        await ours.migrate_up()
        subprocess.run([str(go_migrate), empty_database, "", "5"], check=True)
        below = subprocess.run(
            [str(go_migrate), empty_database, "", "4"], check=False, capture_output=True
        )
        assert below.returncode != 0
        assert await ours.existing_versions() == [1]
        await ours.migrate_down()
        subprocess.run([str(go_migrate), empty_database, "", "4"], check=True)
    finally:
        await connection.close()
