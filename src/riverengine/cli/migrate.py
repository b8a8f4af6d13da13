"""The subcommands on migrations.

Source: cmd/river/rivercli/river_cli.go at v0.51.1, whose output this one's is.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from riverengine.cli.database import Database
from riverengine.cli.durations import format_duration, truncated
from riverengine.config import validate_schema
from riverengine.queries.statement import Statement, quote_schema
from riverengine.schema import (
    MAIN_LINE,
    AppliedMigration,
    Direction,
    Migrator,
    bundled_migrations,
)
from riverengine.schema.line import find_migration
from riverengine.types.errors import ConfigError

_RULE = "-" * 80
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)


async def up(options: Namespace, database: Database) -> int:
    """``migrate-up``."""
    target = options.target_version
    async with _migrator(options, database) as migrator:
        applied = await migrator.migrate_up(
            # As in Go, numbers up to zero ask for nothing in particular.
            target_version=target if target is not None and target > 0 else None,
            max_steps=options.max_steps or None,
            dry_run=options.dry_run,
        )
    return _tell(options, applied)


async def down(options: Namespace, database: Database) -> int:
    """``migrate-down``."""
    target = options.target_version
    if target is not None and target < -1:
        raise ConfigError(
            "--target-version", "--target-version must be a version, or 0 to take everything back"
        )
    async with _migrator(options, database) as migrator:
        applied = await migrator.migrate_down(
            target_version=target, max_steps=options.max_steps or None, dry_run=options.dry_run
        )
    return _tell(options, applied)


async def list_all(options: Namespace, database: Database) -> int:
    """``migrate-list``."""
    async with _migrator(options, database) as migrator:
        existing = await migrator.existing_versions()
    names = {migration.version: migration.name for migration in migrator.migrations}
    unknown = [version for version in existing if version not in names]
    if options.json:
        listed = [
            {"version": version, "name": name, "applied": version in existing}
            for version, name in names.items()
        ]
        _say(json.dumps({"line": migrator.line, "migrations": listed, "unknown": unknown}))
        return 0
    names |= dict.fromkeys(unknown, "(unknown to this release)")
    newest = max(existing, default=None)
    for version, name in sorted(names.items()):
        mark = "" if newest is None else "* " if version == newest else "  "
        _say(f"{mark}{version:03d} {name}")
    return 0


async def validate(options: Namespace, database: Database) -> int:
    """``validate``: silent when all is well, as in Go; else what is missing, on standard error."""
    async with _migrator(options, database) as migrator:
        problems = await migrator.validate()
    if options.json:
        _say(json.dumps({"line": migrator.line, "ok": not problems, "messages": problems}))
    else:
        for problem in problems:
            sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def get(options: Namespace) -> int:
    """``migrate-get``: the SQL of migrations, with the schema's names put in."""
    if options.schema is not None:
        validate_schema(options.schema)
    line = options.line or MAIN_LINE
    migrations = bundled_migrations(line)
    if options.all:
        wanted = list(migrations)
        if options.down:
            wanted.reverse()
    else:
        wanted = [find_migration(migrations, version) for version in options.versions]
    direction = Direction.UP if options.up else Direction.DOWN
    texts = [
        f"{_comment(line, migration.version, direction)}\n"
        f"{_pasted(migration.statement(direction), options.schema)}\n"
        for migration in wanted
        if migration.version not in options.exclude_version
    ]
    sys.stdout.write("\n".join(texts))
    return 0


@asynccontextmanager
async def _migrator(options: Namespace, database: Database) -> AsyncIterator[Migrator]:
    line = options.line or MAIN_LINE
    bundled_migrations(line)  # an unknown line is told before anything is connected to
    async with database.connect() as connection:
        yield Migrator(connection, schema=options.schema, line=line)


def _tell(options: Namespace, applied: Sequence[AppliedMigration]) -> int:
    if not applied:
        _say("no migrations to apply")
        return 0
    longest = max(len(migration.name) for migration in applied)
    for migration in applied:
        head = f"migration {migration.version:03d} [{migration.direction}]"
        if options.dry_run:
            _say(f"{head} [DRY RUN]")
        else:
            took = format_duration(truncated(migration.duration))
            _say(f"applied {head} {migration.name.ljust(longest)} [{took}]")
        if options.show_sql:
            _say(_RULE)
            _say(_comment(options.line, migration.version, migration.direction))
            _say(f"{migration.sql.strip()}\n")
    if options.max_steps > 0 and len(applied) < options.max_steps:
        _say("no more migrations to apply")
    return 0


def _comment(line: str, version: int, direction: Direction) -> str:
    return f"-- River {line} migration {version:03d} [{direction}]"


def _pasted(statement: Statement, schema: str | None) -> str:
    """The SQL for other tools: with a plain schema as Go prints it, without quotes.

    Capitals need quotes, or PostgreSQL would look for another schema.
    """
    if schema is None or not _PLAIN.fullmatch(schema):
        return statement.sql(schema).strip()
    return statement.sql(schema).replace(quote_schema(schema), f"{schema}.").strip()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
