"""The hot statements find their rows by index in a table of 100,000."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
import pytest

from riverengine.queries.statement import load_statements
from riverengine.schema.migrator import Migrator
from tests.conftest import _database_name, _execute, with_database

PACKAGE = "riverengine.queries.sql"
ROWS = 100_000
NOW = datetime.now(UTC)
ONE = ([1], [1], [NOW])


@pytest.fixture(scope="module")
async def full(server_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with many jobs: most completed, some waiting, few running."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(with_database(server_url, name))
    try:
        await Migrator(connection).migrate_up()
        await connection.execute(
            """
            INSERT INTO river_job (
                kind, args, state, queue, priority, finalized_at, attempted_by, attempt,
                attempted_at, scheduled_at
            )
            SELECT
                'kind' || n % 10,
                '{}',
                state,
                'queue' || n % 5,
                1 + n % 4,
                CASE WHEN state = 'completed' THEN now() END,
                CASE WHEN state IN ('completed', 'running') THEN array['client'] END,
                1,
                now(),
                now() - n * interval '1 second'
            FROM generate_series(1, $1::integer) AS n
            CROSS JOIN LATERAL (
                SELECT (
                    CASE n % 100
                        WHEN 0 THEN 'running' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'retryable'
                        WHEN 3 THEN 'available' WHEN 4 THEN 'available' ELSE 'completed'
                    END
                )::river_job_state AS state
            ) AS chosen
            """,
            ROWS,
        )
        await connection.execute("VACUUM ANALYZE river_job")
        yield connection
    finally:
        await connection.close()
        await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def nodes(plan: dict[str, object]) -> Sequence[dict[str, object]]:
    """The plan's nodes."""
    found = [plan]
    for child in plan.get("Plans", []):  # type: ignore[attr-defined]
        found += nodes(child)
    return found


@pytest.mark.parametrize(
    ("file", "name", "arguments"),
    [
        ("job_fetch.sql", "job_get_available", ("queue1", None, 100, "me")),
        ("job_fetch.sql", "job_get_available", ("queue1", ["kind1"], 100, "me")),
        ("job_fetch.sql", "job_get_cancel_requested", ([1, 2, 3],)),
        ("job_fetch.sql", "job_take_back", ("client", "2026-01-01T00:00:00Z", "text")),
        ("job_finish.sql", "job_complete_plain", (*ONE, [NOW], "client")),
        ("job_finish.sql", "job_complete_plain_returning", (*ONE, [NOW], "client")),
        (
            "job_finish.sql",
            "job_finish_many",
            (*ONE, ["completed"], [None], [None], [NOW], [None], [None], "client"),
        ),
        ("job_admin.sql", "job_get", (1,)),
        ("job_admin.sql", "job_cancel", (1, None, "river_control", '"2026-01-01T00:00:00Z"')),
        ("job_admin.sql", "job_retry", (1,)),
        ("job_admin.sql", "job_delete", (1,)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_no_hot_statement_reads_the_whole_table(
    full: asyncpg.Connection, file: str, name: str, arguments: tuple[object, ...]
) -> None:
    sql = load_statements(PACKAGE, file)[name].sql(None)
    transaction = full.transaction()
    await transaction.start()
    try:
        text = await full.fetchval(f"EXPLAIN (FORMAT json) {sql}", *arguments)
    finally:
        await transaction.rollback()
    found = nodes(json.loads(text)[0]["Plan"])
    scans = [node for node in found if node.get("Relation Name") == "river_job"]
    assert scans
    read = [node["Node Type"] for node in scans]
    assert "Seq Scan" not in read, json.dumps(found, indent=1)[:4000]
