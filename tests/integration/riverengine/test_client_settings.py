"""What each setting of a client does, seen from outside, where no other file is about it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from riverengine import (
    FOREVER,
    NO_TIMEOUT,
    Client,
    Config,
    ConfigError,
    InsertOpts,
    Job,
    JobRow,
    JobState,
    PeriodicJobError,
    QueueConfig,
    UnknownJobKindError,
    UnsupportedDriverError,
    work_func,
)
from riverengine.run.elector import ElectorTimings
from tests.integration.riverengine.working import (
    FAST,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_until,
    workers_of,
)

MINUTE = timedelta(minutes=1)
QUICK = ElectorTimings(interval=timedelta(milliseconds=100), jitter=timedelta(0))


async def test_the_id_stands_in_the_jobs_and_in_the_leadership(pool: asyncpg.Pool) -> None:
    options = {"elector_timings": QUICK}
    async with (
        started(pool, NoteWorker(), id="mine", client_options=options) as client,
        client.subscribe() as events,
    ):
        await wait_until(lambda: client.is_leader)
        assert await pool.fetchval("SELECT leader_id FROM river_leader") == "mine"
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    assert client.id == "mine"
    assert event.job is not None
    assert event.job.attempted_by == ("mine",)


async def test_max_attempts_is_that_of_inserts_that_say_nothing(pool: asyncpg.Pool) -> None:
    client = Client(pool, Config(max_attempts=3))
    assert (await client.insert(NoteArgs())).job.max_attempts == 3
    assert (await client.insert(NoteArgs(), InsertOpts(max_attempts=7))).job.max_attempts == 7


@pytest.mark.parametrize(
    ("of_client", "of_worker", "error"),
    [
        (FAST, None, "job timed out after 0.02 s"),
        (MINUTE, FAST, "job timed out after 0.02 s"),
        (FAST, NO_TIMEOUT, None),
        (FOREVER, None, None),
    ],
    ids=["the client's", "the worker's", "the worker has none", "the client has none"],
)
async def test_job_timeout_holds_unless_the_worker_has_one(
    pool: asyncpg.Pool, of_client: timedelta, of_worker: timedelta | None, error: str | None
) -> None:
    async def rest(job: Job[NoteArgs]) -> None:
        await asyncio.sleep(0.2 if error is None else 30)

    worker: Any = work_func(NoteArgs, rest, timeout=of_worker)
    async with (
        started(pool, worker, job_timeout=of_client) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs(), InsertOpts(max_attempts=1))
        (event,) = await ended(events)
    assert event.job is not None
    assert [each.error for each in event.job.errors] == ([] if error is None else [error])


async def test_the_retry_policy_says_when(pool: asyncpg.Pool) -> None:
    at = datetime(2100, 1, 1, tzinfo=UTC)
    asked: list[tuple[str, int]] = []

    class Policy:
        def next_retry(self, job: JobRow, now: datetime) -> datetime:
            asked.append((job.kind, len(job.errors)))
            return at

    async def fail(job: Job[NoteArgs]) -> None:
        raise ValueError("no luck")

    async with (
        started(pool, NoteWorker(fail), retry_policy=Policy()) as client,
        client.subscribe() as events,
    ):
        job = (await client.insert(NoteArgs())).job
        await ended(events)
    row = await stored(pool, job.id)
    assert (row.state, row.scheduled_at, asked) == (JobState.RETRYABLE, at, [("note", 0)])


@dataclass
class ElsewhereArgs:
    """Nobody here works them."""

    kind: ClassVar[str] = "elsewhere"


async def test_kinds_of_others_are_inserted_where_the_check_is_skipped(pool: asyncpg.Pool) -> None:
    workers = workers_of(NoteWorker())
    with pytest.raises(UnknownJobKindError):
        await Client(pool, workers=workers).insert(ElsewhereArgs())
    lenient = Client(pool, Config(skip_unknown_job_check=True), workers=workers)
    assert (await lenient.insert(ElsewhereArgs())).job.kind == "elsewhere"
    # A client without workers knows no kinds, so it takes any.
    assert (await Client(pool).insert(ElsewhereArgs())).job.kind == "elsewhere"


@pytest.mark.parametrize("of_queue", [None, FAST])
async def test_the_poll_finds_what_nothing_announced(
    pool: asyncpg.Pool, of_queue: timedelta | None
) -> None:
    queues = {"default": QueueConfig(max_workers=1, fetch_poll_interval=of_queue)}
    poll = MINUTE if of_queue else FAST
    async with (
        started(pool, NoteWorker(), queues=queues, poll=poll) as client,
        client.subscribe() as events,
    ):
        for _ in range(3):  # the first may be found by the fetch of the start
            await pool.execute("INSERT INTO river_job (kind, args) VALUES ('note', '{}')")
            await ended(events)


async def test_the_logger_given_is_used(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("tests.of_the_application")

    def fail(leads: bool) -> None:
        raise ValueError("of the callback")

    options = {"logger": logger, "elector_timings": QUICK}
    async with started(pool, NoteWorker(), client_options=options) as client:
        client.on_leader_change(fail)
        await wait_until(lambda: bool(caplog.records))
    assert {record.name for record in caplog.records} == {logger.name}


async def test_stopped_is_set_but_for_the_time_between_start_and_stop(pool: asyncpg.Pool) -> None:
    config = Config(queues={"default": QueueConfig(max_workers=1)})
    client = Client(pool, config, workers=workers_of(NoteWorker()))
    assert client.stopped.is_set()
    await client.start()
    assert not client.stopped.is_set()
    waiting = asyncio.create_task(client.stopped.wait())
    await client.stop(timeout=timedelta(seconds=10))
    await asyncio.wait_for(waiting, 20)


async def test_a_client_refuses_what_it_cannot_work_with(pool: asyncpg.Pool) -> None:
    config = Config(queues={"default": QueueConfig(max_workers=1)})
    anything: Any
    for anything in ("postgres://localhost/app", None):
        with pytest.raises(UnsupportedDriverError, match="create_pool"):
            Client(anything)
    for anything in ([NoteWorker()], NoteWorker()):
        with pytest.raises(ConfigError, match="workers: must be Workers, not"):
            Client(pool, config, workers=anything)
    anything = {"queues": {}}
    with pytest.raises(ConfigError, match="config: must be a Config, not dict"):
        Client(pool, anything)
    anything = ("@daily", NoteArgs)
    with pytest.raises(PeriodicJobError, match="expected a PeriodicJob, not tuple"):
        Client(pool, config, periodic_jobs=[anything])
