"""Statements of the benchmark: what it would delete, and deleting it."""

from __future__ import annotations

from dataclasses import dataclass

from riverengine.queries.statement import Executor, statement

_FILE = "bench.sql"
_PLACE = statement(_FILE, "bench_place")
_OTHER_KINDS = statement(_FILE, "bench_other_kinds")
_TRUNCATE = statement(_FILE, "bench_truncate")
_VACUUM = statement(_FILE, "bench_vacuum")


@dataclass(frozen=True, slots=True)
class BenchPlace:
    """Where a benchmark's jobs are."""

    database: str
    schema: str


async def bench_place(db: Executor, *, schema: str | None) -> BenchPlace:
    """The database and schema a connection works in."""
    record = await db.fetchrow(_PLACE.sql(schema), schema)
    return BenchPlace(record["database"], record["schema"])


async def bench_other_kinds(db: Executor, *, schema: str | None, kind: str) -> list[str]:
    """Up to five kinds of stored jobs but ``kind``."""
    return [record["kind"] for record in await db.fetch(_OTHER_KINDS.sql(schema), kind)]


async def bench_reset(db: Executor, *, schema: str | None) -> None:
    """Delete every job and give the table's space back; not inside a transaction."""
    await db.execute(_TRUNCATE.sql(schema))
    await db.execute(_VACUUM.sql(schema))
