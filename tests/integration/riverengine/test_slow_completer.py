"""Outcomes that take longer to reach PostgreSQL than a statement may: none is lost or doubled."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import asyncpg
import pytest

from riverengine import EventKind, Job, JobState, QueueConfig
from riverengine.run import completer as completer_module
from riverengine.run.bounded_pool import BoundedPool
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    started,
    stored,
    wait_for_yes,
)
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.timeout(600)

SCALE = float(os.environ.get("RIVERJOBS_LATENCY_SCALE", "0.04"))
"""Of the completer's ten seconds; 1 takes two minutes."""

LIMIT = 10 * SCALE
LATENCY = 11 * SCALE
"""Longer than the completer waits, shorter than it lets the server confirm that it gave up."""
JOBS = 10
TRIES = 2


@pytest.mark.parametrize("failures", [0, 1])
async def test_outcomes_that_arrive_after_they_were_given_up_count_once(
    database_url: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(completer_module, "_TIMEOUT", LIMIT)
    gate = Gate()

    async def work(job: Job[NoteArgs]) -> None:
        if job.args.text != "warm-up":
            await gate(job)
        if job.row.attempt <= failures:
            raise RuntimeError("not yet")

    worker = NoteWorker(work)
    async with (
        TcpProxy(database_url) as proxy,
        asyncpg.create_pool(proxy.url, min_size=1, max_size=1) as behind,
        started(pool, worker, queues={"default": QueueConfig(max_workers=JOBS)}) as client,
        client.subscribe(EventKind.JOB_COMPLETED) as events,
    ):
        completer = client._completer
        assert completer is not None
        completer._pool = BoundedPool(behind)
        completer._retry_scale = SCALE
        # Its one connection knows the statements: what is late is the outcome itself.
        await client.insert(NoteArgs(text="warm-up"))
        await events.next(timeout=30)
        jobs = [row.job for row in await client.insert_many([NoteArgs()] * JOBS)]
        for _ in jobs:
            await gate.next()

        proxy.delay = LATENCY
        gate.opened.set()
        await wait_for_yes(
            pool,
            "SELECT EXISTS (SELECT FROM river_job WHERE id = ANY ($1) AND state <> 'running')",
            [job.id for job in jobs],
            seconds=60 + 60 * SCALE,
        )
        assert completer.pending > 0
        async with asyncio.timeout(60 + 120 * SCALE):
            while completer.errors < TRIES:  # noqa: ASYNC110 - counters have no events
                await asyncio.sleep(0.02)

        proxy.delay = 0
        seen = [await events.next(timeout=30) for _ in jobs]
        await completer.drain()
        assert completer.refused == set()
    assert sorted(event.job.id for event in seen if event.job) == [job.id for job in jobs]
    ran = Counter(job.row.id for job in worker.ran)
    for job in jobs:
        row = await stored(pool, job.id)
        assert (row.state, row.attempt) == (JobState.COMPLETED, failures + 1)
        assert (ran[job.id], len(row.errors)) == (failures + 1, failures)
