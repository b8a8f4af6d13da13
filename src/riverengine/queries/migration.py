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


async def migration_has_lines(db: Executor, *, schema: str | None) -> bool:
    """Whether versions are recorded by line: since version 5 of River's own."""
    return bool(await db.fetchval(_LINE_EXISTS.sql(schema), schema))


async def migration_versions(db: Executor, *, schema: str | None, line: str) -> list[int]:
    """Applied versions of a line, oldest first; empty without the table.

    Before lines were recorded every version is the main line's.
    """
    if not await db.fetchval(_TABLE_EXISTS.sql(schema), schema):
        return []
    if await migration_has_lines(db, schema=schema):
        rows = await db.fetch(_VERSIONS_BY_LINE.sql(schema), line)
    else:
        rows = await db.fetch(_VERSIONS_WITHOUT_LINE.sql(schema))
    return [row["version"] for row in rows]


async def migration_insert(db: Executor, *, schema: str | None, line: str, version: int) -> None:
    """Record an applied version; call it in the migration's transaction."""
    if await migration_has_lines(db, schema=schema):
        await db.execute(_INSERT_BY_LINE.sql(schema), line, version)
    else:
        await db.execute(_INSERT_WITHOUT_LINE.sql(schema), version)


async def migration_delete(db: Executor, *, schema: str | None, line: str, version: int) -> None:
    """Forget a reverted version; call it in the migration's transaction."""
    if await migration_has_lines(db, schema=schema):
        await db.execute(_DELETE_BY_LINE.sql(schema), line, version)
    else:
        await db.execute(_DELETE_WITHOUT_LINE.sql(schema), version)


async def migration_lock(db: Executor, *, schema: str | None) -> None:
    """Let only one of our processes migrate a schema, until the transaction ends."""
    await db.execute(_LOCK.sql(schema), schema)
