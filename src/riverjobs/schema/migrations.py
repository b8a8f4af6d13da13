"""Applies migration files in Supabase's format, sharing the Supabase CLI's history.

A file is named ``<14 digits>_<name>.sql``; the digits are its version. Either tool takes the
other's entries as applied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import asyncpg

from riverengine.queries.statement import statement
from riverengine.queries.transaction import transaction_idle_limit
from riverengine.types.errors import MigrationError

_IDLE_LIMIT = 10.0
"""Seconds until the server ends the session of a process that was frozen in a file."""

_NAME = re.compile(r"(\d{14})_([a-z0-9_]+)\.sql", re.ASCII)


def _query(name: str) -> str:
    return statement("migration.sql", name, package="riverjobs.queries.sql").sql(None)


_LOCK, _UNLOCK = _query("history_lock"), _query("history_unlock")
_PREPARE = (_query("history_schema"), _query("history_table"), _query("history_columns"))
_EXISTS, _VERSIONS, _ADD = (
    *(_query("history_exists"), _query("history_versions")),
    _query("history_add"),
)


@dataclass(frozen=True, slots=True, order=True)
class MigrationFile:
    """One migration; they are applied in the order of their versions."""

    version: str
    name: str
    sql: str

    @property
    def file_name(self) -> str:
        """The name the Supabase CLI knows the file by."""
        return f"{self.version}_{self.name}.sql"


def bundled_migrations(*packages: str) -> list[MigrationFile]:
    """The migration files of these packages, by version.

    packages: import names of folders of files.  Raises ``MigrationError`` for a version used twice.
    """
    found: dict[str, MigrationFile] = {}
    for package in packages:
        for entry in resources.files(package).iterdir():
            match = _NAME.fullmatch(entry.name)
            if match is None:
                continue
            migration = MigrationFile(
                match.group(1), match.group(2), entry.read_text(encoding="utf-8")
            )
            if migration.version in found:
                raise MigrationError(
                    f"{entry.name} and {found[migration.version].file_name} have the same version"
                )
            found[migration.version] = migration
    return sorted(found.values())


async def applied_versions(connection: asyncpg.Connection) -> list[str]:
    """Versions in the history, in order; none when there is no history yet."""
    if not await connection.fetchval(_EXISTS):
        return []
    return [record["version"] for record in await connection.fetch(_VERSIONS)]


async def pending_migrations(
    connection: asyncpg.Connection, migrations: Sequence[MigrationFile]
) -> list[MigrationFile]:
    """Those of ``migrations`` that are not in the history."""
    applied = set(await applied_versions(connection))
    return [migration for migration in migrations if migration.version not in applied]


async def apply_migrations(
    connection: asyncpg.Connection, migrations: Sequence[MigrationFile]
) -> list[MigrationFile]:
    """Apply what is pending, each file in a transaction of its own; returns what was applied.

    connection: outside a transaction.  Several processes may call this at once.  A file that fails
    raises ``MigrationError``; those before it stay applied, it leaves nothing.
    """
    await connection.execute(_LOCK)
    try:
        for sql in _PREPARE:
            await connection.execute(sql)
        pending = await pending_migrations(connection, sorted(migrations))
        for migration in pending:
            try:
                async with connection.transaction():
                    await transaction_idle_limit(connection, _IDLE_LIMIT)
                    await connection.execute(migration.sql)
                    await connection.execute(
                        _ADD, migration.version, [migration.sql], migration.name
                    )
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise MigrationError(f"{migration.file_name} failed: {error}") from error
        return pending
    finally:
        if not connection.is_closed():
            await connection.execute(_UNLOCK)
