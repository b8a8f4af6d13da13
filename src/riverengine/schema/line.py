"""Lines of migrations: sequences of versions recorded side by side in ``river_migration``.

Source: rivermigrate/river_migrate.go at v0.51.1 (lines, suggestions for a mistyped one).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from importlib import resources

from riverengine.queries.statement import Statement
from riverengine.types.errors import MigrationError

MAIN_LINE = "main"
"""River's own tables; they come before any other line."""

ENGINE_LINE = "riverengine"
"""Tables of the engine's own, at which Go River never looks. Without them clients work, but jobs of
a dead process wait for the rescuer."""

_PACKAGE = "riverengine.schema.migrations"
_FILE = re.compile(r"(\d{3})_(\w+)\.(up|down)\.sql")
_SUGGESTED_WITHIN = 2


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
def bundled_lines() -> tuple[str, ...]:
    """The lines this release brings, River's first."""
    folders = resources.files(_PACKAGE).iterdir()
    names = {each.name for each in folders if each.joinpath("__init__.py").is_file()}
    return (MAIN_LINE, *sorted(names - {MAIN_LINE}))


@cache
def bundled_migrations(line: str = MAIN_LINE) -> tuple[Migration, ...]:
    """All migrations of a line, oldest first.

    Raises ``MigrationError`` for an unknown line; the message names those that are spelt alike.
    """
    if line not in bundled_lines():
        raise MigrationError(f"migration line does not exist: {line}{_suggestion(line)}")
    return load_migrations(f"{_PACKAGE}.{line}")


def load_migrations(package: str) -> tuple[Migration, ...]:
    """The migrations a package holds as files, oldest first.

    ``NNN_name.up.sql`` and ``NNN_name.down.sql``, numbered from 001 without gaps.  Raises
    ``MigrationError`` otherwise.
    """
    found: dict[int, dict[str, Statement]] = {}
    names: dict[int, str] = {}
    for entry in resources.files(package).iterdir():
        match = _FILE.fullmatch(entry.name)
        if match is None:
            continue
        version = int(match.group(1))
        if names.setdefault(version, match.group(2)) != match.group(2):
            raise MigrationError(f"{package}: migration {version} has two names")
        text = entry.read_text(encoding="utf-8")
        found.setdefault(version, {})[match.group(3)] = Statement(entry.name, text)
    if sorted(found) != list(range(1, len(found) + 1)):
        raise MigrationError(f"{package}: versions must count from 1 without gaps: {sorted(found)}")
    for version, files in found.items():
        if len(files) != len(Direction):
            raise MigrationError(f"{package}: migration {version} needs an up and a down file")
    return tuple(
        Migration(version, names[version].replace("_", " "), files["up"], files["down"])
        for version, files in sorted(found.items())
    )


def find_migration(migrations: Sequence[Migration], version: int) -> Migration:
    """The migration of a version; raises ``MigrationError`` with the versions there are."""
    for migration in migrations:
        if migration.version == version:
            return migration
    available = " ".join(str(migration.version) for migration in migrations)
    raise MigrationError(f"migration {version} not found (available versions: [{available}])")


def _suggestion(line: str) -> str:
    close = [f"`{each}`" for each in bundled_lines() if _distance(each, line) <= _SUGGESTED_WITHIN]
    if not close:
        return ""
    return f" (did you mean {'one of ' if len(close) > 1 else ''}{', '.join(close)}?)"


def _distance(one: str, other: str) -> int:
    """Letters to insert, delete or replace to make ``other`` of ``one`` (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above = row
        row = [i]
        for j, wanted in enumerate(other, start=1):
            replaced = above[j - 1] + (letter != wanted)
            row.append(min(above[j] + 1, row[j - 1] + 1, replaced))
    return row[-1]
