"""What Go River makes of jobs that a slow Python attempt holds, and of kinds one side knows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from riverengine import (
    Client,
    Completed,
    Job,
    JobNotRunningError,
    JobState,
    Outcome,
    QueueConfig,
    Snoozed,
    Worker,
)
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    started,
    stored,
    wait_for_yes,
    wait_until,
)
from tests.interop.peer import InteropArgs, InteropWorker, Peer, wait_for

pytestmark = pytest.mark.interop


class HeldWorker(Worker[InteropArgs]):
    """Ends its attempt when the test says so, in the way the test says."""

    def __init__(self, ending: str) -> None:
        self.ending = ending
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.client: Client | None = None

    async def work(self, job: Job[InteropArgs]) -> None:
        self.entered.set()
        await self.opened.wait()
        if self.ending == "raises":
            self.ended.put_nowait("raises")
            raise RuntimeError("late")
        if self.ending.startswith("finishes"):
            await self._finish(job, Completed() if "completed" in self.ending else _LATER)
        self.ended.put_nowait("returns")

    async def _finish(self, job: Job[InteropArgs], outcome: Outcome) -> None:
        assert self.client is not None
        async with self.client.transaction() as tx:
            try:
                await self.client.job_finish_tx(tx, job, outcome)
            except JobNotRunningError:
                self.ended.put_nowait("refused")
                raise


_LATER = Snoozed(timedelta(hours=1))


@pytest.mark.parametrize("ending", ["returns", "raises", "finishes completed", "finishes snoozed"])
async def test_a_late_python_attempt_leaves_go_s_newer_one_alone(
    go: Peer, pool: asyncpg.Pool, ending: str
) -> None:
    worker = HeldWorker(ending)
    # One place, and that is taken: the job's next attempt is Go's.
    queues = {"default": QueueConfig(max_workers=1)}
    async with started(pool, worker, queues=queues) as python:
        worker.client = python
        inserted = await go.call("insert", args={"behavior": "wait", "text": "", "number": 0})
        job_id = inserted["job"]["id"]
        async with asyncio.timeout(20):
            await worker.entered.wait()
        await pool.execute("UPDATE river_job SET state = 'available', scheduled_at = now()")
        peer = await go.call("start", queue="default", workers=1)
        await wait_for_yes(
            pool,
            "SELECT attempted_by[array_upper(attempted_by, 1)] = $2 FROM river_job WHERE id = $1",
            *(job_id, peer["id"]),
        )
        before = await stored(pool, job_id)
        assert (before.state, before.attempt) == (JobState.RUNNING, 2)
        assert python._completer is not None
        written = python._completer.signal_written
        written.arm()
        worker.opened.set()
        async with asyncio.timeout(20):
            told = await worker.ended.get()
        assert told == ("refused" if ending.startswith("finishes") else ending)
        await written.wait()
        assert await stored(pool, job_id) == before
        await go.call("job_cancel", id=job_id)
        row = await wait_for(pool, job_id, JobState.CANCELLED)
        assert row.attempted_by[-1] == peer["id"]
        await go.call("stop")


@dataclass(frozen=True)
class OtherArgs:
    """Args of a kind that only one of the clients knows."""

    kind: ClassVar[str] = "other"


class OtherWorker(Worker[OtherArgs]):
    """Knows nothing else."""

    async def work(self, job: Job[OtherArgs]) -> None:
        raise AssertionError("nothing is fetched here")


@pytest.mark.parametrize(
    "worker", [NoteWorker(), OtherWorker(), InteropWorker()], ids=["note", "other", "interop"]
)
async def test_no_python_leader_discards_jobs_of_kinds_it_does_not_know(
    go: Peer, pool: asyncpg.Pool, worker: Worker[Any]
) -> None:
    inserts = Client(pool)
    await inserts.insert_many([NoteArgs(), OtherArgs()])
    await go.call("insert", args={"behavior": "", "text": "", "number": 0})
    await pool.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now() - interval"
        " '2 hours', attempted_by = array['gone']"
    )
    options = {"maintenance_timings": MaintenanceTimings(stagger=timedelta(0))}
    queues = {"elsewhere": QueueConfig(max_workers=1)}
    async with started(pool, worker, queues=queues, client_options=options) as leader:
        await wait_until(lambda: leader.is_leader)
        await wait_for_yes(pool, "SELECT count(*) = 0 FROM river_job WHERE state = 'running'")
    rows = await pool.fetch("SELECT kind, state FROM river_job ORDER BY kind")
    # The scheduler makes available at once what is due within its interval.
    assert [row["kind"] for row in rows] == ["interop", "note", "other"]
    assert {row["state"] for row in rows} <= {"retryable", "available"}
