"""Statements find their rows by index in a table of a million jobs, however often they have run."""

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
from riverengine.queries.maintenance import periodic_slot_claim
from riverengine.queries.statement import load_statements
from riverengine.schema import Migrator, bundled_lines
from tests.conftest import _database_name, _execute, with_database

PACKAGE = "riverengine.queries.sql"
ROWS = 1_000_000
APART = timedelta(milliseconds=50)
NOW = datetime.now(UTC)
ONE = ([1], [1], [NOW])
NO_TIME = timedelta(0)

_INDEXES = """
    SELECT class.relname AS name, pg_get_indexdef(class.oid) AS definition
    FROM pg_index AS index JOIN pg_class AS class ON class.oid = index.indexrelid
    WHERE index.indrelid = 'river_job'::regclass AND NOT index.indisprimary
"""


@pytest.fixture(scope="module")
async def full(server_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with many jobs: half completed, a fifth waiting, few running."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(with_database(server_url, name))
    try:
        for line in bundled_lines():
            await Migrator(connection, line=line).migrate_up()
        # Without a log and with the indexes last, it takes a third of the time. Nothing is updated
        # before: an index over updated rows, which autovacuum was just reading, is not used while
        # any older transaction runs on the server.
        await connection.execute("ALTER TABLE river_job SET UNLOGGED")
        indexes = await connection.fetch(_INDEXES)
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
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
                'queue' || n % 7,
                1 + n % 4,
                CASE WHEN state IN ('completed', 'discarded', 'cancelled') THEN now() - ago END,
                CASE WHEN state IN ('completed', 'running') THEN array['client'] END,
                1,
                now(),
                now() + CASE WHEN state IN ('scheduled', 'retryable') THEN ago ELSE -ago END
            FROM generate_series(1, $1::integer) AS n
            CROSS JOIN LATERAL (
                SELECT (
                    CASE
                        WHEN n > $1 - 10 THEN 'cancelled' -- rare, and the last ones
                        WHEN n % 1000 = 0 THEN 'running'
                        WHEN n % 1000 = 1 THEN 'pending'
                        WHEN n % 100 < 20 THEN 'available'
                        WHEN n % 100 < 35 THEN 'scheduled'
                        WHEN n % 100 < 40 THEN 'retryable'
                        WHEN n % 100 < 42 THEN 'discarded'
                        ELSE 'completed'
                    END
                )::river_job_state AS state,
                n * $2::interval AS ago
            ) AS chosen
            """,
            ROWS,
            APART,
        )
        for index in indexes:
            await connection.execute(index["definition"])
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
        ("client.sql", "job_left_running", ("client", None)),
        ("client.sql", "job_take_back", ("client", None, 3, "text", "%s", None)),
        ("client.sql", "job_take_back", ("client", None, 3, "text", "%s", [1, 2, 3])),
        ("job_finish.sql", "job_complete_plain", (*ONE, [NOW], "client")),
        ("job_finish.sql", "job_complete_plain_returning", (*ONE, [NOW], "client")),
        (
            "job_finish.sql",
            "job_finish_many",
            (*ONE, ["completed"], [None], [None], [NOW], [None], [None], "client"),
        ),
        ("maintenance.sql", "job_schedule", (NO_TIME, 10_000, NO_TIME, None)),
        ("maintenance.sql", "job_schedule", (NO_TIME, 10_000, NO_TIME, True)),
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
    sql = load_statements(PACKAGE, file)[name].sql(None)
    await assert_indexed(full, sql, arguments)
    assert await rows_fetched(full, sql, arguments) < 10_000


async def test_the_scheduler_keeps_to_its_index_where_the_whole_table_is_cheap_to_read(
    full: asyncpg.Connection,
) -> None:
    """Most jobs were due long ago, but hardly any of those that wait for their time."""
    sql = load_statements(PACKAGE, "maintenance.sql")["job_schedule"].sql(None)
    await full.execute("SET random_page_cost = 20")
    try:
        for takes_keys in (None, True):
            await assert_indexed(full, sql, (NO_TIME, 10_000, NO_TIME, takes_keys))
    finally:
        await full.execute("RESET random_page_cost")


@pytest.mark.parametrize("age", [timedelta(days=1), timedelta(hours=10)])
async def test_the_cleaner_reads_what_it_deletes(full: asyncpg.Connection, age: timedelta) -> None:
    """And not the jobs in front of them, which may be kept for ever."""
    sql = load_statements(PACKAGE, "maintenance.sql")["job_delete_before"].sql(None)
    assert await rows_fetched(full, sql, (None, age, age, 1_000)) < 10_000


async def test_a_claim_of_a_periodic_slot_reads_few_rows_however_often(
    full: asyncpg.Connection,
) -> None:
    for _ in range(SETTLED):
        transaction = full.transaction()
        await transaction.start()
        before = await full.fetchval(_READ)
        assert await periodic_slot_claim(
            full, schema=None, job_id="tick", slot=NOW, slot_key="slot"
        )
        read = await full.fetchval(_READ) - before
        await transaction.rollback()
    assert read < 100


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
        JobListParams(states=[JobState.RUNNING], limit=1_000),
        JobListParams(states=[JobState.CANCELLED]),
        JobListParams(kinds=["none"]),
        JobListParams(states=[JobState.AVAILABLE], kinds=["none"], order_by=JobListOrderBy.TIME),
    ],
)
async def test_no_list_reads_the_whole_table(
    full: asyncpg.Connection, params: JobListParams
) -> None:
    sql, arguments = job_list_query(None, params)
    await assert_indexed(full, sql, arguments)
    assert await rows_fetched(full, sql, arguments) < 5_000


@pytest.mark.parametrize("direction", SortOrder)
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    "filters",
    [
        {"order_by": JobListOrderBy.SCHEDULED_AT},
        {"order_by": JobListOrderBy.TIME},
        {"order_by": JobListOrderBy.SCHEDULED_AT, "states": [JobState.COMPLETED]},
        {"order_by": JobListOrderBy.TIME, "states": [JobState.AVAILABLE]},
        {"order_by": JobListOrderBy.TIME, "states": [JobState.SCHEDULED, JobState.RETRYABLE]},
        {
            "order_by": JobListOrderBy.TIME,
            "states": [JobState.AVAILABLE],
            "queues": ["queue1", "queue2"],
        },
    ],
)
async def test_a_page_by_the_time_jobs_are_due_reads_a_page_of_each_queue_and_priority(
    full: asyncpg.Connection, direction: SortOrder, is_first: bool, filters: dict[str, Any]
) -> None:
    half = replace(CURSOR, time=NOW - APART * ROWS / 2)
    params = JobListParams(direction=direction, after=None if is_first else half, **filters)
    scans = await scans_of(full, *job_list_query(None, params))
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}, scans
    states = len(params.states or JobState)
    queues = len(params.queues or range(7))
    assert rows_read(scans) <= states * queues * (4 * params.limit + 2) + params.limit, scans


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
    half = replace(CURSOR, time=NOW - APART * ROWS / 2)
    params = JobListParams(
        states=states,
        order_by=JobListOrderBy.FINALIZED_AT,
        direction=direction,
        after=None if is_first else half,
    ).where(condition)
    scans = await scans_of(full, *job_list_query(None, params))
    indexes = {node.get("Index Name") for node in scans}
    assert "river_job_state_and_finalized_at_index" in indexes, scans
    assert indexes <= {"river_job_state_and_finalized_at_index", "river_job_pkey"}, scans
    assert rows_read(scans) < 1_000, scans


@pytest.mark.parametrize("is_vacuumed", [True, False])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("job_kind_list", ("", "", [], 100)),
        ("job_count_by_state_at_most", (1_000,)),
        ("job_count_by_queue_and_state", (["queue0", "queue3"], 1_000)),
        ("queue_stats", (None, 1_000)),
        ("queue_stats", (["queue0", "queue3"], 1_000)),
    ],
)
async def test_kinds_and_capped_counts_read_few_rows(
    full: asyncpg.Connection, name: str, arguments: tuple[object, ...], is_vacuumed: bool
) -> None:
    """Also where vacuum has not been for long, and an index alone does not tell what is alive."""
    sql = load_statements(PACKAGE, "job_count.sql")[name].sql(None)
    transaction = full.transaction()
    await transaction.start()
    try:
        if not is_vacuumed:
            await full.execute(
                "UPDATE pg_class SET relallvisible = 0 WHERE oid = 'river_job'::regclass"
            )
        scans = await scans_of(full, sql, arguments)
    finally:
        await transaction.rollback()
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}, scans
    assert 0 < rows_read(scans) < 25_000, scans


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("job_count_by_queue_and_state", (["queue0", "queue3"], None)), ("queue_stats", (None, None))],
)
async def test_counts_of_queues_read_the_jobs_counted(
    full: asyncpg.Connection, name: str, arguments: tuple[object, ...]
) -> None:
    sql = load_statements(PACKAGE, "job_count.sql")[name].sql(None)
    await assert_indexed(full, sql, arguments)


async def test_an_old_snapshot_changes_no_plan(full: asyncpg.Connection, server_url: str) -> None:
    """Dead rows that vacuum may not take away lie in the way, and nothing else is read."""
    database = await full.fetchval("SELECT current_database()")
    holder = await asyncpg.connect(with_database(server_url, database))
    try:
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM river_queue")
        worked = await full.fetch(
            "UPDATE river_job SET state = 'running' WHERE id = ANY (ARRAY("
            " SELECT id FROM river_job WHERE state = 'available' AND queue = 'queue1'"
            " ORDER BY priority, scheduled_at LIMIT 5000)) RETURNING id"
        )
        await full.execute(
            "UPDATE river_job SET state = 'completed', finalized_at = now() - id * interval '1 us'"
            " WHERE id = ANY ($1)",
            [row["id"] for row in worked],
        )
        await full.execute("VACUUM ANALYZE river_job")
        for file, name, arguments in (
            ("job_fetch.sql", "job_get_available", ("queue1", None, 100, "me")),
            ("maintenance.sql", "job_schedule", (NO_TIME, 10_000, NO_TIME, None)),
            ("maintenance.sql", "job_schedule", (NO_TIME, 10_000, NO_TIME, True)),
            ("maintenance.sql", "job_delete_before", (timedelta(days=1),) * 3 + (10_000,)),
            ("maintenance.sql", "job_get_stuck", (NOW, 0, 10_000)),
            ("job_count.sql", "job_count_by_state_at_most", (1_000,)),
            ("job_count.sql", "queue_stats", (None, 1_000)),
        ):
            sql = load_statements(PACKAGE, file)[name].sql(None)
            await assert_indexed(full, sql, arguments)
            assert await rows_fetched(full, sql, arguments) < 25_000, name
    finally:
        await holder.close()
        await full.execute("VACUUM ANALYZE river_job")


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


async def scans_of(
    full: asyncpg.Connection, sql: str, arguments: Sequence[object]
) -> Sequence[dict[str, Any]]:
    """The scans of the jobs when the statement ran."""
    text = await full.fetchval(f"EXPLAIN (FORMAT json, ANALYZE) {sql}", *arguments)
    found = nodes(json.loads(text)[0]["Plan"])
    return [node for node in found if node.get("Relation Name") == "river_job"]


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


SETTLED = 7
"""After five executions PostgreSQL may take one plan for all values, for as long as the session."""

_READ = """
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'river_job'
"""


async def rows_fetched(full: asyncpg.Connection, sql: str, arguments: Sequence[object]) -> int:
    """Rows of the table read by the statement when it has run often on its connection."""
    read = 0
    for _ in range(SETTLED):
        transaction = full.transaction()
        await transaction.start()
        try:
            before = await full.fetchval(_READ)
            await full.fetch(sql, *arguments)
            read = await full.fetchval(_READ) - before
        finally:
            await transaction.rollback()
    return read
