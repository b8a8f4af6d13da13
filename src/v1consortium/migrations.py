"""Brings a database to the state this release needs: River's tables, the engine's, then ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from riverengine import DatabaseUnavailableError, MigrationError, Migrator, SchemaVersionError
from riverengine.schema.line import MAIN_LINE, bundled_lines
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
    """What a database lacks: steps of River's tables and of the engine's own, and our files."""

    steps: Sequence[str]
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
        steps = []
        for line in bundled_lines():
            migrator = Migrator(connection, schema=schema, line=line)
            try:
                applied = await migrator.existing_versions()
            except MigrationError:
                applied = []  # River's own steps come first, and are missing
            steps += [_name(line, v) for v in migrator.all_versions if v not in applied]
        return Pending(
            steps=steps,
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
        steps = []
        for line in bundled_lines():
            applied = await Migrator(connection, schema=schema, line=line).migrate_up()
            steps += [f"{_name(line, step.version)} {step.name}" for step in applied]
        files = await apply_migrations(connection, migration_files())
    finally:
        await connection.close()
    return [*steps, *(file.file_name for file in files)]


async def take_back(database_url: str, *, schema: str | None) -> str | None:
    """Revert the newest step of the engine's own tables, and after those of River's.

    Returns its name, None where there is none.
    """
    connection = await connect(database_url)
    try:
        for line in reversed(bundled_lines()):
            migrator = Migrator(connection, schema=schema, line=line)
            try:
                reverted = await migrator.migrate_down(max_steps=1)
            except MigrationError:
                continue  # River's table does not tell lines apart any more: there is but its own
            for step in reverted:
                return f"{_name(line, step.version)} {step.name}"
    finally:
        await connection.close()
    return None


def _name(line: str, version: int) -> str:
    return f"{'river' if line == MAIN_LINE else line} {version:03d}"
