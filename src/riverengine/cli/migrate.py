"""The subcommands on migrations."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg

from riverengine.config import validate_schema
from riverengine.schema.line import AppliedMigration, Direction, bundled_migrations
from riverengine.schema.migrator import Migrator
from riverengine.types.errors import ConfigError, DatabaseUnavailableError, MigrationError

_RULE = "-" * 80


async def up(options: Namespace, url: str) -> int:
    """``migrate-up``."""
    async with _migrator(options, url) as migrator:
        applied = await migrator.migrate_up(
            target_version=options.target_version,
            max_steps=options.max_steps,
            dry_run=options.dry_run,
        )
    return _tell(options, applied)


async def down(options: Namespace, url: str) -> int:
    """``migrate-down``."""
    async with _migrator(options, url) as migrator:
        applied = await migrator.migrate_down(
            target_version=options.target_version,
            max_steps=options.max_steps,
            dry_run=options.dry_run,
        )
    return _tell(options, applied)


async def list_all(options: Namespace, url: str) -> int:
    """``migrate-list``."""
    async with _migrator(options, url) as migrator:
        existing = await migrator.existing_versions()
    newest = max(existing, default=None)
    for migration in bundled_migrations(options.line):
        mark = "" if newest is None else "* " if migration.version == newest else "  "
        _say(f"{mark}{migration.version:03d} {migration.name}")
    return 0


async def validate(options: Namespace, url: str) -> int:
    """``validate``: silent when all is well, as in Go; else what is missing, on standard error."""
    async with _migrator(options, url) as migrator:
        problems = await migrator.validate()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def get(options: Namespace) -> int:
    """``migrate-get``: the SQL of migrations, with the schema's names put in."""
    if options.schema is not None:
        validate_schema(options.schema)
    known = {migration.version: migration for migration in bundled_migrations(options.line)}
    wanted = list(known) if options.all else _versions(options.version)
    excluded = set(_versions(options.exclude_version))
    for number in wanted:
        if number not in known:
            raise MigrationError(
                f"migration {number} not found (available versions: {list(known)})"
            )
    if options.all and options.down:
        wanted.reverse()
    direction = Direction.UP if options.up else Direction.DOWN
    texts = [
        f"-- River {options.line} migration {number:03d} [{direction}]\n"
        f"{known[number].statement(direction).sql(options.schema)}\n"
        for number in wanted
        if number not in excluded
    ]
    sys.stdout.write("\n".join(texts))
    return 0


COMMANDS: Mapping[str, Callable[[Namespace, str], Coroutine[None, None, int]]] = {
    "migrate-up": up,
    "migrate-down": down,
    "migrate-list": list_all,
    "validate": validate,
}
"""The subcommands that need a database."""


@asynccontextmanager
async def _migrator(options: Namespace, url: str) -> AsyncIterator[Migrator]:
    try:
        connection = await asyncpg.connect(
            url, timeout=10, server_settings={"application_name": "riverengine CLI"}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # The driver's text may quote the address with its password.
        name = type(error).__name__
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {name}") from error
    try:
        yield Migrator(connection, schema=options.schema, line=options.line)
    finally:
        await connection.close()


def _tell(options: Namespace, applied: Sequence[AppliedMigration]) -> int:
    if not applied:
        _say("no migrations to apply")
        return 0
    longest = max(len(migration.name) for migration in applied)
    for migration in applied:
        name = migration.name.ljust(longest)
        if options.dry_run:
            _say(f"migration {migration.version:03d} [{migration.direction}] {name} [DRY RUN]")
        else:
            took = _short(migration.duration)
            _say(
                f"applied migration {migration.version:03d} [{migration.direction}] {name} [{took}]"
            )
        if options.show_sql:
            _say(_RULE)
            _say(
                f"-- River {options.line} migration {migration.version:03d} [{migration.direction}]"
            )
            _say(f"{migration.sql}\n")
    if options.max_steps is not None and len(applied) < options.max_steps:
        _say("no more migrations to apply")
    return 0


def _versions(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError("--version", "must be numbers separated by commas") from None


def _short(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds:.2f}s" if seconds >= 1 else f"{seconds * 1000:.2f}ms"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
