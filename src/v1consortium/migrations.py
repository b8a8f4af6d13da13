"""Brings a database to the state this release needs: River's tables, then ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from riverengine import DatabaseUnavailableError, Migrator, SchemaVersionError
from riverjobs.schema import (
    WORKFLOW_MIGRATIONS,
    MigrationFile,
    apply_migrations,
    bundled_migrations,
    pending_migrations,
)

APP_MIGRATIONS = "v1consortium.supabase.migrations"
"""Where the application keeps its migration files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What a database lacks: River's versions, and our files."""

    river: Sequence[int]
    files: Sequence[MigrationFile]


def migration_files() -> list[MigrationFile]:
    """The files of the workflow layer and of the application, in order."""
    return bundled_migrations(WORKFLOW_MIGRATIONS, APP_MIGRATIONS)


async def connect(database_url: str) -> asyncpg.Connection:
    """A connection; raises ``DatabaseUnavailableError``."""
    try:
        return await asyncpg.connect(database_url, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        name = type(error).__name__
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {name}") from error


async def pending(database_url: str, *, schema: str | None) -> Pending:
    """What is missing; changes nothing."""
    connection = await connect(database_url)
    try:
        migrator = Migrator(connection, schema=schema)
        applied = set(await migrator.existing_versions())
        return Pending(
            river=[v for v in migrator.all_versions if v not in applied],
            files=await pending_migrations(connection, migration_files()),
        )
    finally:
        await connection.close()


async def check_schema(pool: asyncpg.Pool) -> None:
    """Refuse a database that lacks one of our files; raises ``SchemaVersionError``."""
    async with pool.acquire() as connection:
        missing = await pending_migrations(connection, migration_files())
    if missing:
        names = ", ".join(file.file_name for file in missing)
        raise SchemaVersionError(f"migrations are missing ({names}): run `v1consortium migrate`")


async def migrate(database_url: str, *, schema: str | None) -> list[str]:
    """Apply what is missing; returns what was applied, in order."""
    connection = await connect(database_url)
    try:
        applied = await Migrator(connection, schema=schema).migrate_up()
        files = await apply_migrations(connection, migration_files())
    finally:
        await connection.close()
    river = [f"river {step.version:03d} {step.name}" for step in applied]
    return [*river, *(file.file_name for file in files)]


async def take_back(database_url: str, *, schema: str | None) -> str | None:
    """Revert River's newest step; returns its name, None where there is none."""
    connection = await connect(database_url)
    try:
        reverted = await Migrator(connection, schema=schema).migrate_down(max_steps=1)
    finally:
        await connection.close()
    return f"river {reverted[0].version:03d} {reverted[0].name}" if reverted else None
