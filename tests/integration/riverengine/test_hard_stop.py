"""Jobs that ignore their cancellation: waited for, or abandoned if the client is told so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from riverengine import (
    Client,
    Completed,
    Config,
    ConfigError,
    EventKind,
    InsertOpts,
    Job,
    JobNotRunningError,
    JobState,
    StopTimeoutError,
    Worker,
    client_from_context,
    record_output,
)
from riverengine.run import producer
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_for_state,
    wait_until,
)

SHORT = timedelta(milliseconds=100)


class Stubborn(NoteWorker):
    """Works on, whatever cancels it, until the test lets it end; then does one thing more."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.left = asyncio.Event()
        self.refused: Exception | None = None

    async def work(self, job: Job[NoteArgs]) -> None:
        self.entered.set()
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        try:
            record_output("too late")
            client = client_from_context()
            async with client.transaction() as tx:
                await client.job_finish_tx(tx, job, Completed())
        except JobNotRunningError as error:
            self.refused = error
            raise
        finally:
            self.left.set()


@asynccontextmanager
async def stubborn_job(
    pool: asyncpg.Pool, **config: Any
) -> AsyncIterator[tuple[Client, Stubborn, int]]:
    """A client at work on a job that ignores its cancellation, which ends with the block."""
    worker = Stubborn()
    async with started(pool, worker, stop=False, **config) as client:
        inserted = await client.insert(NoteArgs(), InsertOpts(max_attempts=3))
        await worker.entered.wait()
        try:
            yield client, worker, inserted.job.id
        finally:
            worker.released.set()
            await worker.left.wait()
            await client.stop(timeout=timedelta(seconds=10))
            await asyncio.sleep(0)


async def test_a_stop_waits_for_a_job_that_ignores_its_cancellation(pool: asyncpg.Pool) -> None:
    async with stubborn_job(pool) as (client, _worker, job_id):
        with pytest.raises(StopTimeoutError):
            await client.stop_and_cancel(timeout=3 * SHORT)
        assert (await stored(pool, job_id)).state is JobState.RUNNING
        assert client.running == 1


async def test_an_abandoned_job_is_given_back(pool: asyncpg.Pool) -> None:
    async with stubborn_job(pool, hard_stop_timeout=SHORT) as (client, _worker, job_id):
        async with client.subscribe() as events:
            await client.stop_and_cancel(timeout=timedelta(seconds=10))
            (event,) = await ended(events)
        row = await stored(pool, job_id)
        assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())
        assert event.kind is EventKind.JOB_INTERRUPTED
        assert not client.is_started
        assert client.running == 0


async def test_what_an_abandoned_job_still_does_to_itself_is_void(pool: asyncpg.Pool) -> None:
    async with stubborn_job(pool, hard_stop_timeout=SHORT) as (client, worker, job_id):
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
        second = NoteWorker()
        async with started(pool, second) as other:
            await wait_for_state(pool, job_id, JobState.COMPLETED)
        before = await stored(pool, job_id)
        worker.released.set()
        await worker.left.wait()
        assert isinstance(worker.refused, JobNotRunningError)
        assert await stored(pool, job_id) == before
        assert before.attempted_by == (client.id, other.id)
        assert before.attempt == 1
        assert before.output is None


async def test_a_client_that_abandoned_a_job_can_start_again(pool: asyncpg.Pool) -> None:
    async with stubborn_job(pool, hard_stop_timeout=SHORT) as (client, worker, job_id):
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
        worker.entered.clear()
        await client.start()
        await worker.entered.wait()
        assert (await stored(pool, job_id)).attempt == 1
        assert client.running == 1
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
        assert (await stored(pool, job_id)).attempt == 0


async def test_a_graceful_stop_abandons_after_both_timeouts(pool: asyncpg.Pool) -> None:
    timeouts = {"soft_stop_timeout": SHORT, "hard_stop_timeout": SHORT}
    async with stubborn_job(pool, **timeouts) as (client, _worker, job_id):
        await client.stop(timeout=timedelta(seconds=10))
        assert (await stored(pool, job_id)).state is JobState.AVAILABLE


async def test_an_abandoned_job_that_was_to_be_cancelled_ends_cancelled(
    pool: asyncpg.Pool,
) -> None:
    async with stubborn_job(pool, hard_stop_timeout=SHORT) as (client, _worker, job_id):
        await client.job_cancel(job_id)
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
        row = await stored(pool, job_id)
        assert (row.state, row.attempt) == (JobState.CANCELLED, 1)


async def test_jobs_that_obey_are_not_abandoned(pool: asyncpg.Pool) -> None:
    entered = asyncio.Event()

    async def tidy_up(_job: Job[NoteArgs]) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(SHORT.total_seconds())
            raise ValueError("a failure of its own") from None

    hard = timedelta(seconds=30)
    async with started(pool, NoteWorker(tidy_up), stop=False, hard_stop_timeout=hard) as client:
        job = (await client.insert(NoteArgs())).job
        await entered.wait()
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
    row = await stored(pool, job.id)
    assert (row.attempt, len(row.errors)) == (1, 1)


async def test_a_function_in_a_thread_is_abandoned_too(pool: asyncpg.Pool) -> None:
    entered, released = threading.Event(), threading.Event()

    class InThread(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            entered.set()
            released.wait()

    try:
        async with started(pool, InThread(), stop=False, hard_stop_timeout=SHORT) as client:
            job = (await client.insert(NoteArgs())).job
            await wait_until(entered.is_set)
            await client.stop_and_cancel(timeout=timedelta(seconds=10))
        assert (await stored(pool, job.id)).state is JobState.AVAILABLE
    finally:
        released.set()
        await wait_until(
            lambda: not [each for each in asyncio.all_tasks() if "job:" in each.get_name()]
        )
    assert (await stored(pool, job.id)).state is JobState.AVAILABLE


async def test_a_job_abandoned_before_it_began_never_begins(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "_STARTED_AT_ONCE", 1)
    clients: list[Client] = []

    async def abandon(job: Job[NoteArgs]) -> None:
        clients[0].producers["default"].stop_fetching()
        clients[0].producers["default"].abandon_all()

    await Client(pool).insert_many([NoteArgs() for _ in range(3)])
    worker = NoteWorker(abandon)
    async with started(pool, worker, stop=False, before_start=clients.append) as client:
        await wait_until(lambda: len(worker.ran) > 0)
        await client.stop(timeout=timedelta(seconds=10))
    assert len(worker.ran) == 1
    assert await pool.fetchval("SELECT count(*) FROM river_job WHERE state = 'available'") == 3


def test_a_negative_timeout_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        Config(hard_stop_timeout=timedelta(seconds=-1))
    assert raised.value.setting == "hard_stop_timeout"
