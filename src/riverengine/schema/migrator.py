"""Applies River's migrations. Source: rivermigrate/river_migrate.go at v0.51.1."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from importlib import resources

import asyncpg

from riverengine.queries import migration as queries
from riverengine.queries.statement import Statement
from riverengine.types.errors import MigrationError, SchemaVersionError

MAIN_LINE = "main"
_FILE = re.compile(r"(\d{3})_(\w+)\.(up|down)\.sql")


class Direction(StrEnum):
    """Which way a migration goes."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of the schema, with the SQL of both directions."""

    version: int
    name: str
    up: Statement
    down: Statement

    def statement(self, direction: Direction) -> Statement:
        """The SQL of one direction."""
        return self.up if direction is Direction.UP else self.down


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A migration that was applied, or would be in a dry run; ``sql`` is what ran."""

    version: int
    name: str
    direction: Direction
    duration: timedelta
    sql: str


@cache
def bundled_migrations() -> tuple[Migration, ...]:
    """All migrations of the main line, oldest first."""
    found: dict[int, dict[str, Statement]] = {}
    names: dict[int, str] = {}
    for entry in resources.files("riverengine.schema.migrations").iterdir():
        match = _FILE.fullmatch(entry.name)
        if match is None:
            continue
        version = int(match.group(1))
        names[version] = match.group(2)
        text = entry.read_text(encoding="utf-8")
        found.setdefault(version, {})[match.group(3)] = Statement(entry.name, text)
    return tuple(
        Migration(version, names[version].replace("_", " "), files["up"], files["down"])
        for version, files in sorted(found.items())
    )


class Migrator:
    """Moves one schema of a database between River's versions.

    connection: not inside a transaction; every migration gets one of its own.  schema: None for
    search_path's first.
    """

    def __init__(
        self, connection: asyncpg.Connection, *, schema: str | None = None, line: str = MAIN_LINE
    ) -> None:
        if line != MAIN_LINE:
            raise MigrationError(
                f"migration line does not exist: {line} (did you mean `{MAIN_LINE}`?)"
            )
        self._connection = connection
        self._schema = schema
        self.all_versions = [migration.version for migration in bundled_migrations()]

    async def existing_versions(self) -> list[int]:
        """Versions the database has, oldest first, also ones this release does not know."""
        return await queries.migration_versions(self._connection, schema=self._schema)

    async def validate(self) -> list[str]:
        """What is missing, as sentences; empty when the database is fully migrated."""
        existing = set(await self.existing_versions())
        missing = [version for version in self.all_versions if version not in existing]
        return [f"Unapplied migrations: {missing}"] if missing else []

    async def migrate_up(
        self,
        *,
        target_version: int | None = None,
        max_steps: int | None = None,
        dry_run: bool = False,
    ) -> list[AppliedMigration]:
        """Apply what is missing, up to ``target_version`` if given; raises ``MigrationError``.

        max_steps: at most so many; negative applies nothing.
        """
        self._check_known(target_version)
        existing = set(await self.existing_versions())
        if target_version in existing:
            return []
        wanted = [
            migration
            for migration in bundled_migrations()
            if migration.version not in existing
            and (target_version is None or migration.version <= target_version)
        ]
        return await self._apply(wanted[: _steps(max_steps)], Direction.UP, dry_run)

    async def migrate_down(
        self,
        *,
        target_version: int | None = None,
        max_steps: int | None = None,
        dry_run: bool = False,
    ) -> list[AppliedMigration]:
        """Revert to ``target_version``, which stays applied; -1 or 0 reverts everything.

        Without target and max_steps, one step. Raises ``MigrationError``.
        """
        everything = target_version in (-1, 0)
        if not everything:
            self._check_known(target_version)
        existing = set(await self.existing_versions())
        if target_version is not None and not everything and target_version not in existing:
            raise MigrationError(f"version {target_version} is not applied, so not a target")
        if target_version is None and max_steps is None:
            max_steps = 1
        floor = 0 if everything or target_version is None else target_version
        wanted = [
            migration
            for migration in reversed(bundled_migrations())
            if migration.version in existing and migration.version > floor
        ]
        return await self._apply(wanted[: _steps(max_steps)], Direction.DOWN, dry_run)

    def _check_known(self, version: int | None) -> None:
        if version is not None and version not in self.all_versions:
            raise MigrationError(f"version {version} is not a valid River migration version")

    async def _apply(
        self, migrations: Sequence[Migration], direction: Direction, dry_run: bool
    ) -> list[AppliedMigration]:
        applied = []
        for migration in migrations:
            sql = migration.statement(direction).sql(self._schema)
            started = time.monotonic()
            if not dry_run and not await self._apply_one(migration.version, direction, sql):
                continue
            duration = timedelta(seconds=time.monotonic() - started)
            applied.append(
                AppliedMigration(migration.version, migration.name, direction, duration, sql)
            )
        return applied

    async def _apply_one(self, version: int, direction: Direction, sql: str) -> bool:
        """Run one migration with its bookkeeping; False if another process did it meanwhile."""
        db, schema = self._connection, self._schema
        async with db.transaction():
            # Two processes starting at once: the second waits here, then finds the work done.
            await queries.migration_lock(db, schema=schema)
            present = version in await queries.migration_versions(db, schema=schema)
            if present == (direction is Direction.UP):
                return False
            await db.execute(sql)
            if direction is Direction.UP:
                await queries.migration_insert(db, schema=schema, version=version)
            elif version > 1:
                await queries.migration_delete(db, schema=schema, version=version)
        return True


def _steps(max_steps: int | None) -> int | None:
    return None if max_steps is None else max(0, max_steps)


async def check_schema(connection: asyncpg.Connection, *, schema: str | None) -> None:
    """Refuse a database the runtime cannot work on; raises ``SchemaVersionError``.

    Version 8 changes nothing on PostgreSQL, so 7 is enough.
    """
    versions = await queries.migration_versions(connection, schema=schema)
    newest = bundled_migrations()[-1].version
    command = "riverengine migrate-up --database-url ..."
    if not versions or max(versions) < newest - 1:
        found = f"version {max(versions)}" if versions else "no River schema"
        raise SchemaVersionError(
            f"the database has {found}, but version {newest} is needed: run `{command}`"
        )
    if max(versions) > newest:
        raise SchemaVersionError(
            f"the database has version {max(versions)}, but this release knows only versions up "
            f"to {newest}: upgrade riverjobs"
        )
