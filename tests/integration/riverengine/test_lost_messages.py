"""A message that never arrives costs a later look; a race lost in PostgreSQL costs a retry."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from riverengine import Client, InsertOpts, Job, JobSnooze, JobState
from riverengine.run import queue_watch
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    started,
    wait_for_state,
    wait_for_yes,
    wait_until,
)

SLACK = 10.0
"""Seconds by which a busy machine may be late."""


@pytest.mark.parametrize("poll_only", [False, True])
async def test_a_lost_insert_notification_costs_the_poll_interval(
    pool: asyncpg.Pool, poll_only: bool
) -> None:
    gate = Gate()
    poll = timedelta(seconds=1)
    async with started(pool, NoteWorker(gate), poll=poll, poll_only=poll_only):
        for _ in range(3):
            began = time.monotonic()
            await pool.execute("INSERT INTO river_job (kind, args) VALUES ('note', '{}')")
            await gate.next()
            assert time.monotonic() - began < 1.1 * poll.total_seconds() + SLACK
        gate.opened.set()


async def test_lost_control_messages_cost_two_seconds_to_a_client_that_polls(
    pool: asyncpg.Pool,
) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), poll_only=True) as client:
        job = (await client.insert(NoteArgs())).job
        await gate.next()
        began = time.monotonic()
        await pool.execute(
            "UPDATE river_job SET metadata = metadata ||"
            ' \'{"cancel_attempted_at": "2026-01-01T00:00:00Z"}\''
        )
        await pool.execute("UPDATE river_queue SET paused_at = now()")
        await wait_for_state(pool, job.id, JobState.CANCELLED)
        await wait_until(lambda: client.producers["default"].is_paused)
        assert time.monotonic() - began < 2 + SLACK


def test_lost_control_messages_cost_a_minute_to_a_client_that_listens() -> None:
    assert timedelta(seconds=60) >= queue_watch._RECHECK_LISTENING


async def test_a_listener_that_dies_a_hundred_times_listens_on(pool: asyncpg.Pool) -> None:
    """Its connection, and its very task: a producer that polls rarely still starts at once."""
    gate = Gate()
    gate.opened.set()
    poll = timedelta(seconds=60)
    async with started(pool, NoteWorker(gate), poll=poll) as client:
        notifier = client._notifier
        assert notifier is not None
        notifier._retry_scale = 0.001
        notifier.signal_listening.arm()
        for round_ in range(100):
            if round_ % 2:
                assert notifier._connection is not None
                notifier._connection.terminate()
            else:
                await notifier.stop()
                await notifier.start()
            await notifier.signal_listening.wait(20)
        await client.insert(NoteArgs())
        await gate.next()
        # A session whose connection was cut ends when it notices, a moment later.
        await wait_for_yes(
            pool,
            "SELECT count(*) < 30 FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend'",
        )


class OnceFailing(asyncpg.Connection):  # type: ignore[misc]
    """Once armed, every statement fails once, as one that lost against another transaction does."""

    armed: ClassVar[bool] = False
    failed: ClassVar[set[str]] = set()
    error: ClassVar[type[asyncpg.PostgresError]] = asyncpg.SerializationError

    def _fail_once(self, query: str) -> None:
        first = query.split("\n")[0]
        if OnceFailing.armed and first not in OnceFailing.failed:
            OnceFailing.failed.add(first)
            raise OnceFailing.error("told to fail once")

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        self._fail_once(query)
        return await super().fetch(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        self._fail_once(query)
        return await super().fetchval(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        self._fail_once(query)
        return await super().fetchrow(query, *args, **options)


@pytest.fixture
async def failing(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool whose statements fail once each from the moment it is armed."""
    OnceFailing.failed.clear()
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=10, connection_class=OnceFailing
    ) as pool:
        yield pool
    OnceFailing.armed = False


@pytest.mark.parametrize(
    "error", [asyncpg.SerializationError, asyncpg.DeadlockDetectedError], ids=["40001", "40P01"]
)
async def test_every_statement_survives_a_lost_race(
    failing: asyncpg.Pool, pool: asyncpg.Pool, error: type[asyncpg.PostgresError]
) -> None:
    async def work(job: Job[NoteArgs]) -> None:
        if job.args.text == "snooze" and "snoozes" not in job.row.metadata:
            raise JobSnooze(timedelta(milliseconds=10))
        if job.args.text == "fail" and job.row.attempt == 1:
            raise RuntimeError("told to fail")

    options = {"maintenance_timings": MaintenanceTimings(stagger=timedelta(0))}
    async with started(failing, NoteWorker(work), client_options=options) as client:
        # The statements of a start are the caller's to repeat; the client's own are not.
        OnceFailing.error = error
        OnceFailing.armed = True
        inserts = Client(pool)
        await inserts.insert_many([NoteArgs(text=text) for text in ("plain", "snooze", "fail")])
        await inserts.insert(NoteArgs(), InsertOpts(scheduled_at=client.clock.now()))
        await wait_for_yes(
            pool, "SELECT count(*) = 4 FROM river_job WHERE state = 'completed'", seconds=60
        )
        await client.stop(timeout=timedelta(seconds=30))
    assert len(OnceFailing.failed) >= 5, OnceFailing.failed
    assert await pool.fetchval("SELECT count(*) FROM river_job WHERE state <> 'completed'") == 0
