"""Killed, frozen and poisoned processes: their jobs run again in time, and only once more."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from riverengine import Client, InsertOpts, JobRow, JobState
from riverengine.queries.job_row import job_row_from_record
from tests.fault.dying_worker import DeadlyArgs
from tests.sessions import within

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

AGAIN_WITHIN = 60.0


@asynccontextmanager
async def process(
    url: str, client_id: str = "", *, poll_only: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process, once it works."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fault.dying_worker", url, client_id),
        "poll_only" if poll_only else "listen",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert started.stdout is not None
        async with asyncio.timeout(60):
            await started.stdout.readline()
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def in_state(pool: asyncpg.Pool, job_id: int, *states: JobState) -> JobRow:
    """The job once it is in one of the states, within two minutes."""
    async with within(120, pool):
        while True:
            record = await pool.fetchrow("SELECT * FROM river_job WHERE id = $1", job_id)
            row = job_row_from_record(record)
            if row.state in states:
                return row
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["killed", "killed, row deleted", "frozen", "killed, poll-only"])
async def test_jobs_of_a_dead_process_run_again_within_a_minute(
    database_url: str, pool: asyncpg.Pool, how: str
) -> None:
    client = Client(pool)
    poll_only = how == "killed, poll-only"
    async with process(database_url, poll_only=poll_only) as first:
        jobs = [(await client.insert(DeadlyArgs("hang"))).job.id for _ in range(3)]
        for job_id in jobs:
            await in_state(pool, job_id, JobState.RUNNING)
        async with process(database_url, poll_only=poll_only):
            began = time.monotonic()
            first.send_signal(signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
            if how == "killed, row deleted":
                await first.wait()
                await pool.execute("DELETE FROM riverengine_client")
            for job_id in jobs:
                row = await in_state(pool, job_id, JobState.COMPLETED)
                assert row.attempt == 2
                assert row.metadata["riverengine:deaths"] == 1
            assert time.monotonic() - began < AGAIN_WITHIN
            if how == "frozen":
                # What wakes up finds its jobs done by others: it changes nothing.
                first.send_signal(signal.SIGCONT)
                done = (await client.insert(DeadlyArgs())).job.id
                await in_state(pool, done, JobState.COMPLETED)
                await asyncio.sleep(2)
                for job_id in jobs:
                    assert (await in_state(pool, job_id, JobState.COMPLETED)).attempt == 2


async def test_a_job_that_kills_its_process_is_set_aside_at_the_third_death(
    database_url: str, pool: asyncpg.Pool
) -> None:
    client = Client(pool)
    poison = (await client.insert(DeadlyArgs("kill"), InsertOpts(max_attempts=25))).job.id
    for _ in range(3):
        async with process(database_url, "worker-1") as worker:
            # From the second death on the job starts apart from others, within ten seconds.
            async with asyncio.timeout(60):
                await worker.wait()
    async with process(database_url, "worker-1"):
        row = await in_state(pool, poison, JobState.DISCARDED)
        innocent = (await client.insert(DeadlyArgs())).job.id
        await in_state(pool, innocent, JobState.COMPLETED)
    assert (row.attempt, row.metadata["riverengine:deaths"]) == (3, 3)
    assert row.errors[-1].error == "Job set aside: its client's process died 3 times while it ran"
