"""Workers of every form at work: functions, aliases, kinds that are somebody else's."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertOpts,
    Job,
    JobRow,
    JobState,
    NotInJobError,
    QueueConfig,
    UnknownJobKindError,
    WorkerMiddlewareFunc,
    Workers,
    WorkNext,
    client_from_context,
    client_from_context_or_none,
    run_on_loop,
    work_func,
)
from tests.integration.riverengine.working import (
    FAST,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
)


@dataclass(frozen=True)
class RenamedArgs:
    """Args of the tests' job under a newer name."""

    kind: ClassVar[str] = "memo"
    kind_aliases: ClassVar[tuple[str, ...]] = ("note",)
    text: str = ""


def _client(pool: asyncpg.Pool, workers: Workers) -> Client:
    config = Config(
        queues={"default": QueueConfig(max_workers=10)},
        fetch_poll_interval=FAST,
        fetch_cooldown=FAST,
    )
    return Client(pool, config, workers=workers)


async def test_functions_work_jobs_on_the_loop_and_in_threads(pool: asyncpg.Pool) -> None:
    workers = Workers()
    ran: list[tuple[str, str]] = []

    @workers.worker(NoteArgs)
    def note(job: Job[NoteArgs]) -> None:
        ran.append((job.args.text, threading.current_thread().name.split("_")[0]))

    @workers.worker(_Other)
    async def other(job: Job[_Other]) -> None:
        await asyncio.sleep(0)
        ran.append((job.row.kind, threading.current_thread().name))

    client = _client(pool, workers)
    await client.start()
    async with client.subscribe() as events:
        await client.insert_many([NoteArgs(text="a"), _Other()])
        assert {event.kind for event in await ended(events, 2)} == {EventKind.JOB_COMPLETED}
    await client.stop()
    assert sorted(ran) == [("a", "riverengine"), ("other", "MainThread")]


@dataclass(frozen=True)
class _Other:
    kind: ClassVar[str] = "other"


async def test_a_function_s_timeout_retry_and_middleware_are_its_own(pool: asyncpg.Pool) -> None:
    at = datetime(2100, 1, 1, tzinfo=UTC)
    around: list[str] = []

    @WorkerMiddlewareFunc
    async def middleware(job: JobRow, next_: WorkNext) -> None:
        around.append(job.kind)
        await next_()

    async def hang(job: Job[NoteArgs]) -> None:
        await asyncio.Event().wait()

    worker: Any = work_func(
        NoteArgs,
        hang,
        timeout=timedelta(milliseconds=20),
        next_retry=lambda job: at,
        middleware=[middleware],
    )
    async with started(pool, worker) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs())).job
        await ended(events)
    row = await stored(pool, job.id)
    assert (row.state, row.scheduled_at, around) == (JobState.RETRYABLE, at, ["note"])
    assert row.errors[0].error == "job timed out after 0.02 s"


async def test_jobs_of_a_former_name_are_worked(pool: asyncpg.Pool) -> None:
    seen: list[RenamedArgs] = []

    async def memo(job: Job[RenamedArgs]) -> None:
        seen.append(job.args)

    worker: Any = work_func(RenamedArgs, memo)
    working = started(pool, worker, fetch_only_known_kinds=True)
    async with working as client, client.subscribe() as events:
        old = (await client.insert(NoteArgs(text="old"))).job
        await client.insert(RenamedArgs(text="new"))
        await ended(events, 2)
    assert sorted(args.text for args in seen) == ["new", "old"]
    assert (await stored(pool, old.id)).kind == "note"


async def test_kinds_of_others_are_left_alone(pool: asyncpg.Pool) -> None:
    async with (
        started(
            pool, NoteWorker(), fetch_only_known_kinds=True, skip_unknown_job_check=True
        ) as client,
        client.subscribe() as events,
    ):
        foreign = (await client.insert(_Other(), InsertOpts(priority=1))).job
        await client.insert(NoteArgs(), InsertOpts(priority=4))
        await ended(events)
    row = await stored(pool, foreign.id)
    assert (row.state, row.attempt) == (JobState.AVAILABLE, 0)


async def test_a_worker_completes_its_job_in_its_own_transaction(pool: asyncpg.Pool) -> None:
    async def complete(job: Job[NoteArgs]) -> None:
        async with pool.acquire() as tx, tx.transaction():
            row = await client.job_complete_tx(tx, job, metadata={"paid": True})
            assert row.state is JobState.COMPLETED

    async with started(pool, NoteWorker(complete)) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs())).job
        assert (await ended(events))[0].kind is EventKind.JOB_COMPLETED
    assert (await stored(pool, job.id)).metadata == {"paid": True}


async def test_the_newest_hundred_claimants_are_remembered(pool: asyncpg.Pool) -> None:
    former = [f"client-{number}" for number in range(100)]
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        await pool.execute(
            "INSERT INTO river_job (kind, args, attempted_by) VALUES ('note', '{}', $1)",
            former,
        )
        event = (await ended(events))[0]
    assert event.job is not None
    assert event.job.attempted_by == (*former[1:], client.id)


async def test_a_thread_uses_the_client_on_its_loop(pool: asyncpg.Pool) -> None:
    workers = Workers()
    refused: list[type[BaseException]] = []

    @workers.worker(NoteArgs)
    def note(job: Job[NoteArgs]) -> None:
        run_on_loop(client_from_context().insert(_Other()))
        try:
            run_on_loop(client_from_context().insert(_Unregistered()))
        except UnknownJobKindError as error:
            refused.append(type(error))

    @workers.worker(_Other)
    async def other(job: Job[_Other]) -> None:
        assert client_from_context_or_none() is client_from_context()
        with pytest.raises(NotInJobError):
            run_on_loop(client_from_context().job_get(job.row.id))

    client = _client(pool, workers)
    await client.start()
    async with client.subscribe() as events:
        await client.insert(NoteArgs())
        assert {event.kind for event in await ended(events, 2)} == {EventKind.JOB_COMPLETED}
    await client.stop()
    assert refused == [UnknownJobKindError]
    assert client_from_context_or_none() is None
    with pytest.raises(NotInJobError):
        client_from_context()


@dataclass(frozen=True)
class _Unregistered:
    kind: ClassVar[str] = "unregistered"
