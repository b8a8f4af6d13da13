"""Jobs that ignore their timeout: who hears of them, and what becomes of their place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from riverengine import (
    Client,
    EventKind,
    InsertOpts,
    Job,
    JobStuckDump,
    JobStuckHandler,
    JobStuckHandlerParams,
    JobStuckHandlerResult,
    QueueConfig,
    Worker,
    dump_process,
)
from riverengine.run import service
from riverengine.run.queue_watch import QueueWatch
from tests.integration.riverengine.working import NoteArgs, ended, started, wait_until

SOON = timedelta(milliseconds=10)
ADD_SLOT = JobStuckHandlerResult(add_worker_slot=True)


class Stubborn(Worker[NoteArgs]):
    """Jobs named stuck ignore their timeout until they are released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.ran: list[str] = []

    async def work(self, job: Job[NoteArgs]) -> None:
        self.ran.append(job.args.text)
        while job.args.text == "stuck" and not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue

    def timeout(self, job: Job[NoteArgs]) -> timedelta:
        return SOON


@asynccontextmanager
async def stuck_in(
    pool: asyncpg.Pool, worker: Stubborn, handler: JobStuckHandler | None
) -> AsyncIterator[Client]:
    """A client with one slot, which a job holds beyond its timeout; released at the end."""
    async with started(
        pool,
        worker,
        queues={"default": QueueConfig(max_workers=1), "other": QueueConfig(max_workers=1)},
        job_stuck_threshold=SOON,
        job_stuck_handler=handler,
    ) as client:
        await client.insert(NoteArgs(text="stuck"))
        await wait_until(lambda: client.stuck_jobs == 1)
        try:
            yield client
        finally:
            worker.release.set()
        await wait_until(lambda: client.stuck_jobs == 0)


async def test_a_stuck_job_keeps_its_slot_unless_somebody_says_otherwise(
    pool: asyncpg.Pool,
) -> None:
    worker = Stubborn()
    heard: list[JobStuckHandlerParams] = []

    def handler(params: JobStuckHandlerParams) -> None:
        heard.append(params)

    async with stuck_in(pool, worker, handler) as client, client.subscribe() as events:
        await client.insert(NoteArgs(text="next"))
        await client.insert(NoteArgs(text="elsewhere"), InsertOpts(queue="other"))
        await ended(events)
        assert (client.running, worker.ran) == (1, ["stuck", "elsewhere"])
        worker.release.set()
        assert {event.kind for event in await ended(events, 2)} == {EventKind.JOB_COMPLETED}
    assert worker.ran == ["stuck", "elsewhere", "next"]
    assert [(each.kind, each.queue, each.total_stuck_jobs) for each in heard] == [
        ("note", "default", 1)
    ]


async def _async_add_slot(params: JobStuckHandlerParams) -> JobStuckHandlerResult:
    await asyncio.sleep(0)
    return ADD_SLOT


@pytest.mark.parametrize("handler", [lambda params: ADD_SLOT, _async_add_slot])
async def test_a_handler_lets_another_job_take_the_place(
    pool: asyncpg.Pool, handler: JobStuckHandler
) -> None:
    worker = Stubborn()
    async with stuck_in(pool, worker, handler) as client, client.subscribe() as events:
        for _ in range(2):
            await client.insert(NoteArgs(text="next"))
            await ended(events)
        # One at a time beside the stuck one, and the slot is taken back when it ends.
        assert worker.ran == ["stuck", "next", "next"]
        assert client.running == 1
        worker.release.set()
        await ended(events)
        assert (client.running, client.stuck_jobs) == (0, 0)


async def test_a_producer_that_crashed_asks_about_stuck_jobs_again(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed: list[str] = []
    heartbeat_loop = QueueWatch.heartbeat_loop

    async def crash_once(watch: QueueWatch) -> None:
        if watch._queue not in crashed:
            crashed.append(watch._queue)
            raise RuntimeError("told to crash")
        await heartbeat_loop(watch)

    monkeypatch.setattr(QueueWatch, "heartbeat_loop", crash_once)
    monkeypatch.setattr(service, "backoff", lambda _: timedelta(0))
    worker = Stubborn()
    async with stuck_in(pool, worker, lambda _: ADD_SLOT) as client, client.subscribe() as events:
        await client.insert(NoteArgs(text="next"))
        await ended(events)
        assert worker.ran == ["stuck", "next"]
        worker.release.set()
        await ended(events)
    assert sorted(crashed) == ["default", "other"]


async def _fail(params: JobStuckHandlerParams) -> JobStuckHandlerResult:
    raise ValueError("of the handler")


def _fail_at_once(params: JobStuckHandlerParams) -> JobStuckHandlerResult:
    raise ValueError("of the handler")


@pytest.mark.parametrize("handler", [_fail, _fail_at_once])
async def test_a_handler_that_fails_is_logged(
    pool: asyncpg.Pool, handler: JobStuckHandler, caplog: pytest.LogCaptureFixture
) -> None:
    async with stuck_in(pool, Stubborn(), handler) as client:
        await wait_until(lambda: any("handler failed" in text for text in caplog.messages))
        assert client.stuck_jobs == 1


async def test_a_handler_still_asked_is_broken_off_by_the_stop(pool: asyncpg.Pool) -> None:
    async def hang(params: JobStuckHandlerParams) -> None:
        await asyncio.Event().wait()

    async with stuck_in(pool, Stubborn(), hang):
        pass
    # No task is left: every test is checked for that.


async def test_a_thread_that_is_stuck_can_be_given_company(pool: asyncpg.Pool) -> None:
    release = threading.Event()
    ran: list[str] = []

    class Threaded(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            ran.append(job.args.text)
            if job.args.text == "stuck":
                release.wait(30)

        def timeout(self, job: Job[NoteArgs]) -> timedelta:
            return SOON

    async with (
        started(
            pool,
            Threaded(),
            queues={"default": QueueConfig(max_workers=1)},
            job_stuck_threshold=SOON,
            job_stuck_handler=lambda params: ADD_SLOT,
        ) as client,
        client.subscribe() as events,
    ):
        await client.insert_many([NoteArgs(text="stuck"), NoteArgs(text="next")])
        await ended(events)
        assert ran == ["stuck", "next"]
        release.set()
        await ended(events)


async def test_the_dump_shows_where_tasks_and_threads_are(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    entered, release = threading.Event(), threading.Event()

    def wait_in_a_thread() -> None:
        entered.set()
        release.wait(30)

    thread = threading.Thread(target=wait_in_a_thread, name="tests-waiting")
    thread.start()
    try:
        assert entered.wait(10)
        worker = Stubborn()
        sticking = stuck_in(pool, worker, JobStuckDump(add_worker_slot=True))
        async with sticking as client, client.subscribe() as events:
            await client.insert(NoteArgs(text="next"))
            await ended(events)
    finally:
        release.set()
        thread.join()
    (dump,) = [text for text in caplog.messages if "is stuck (1 in this client)" in text]
    job = dump[dump.index("task riverengine:job:note") :]
    job = job[: job.index("\ntask ") if "\ntask " in job else job.index("\nthread ")]
    # From the engine's code through the worker's down to what it waits for.
    assert job.index("in execute") < job.index("in work\n") < job.index("in wait\n")
    assert "await self.release.wait()" in job
    waiting = dump[dump.index("thread tests-waiting") :]
    assert "in wait_in_a_thread" in waiting


async def test_a_dump_of_a_quiet_process_names_this_task(pool: asyncpg.Pool) -> None:
    assert "test_a_dump_of_a_quiet_process_names_this_task" in dump_process()
    assert "thread MainThread" in dump_process()
