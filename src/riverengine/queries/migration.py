"""Statements on ``river_migration``, whose shape changes with version 5."""

from __future__ import annotations

from riverengine.queries.statement import Executor, statement

_TABLE_EXISTS = statement("migration.sql", "migration_table_exists")
_LINE_EXISTS = statement("migration.sql", "migration_line_exists")
_VERSIONS_BY_LINE = statement("migration.sql", "migration_versions_by_line")
_VERSIONS_WITHOUT_LINE = statement("migration.sql", "migration_versions_without_line")
_INSERT_BY_LINE = statement("migration.sql", "migration_insert_by_line")
_INSERT_WITHOUT_LINE = statement("migration.sql", "migration_insert_without_line")
_DELETE_BY_LINE = statement("migration.sql", "migration_delete_by_line")
_DELETE_WITHOUT_LINE = statement("migration.sql", "migration_delete_without_line")
_LOCK = statement("migration.sql", "migration_lock")


async def _has_line(db: Executor, schema: str | None) -> bool:
    return bool(await db.fetchval(_LINE_EXISTS.sql(schema), schema))


async def migration_versions(db: Executor, *, schema: str | None) -> list[int]:
    """Applied versions of the main line, oldest first; empty without the table."""
    if not await db.fetchval(_TABLE_EXISTS.sql(schema), schema):
        return []
    by_line = await _has_line(db, schema)
    rows = await db.fetch((_VERSIONS_BY_LINE if by_line else _VERSIONS_WITHOUT_LINE).sql(schema))
    return [row["version"] for row in rows]


async def migration_insert(db: Executor, *, schema: str | None, version: int) -> None:
    """Record an applied version; call it in the migration's transaction."""
    by_line = await _has_line(db, schema)
    await db.execute((_INSERT_BY_LINE if by_line else _INSERT_WITHOUT_LINE).sql(schema), version)


async def migration_delete(db: Executor, *, schema: str | None, version: int) -> None:
    """Forget a reverted version; call it in the migration's transaction."""
    by_line = await _has_line(db, schema)
    await db.execute((_DELETE_BY_LINE if by_line else _DELETE_WITHOUT_LINE).sql(schema), version)


async def migration_lock(db: Executor, *, schema: str | None) -> None:
    """Let only one of our processes migrate a schema, until the transaction ends."""
    await db.execute(_LOCK.sql(schema), schema)
