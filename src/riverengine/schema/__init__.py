"""River's database schema: its migrations, and a check that a database has them."""

from riverengine.schema.line import (
    ENGINE_LINE,
    MAIN_LINE,
    AppliedMigration,
    Direction,
    Migration,
    bundled_lines,
    bundled_migrations,
    load_migrations,
)
from riverengine.schema.migrator import Migrator, check_schema

__all__ = [
    "ENGINE_LINE",
    "MAIN_LINE",
    "AppliedMigration",
    "Direction",
    "Migration",
    "Migrator",
    "bundled_lines",
    "bundled_migrations",
    "check_schema",
    "load_migrations",
]
