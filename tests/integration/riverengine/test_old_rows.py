"""Rows written before an upgrade, by Go River or by us, are worked on after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from riverengine import Client, JobState
from riverengine.run.heartbeat import HeartbeatState
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.schema import ENGINE_LINE, Migrator
from tests.integration.riverengine.test_heartbeat import OPTIONS, QUICK
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    started,
    wait_for_state,
    wait_for_yes,
    wait_until,
)

NOW = {"maintenance_timings": MaintenanceTimings(stagger=timedelta(0))}

OLD_ROWS = """
    INSERT INTO river_job (
        kind, args, metadata, state, attempt, max_attempts, attempted_at, attempted_by,
        scheduled_at, errors, unique_key, tags
    )
    SELECT
        'note', jsonb_build_object('text', text), metadata::jsonb, state::river_job_state, attempt,
        25, now() - attempted_ago, attempted_by, now() - interval '3 h', errors::jsonb[],
        CASE WHEN text = 'available' THEN 'of version 5'::bytea END, ARRAY['old']
    FROM (
        VALUES
            ('available', 'available', '{"unique_key": "of version 4"}', 0, NULL, NULL, NULL),
            ('scheduled', 'scheduled', '{}', 0, NULL, NULL, NULL),
            (
                'failed', 'retryable', '{"snoozes": 2}', 1, '2 h', ARRAY['go_2024'],
                ARRAY['{"at": "2024-01-01T00:00:00Z", "attempt": 1, "error": "no", "trace": ""}']
            ),
            ('pending', 'pending', '{}', 0, NULL, NULL, NULL),
            ('orphan of Go', 'running', '{}', 1, '2 h', ARRAY['go_2024'], NULL),
            ('orphan of ours', 'running', '{"output": {"a": 1}}', 2, '1 min',
                ARRAY['go_2024', 'worker-1'], NULL),
            ('without a claimant', 'running', '{}', 1, '2 h', NULL, NULL),
            ('of a living Go', 'running', '{}', 1, '1 min', ARRAY['go_2026'], NULL)
    ) AS old (text, state, metadata, attempt, ago, attempted_by, errors)
    CROSS JOIN LATERAL (SELECT old.ago::interval AS attempted_ago) AS since
"""


@pytest.fixture
async def old(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a database without any table."""
    async with asyncpg.create_pool(empty_database, min_size=1, max_size=10) as pool:
        yield pool


async def _upgrade(pool: asyncpg.Pool, version: int | None = None, *, ours: bool = True) -> None:
    async with pool.acquire() as connection:
        await Migrator(connection).migrate_up(target_version=version)
        if ours:
            await Migrator(connection, line=ENGINE_LINE).migrate_up()


@pytest.mark.parametrize("version", [5, 6, 7])
async def test_jobs_of_an_older_version_are_resumed(old: asyncpg.Pool, version: int) -> None:
    """Oban's upgrade left its executing jobs as orphans."""
    await _upgrade(old, version, ours=False)
    await old.execute(OLD_ROWS)
    await _upgrade(old)
    worker = NoteWorker()
    async with started(old, worker, id="worker-1", client_options=NOW):
        await wait_for_yes(
            old,
            "SELECT count(*) = 6 FROM river_job WHERE state = 'completed'",
            seconds=60,
        )
    rows = await old.fetch(
        "SELECT args ->> 'text' AS text, state, attempt, cardinality(errors) AS errors"
        " FROM river_job ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        ("available", "completed", 1, None),
        ("scheduled", "completed", 1, None),
        ("failed", "completed", 2, 1),
        ("pending", "pending", 0, None),
        ("orphan of Go", "completed", 2, 1),
        ("orphan of ours", "completed", 3, 1),
        ("without a claimant", "completed", 2, 1),
        ("of a living Go", "running", 1, None),
    ]
    assert len(worker.ran) == 6
    kept = await old.fetch("SELECT metadata::text FROM river_job WHERE metadata ?| $1", ["snoozes"])
    assert [row["metadata"] for row in kept] == ['{"snoozes": 2}']


async def test_a_job_under_way_outlives_the_upgrade(old: asyncpg.Pool) -> None:
    """Its client, which began without our table, is not taken for dead by one that found it."""
    gate = Gate()
    await _upgrade(old, 7, ours=False)
    async with started(old, NoteWorker(gate), client_options=OPTIONS) as client:
        before = (await client.insert(NoteArgs())).job
        await gate.next()
        assert client.health.heartbeats.value == HeartbeatState.OFF.value
        await _upgrade(old)
        # Another process, as new as the tables, starts beside it.
        async with started(old, NoteWorker(gate), client_options=OPTIONS | NOW) as newer:
            assert newer._presence is not None
            assert newer._presence.rescuer is not None
            looks = newer._presence.rescuer.signal_ran
            looks.arm()
            for _ in range(2 * round(QUICK.dead_after / QUICK.look_interval)):
                assert await looks.wait(20) == 0
            await wait_until(lambda: client.health.heartbeats is HeartbeatState.BEATING)
            after = (await Client(old).insert(NoteArgs())).job
            await gate.next()
            gate.opened.set()
            for job in (before, after):
                ended = await wait_for_state(old, job.id, JobState.COMPLETED)
                assert (ended.attempt, ended.errors) == (1, ())
