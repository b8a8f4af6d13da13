"""Applies migrations. Source: rivermigrate/river_migrate.go at v0.51.1."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from riverengine.queries import migration as queries
from riverengine.queries.transaction import transaction_idle_limit
from riverengine.schema.line import (
    MAIN_LINE,
    AppliedMigration,
    Direction,
    Migration,
    bundled_migrations,
    find_migration,
)
from riverengine.types.errors import MigrationError, SchemaVersionError

_IDLE_LIMIT = 10.0
"""Seconds until the server ends the session of a process that was frozen in a migration."""


class Migrator:
    """Moves one schema of a database between the versions of a line.

    connection: not inside a transaction when migrating; every migration gets one of its own.
    schema: None for search_path's first.  line: ``main`` is River's, ``riverengine`` our own; it
    needs River's tables first.  migrations: those of a line of the caller's, as
    :func:`load_migrations` reads them; None for the bundled ones.

    Raises ``MigrationError`` for an unknown line.  Example::

        migrator = Migrator(connection)
        for applied in await migrator.migrate_up():
            print(applied.version, applied.name, applied.duration)
    """

    def __init__(
        self,
        connection: asyncpg.Connection,
        *,
        schema: str | None = None,
        line: str = MAIN_LINE,
        migrations: Sequence[Migration] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.line = line
        self.migrations: tuple[Migration, ...] = (
            bundled_migrations(line) if migrations is None else tuple(migrations)
        )
        self._connection = connection
        self._schema = schema
        self._logger = logger or logging.getLogger("riverengine")

    @property
    def all_versions(self) -> list[int]:
        """The versions this release knows of the line, oldest first."""
        return [migration.version for migration in self.migrations]

    def get_version(self, version: int) -> Migration:
        """The migration of a version; raises ``MigrationError``."""
        return find_migration(self.migrations, version)

    async def existing_versions(self) -> list[int]:
        """Versions the database has, oldest first, also ones this release does not know.

        Raises ``MigrationError`` when the line is not River's and River's tables are missing.
        """
        if self.line != MAIN_LINE and not await queries.migration_has_lines(
            self._connection, schema=self._schema
        ):
            raise MigrationError(
                f"the migration line {self.line} comes after River's own: migrate the line "
                f"{MAIN_LINE} first (riverengine migrate-up --database-url ...)"
            )
        return await queries.migration_versions(
            self._connection, schema=self._schema, line=self.line
        )

    async def validate(self, *, target_version: int | None = None) -> list[str]:
        """What is missing, as sentences; empty when the database is fully migrated.

        target_version: look no further than this version.  Raises ``MigrationError`` for a version
        that does not exist.
        """
        self._check_known(target_version)
        existing = set(await self.existing_versions())
        missing = [
            str(version)
            for version in self.all_versions
            if version not in existing and (target_version is None or version <= target_version)
        ]
        problems = [f"Unapplied migrations: [{' '.join(missing)}]"] if missing else []
        for problem in problems:
            self._logger.info("%s", problem)
        return problems

    async def migrate_up(
        self,
        *,
        target_version: int | None = None,
        max_steps: int | None = None,
        dry_run: bool = False,
    ) -> list[AppliedMigration]:
        """Apply what is missing, up to ``target_version`` if given; raises ``MigrationError``.

        max_steps: at most so many; negative applies nothing.  A target that is applied already
        changes nothing, even when later versions are missing.
        """
        self._check_known(target_version)
        existing = set(await self.existing_versions())
        if target_version in existing:
            return []
        wanted = [
            migration
            for migration in self.migrations
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

        Without target and max_steps, one step.  max_steps: as for up; the target must lie within
        them.  Raises ``MigrationError``, also for a target that is not applied.
        """
        everything = target_version in (-1, 0)
        if everything:
            target_version = None
        elif target_version is None and max_steps is None:
            max_steps = 1
        self._check_known(target_version)
        existing = set(await self.existing_versions())
        wanted = [each for each in reversed(self.migrations) if each.version in existing]
        wanted = wanted[: _steps(max_steps)]
        if target_version is not None:
            if all(each.version != target_version for each in wanted):
                raise MigrationError(
                    f"version {target_version} is not in target list of valid migrations to apply"
                )
            wanted = [each for each in wanted if each.version > target_version]
        return await self._apply(wanted, Direction.DOWN, dry_run)

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
            try:
                if not dry_run and not await self._apply_one(migration.version, direction, sql):
                    continue
            except Exception as error:
                error.add_note(
                    f"error applying version {migration.version:03d} [{direction.upper()}]"
                )
                raise
            duration = timedelta(seconds=time.monotonic() - started)
            self._logger.info(
                "applied migration: line=%s version=%d direction=%s dry_run=%s duration=%s",
                *(self.line, migration.version, direction, dry_run, duration),
            )
            applied.append(
                AppliedMigration(migration.version, migration.name, direction, duration, sql)
            )
        if not applied:
            self._logger.info("no migrations to apply: line=%s", self.line)
        return applied

    async def _apply_one(self, version: int, direction: Direction, sql: str) -> bool:
        """Run one migration with its bookkeeping; False if another process did it meanwhile."""
        db, schema, line = self._connection, self._schema, self.line
        async with db.transaction():
            await transaction_idle_limit(db, _IDLE_LIMIT)
            # Two processes starting at once: the second waits here, then finds the work done.
            await queries.migration_lock(db, schema=schema)
            present = version in await queries.migration_versions(db, schema=schema, line=line)
            if present == (direction is Direction.UP):
                return False
            await db.execute(sql)
            if direction is Direction.UP:
                await queries.migration_insert(db, schema=schema, line=line, version=version)
            elif version > 1 or line != MAIN_LINE:
                await queries.migration_delete(db, schema=schema, line=line, version=version)
        return True


def _steps(max_steps: int | None) -> int | None:
    return None if max_steps is None else max(0, max_steps)


async def check_schema(connection: asyncpg.Connection, *, schema: str | None) -> None:
    """Refuse a database the runtime cannot work on; raises ``SchemaVersionError``.

    Version 8 changes nothing on PostgreSQL, so 7 is enough.
    """
    versions = await queries.migration_versions(connection, schema=schema, line=MAIN_LINE)
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
