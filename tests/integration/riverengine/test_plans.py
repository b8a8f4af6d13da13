"""The hot statements find their rows by index in a table of 100,000."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from riverengine import JobListCursor, JobListOrderBy, JobListParams, JobState, SortOrder
from riverengine.queries.job_list import job_list_query
from riverengine.queries.job_many import JobManyParams, change_query
from riverengine.queries.statement import load_statements
from riverengine.schema import Migrator, bundled_lines
from tests.conftest import _database_name, _execute, with_database

PACKAGE = "riverengine.queries.sql"
ROWS = 100_000
NOW = datetime.now(UTC)
ONE = ([1], [1], [NOW])
NO_TIME = timedelta(0)


@pytest.fixture(scope="module")
async def full(server_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with many jobs: most completed, some waiting, few running."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(with_database(server_url, name))
    try:
        for line in bundled_lines():
            await Migrator(connection, line=line).migrate_up()
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
                CASE WHEN state = 'completed' THEN now() - n * interval '1 second' END,
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


def nodes(plan: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The plan's nodes."""
    found = [plan]
    for child in plan.get("Plans", []):
        found += nodes(child)
    return found


@pytest.mark.parametrize(
    ("file", "name", "arguments"),
    [
        ("job_fetch.sql", "job_get_available", ("queue1", None, 100, "me")),
        ("job_fetch.sql", "job_get_available", ("queue1", ["kind1"], 100, "me")),
        ("job_fetch.sql", "job_get_cancel_requested", ([1, 2, 3],)),
        ("job_fetch.sql", "job_get_held", ([1, 2, 3], [NOW, NOW, NOW])),
        ("client.sql", "client_claimants", ("_py", ["worker-1"])),
        ("client.sql", "job_take_back", ("client", None, 3, "text", "%s")),
        ("job_finish.sql", "job_complete_plain", (*ONE, [NOW], "client")),
        ("job_finish.sql", "job_complete_plain_returning", (*ONE, [NOW], "client")),
        (
            "job_finish.sql",
            "job_finish_many",
            (*ONE, ["completed"], [None], [None], [NOW], [None], [None], "client"),
        ),
        ("maintenance.sql", "job_schedule", (NO_TIME, 10_000, NO_TIME)),
        ("maintenance.sql", "job_delete_before", (timedelta(days=1),) * 3 + (10_000,)),
        ("maintenance.sql", "job_get_stuck", (NOW, 0, 10_000)),
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
    await assert_indexed(full, load_statements(PACKAGE, file)[name].sql(None), arguments)


CURSOR = JobListCursor(50_000, "kind1", "queue1", "time", NOW)


@pytest.mark.parametrize(
    "params",
    [
        JobListParams(),
        JobListParams(after=CURSOR, direction=SortOrder.DESC),
        JobListParams(ids=[1, 2, 3], order_by=JobListOrderBy.TIME),
        JobListParams(kinds=["kind1"], after=CURSOR),
        JobListParams(metadata={"workflow_id": "x"}),
        JobListParams(args={"customer": 7}),
        JobListParams(states=[JobState.RUNNING], order_by=JobListOrderBy.TIME),
        JobListParams(
            states=[JobState.AVAILABLE], queues=["queue1"], order_by=JobListOrderBy.SCHEDULED_AT
        ),
        JobListParams(states=[JobState.RETRYABLE, JobState.SCHEDULED]),
    ],
)
async def test_no_list_reads_the_whole_table(
    full: asyncpg.Connection, params: JobListParams
) -> None:
    await assert_indexed(full, *job_list_query(None, params))


@pytest.mark.parametrize("direction", SortOrder)
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("condition", ["TRUE", "kind <> 'kind1'"])
@pytest.mark.parametrize(
    "states", [[JobState.COMPLETED], None, [JobState.COMPLETED, JobState.DISCARDED]]
)
async def test_a_page_of_ended_jobs_reads_hardly_more_than_the_page(
    full: asyncpg.Connection,
    direction: SortOrder,
    is_first: bool,
    condition: str,
    states: list[JobState] | None,
) -> None:
    """The order of final states comes from the index, and the scan starts at the cursor."""
    half = replace(CURSOR, time=NOW - timedelta(seconds=ROWS // 2))
    params = JobListParams(
        states=states,
        order_by=JobListOrderBy.FINALIZED_AT,
        direction=direction,
        after=None if is_first else half,
    ).where(condition)
    sql, arguments = job_list_query(None, params)
    text = await full.fetchval(f"EXPLAIN (FORMAT json, ANALYZE) {sql}", *arguments)
    found = nodes(json.loads(text)[0]["Plan"])
    scans = [node for node in found if node.get("Relation Name") == "river_job"]
    indexes = {node.get("Index Name") for node in scans}
    assert "river_job_state_and_finalized_at_index" in indexes, scans
    assert indexes <= {"river_job_state_and_finalized_at_index", "river_job_pkey"}, scans
    assert rows_read(scans) < 1_000, scans


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("job_kind_list", ("", "", [], 100)),
        ("job_count_by_state_at_most", (1_000,)),
        ("job_count_by_queue_and_state", (["queue0", "queue3"], None)),
        ("job_count_by_queue_and_state", (["queue0", "queue3"], 100)),
        ("queue_stats", (None, None)),
        ("queue_stats", (["queue0", "queue3"], 100)),
    ],
)
async def test_kinds_and_capped_counts_read_few_rows(
    full: asyncpg.Connection, name: str, arguments: tuple[object, ...]
) -> None:
    sql = load_statements(PACKAGE, "job_count.sql")[name].sql(None)
    text = await full.fetchval(f"EXPLAIN (FORMAT json, ANALYZE) {sql}", *arguments)
    found = nodes(json.loads(text)[0]["Plan"])
    scans = [node for node in found if node.get("Relation Name") == "river_job"]
    assert 0 < rows_read(scans) < ROWS / 10


@pytest.mark.parametrize("name", ["job_delete_many", "job_cancel_many", "job_retry_many"])
@pytest.mark.parametrize(
    "filters",
    [{"ids": [1, 2]}, {"states": [JobState.RETRYABLE]}, {"metadata": {"a": 1}}, {"kinds": ["x"]}],
)
async def test_no_change_of_many_reads_the_whole_table(
    full: asyncpg.Connection, name: str, filters: dict[str, Any]
) -> None:
    query = load_statements(PACKAGE, "job_many.sql")[name]
    more = {13: None, 14: "t", 15: '""'} if name == "job_cancel_many" else {}
    sql, arguments = change_query(query, None, JobManyParams(**filters, limit=10_000), more)
    await assert_indexed(full, sql, arguments)


def rows_read(scans: Sequence[dict[str, Any]]) -> float:
    """Rows the scans looked at, in all their loops."""
    return sum(
        float(scan["Actual Loops"] * (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)))
        for scan in scans
    )


async def assert_indexed(full: asyncpg.Connection, sql: str, arguments: Sequence[object]) -> None:
    """Every scan of the jobs uses an index."""
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
