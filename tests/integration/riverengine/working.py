"""Args, workers and clients for tests that work jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import asyncpg

from riverengine import (
    Client,
    Config,
    Event,
    Job,
    JobRow,
    JobState,
    QueueConfig,
    Subscription,
    Worker,
    Workers,
)
from riverengine.queries.job_row import job_row_from_record
from tests.sessions import within

FAST = timedelta(milliseconds=20)
"""A poll interval for tests that would otherwise wait for River's second."""

CLAIM = "-- Claims jobs"
"""How the statement begins that fetches jobs."""

SOON = 20.0
"""Seconds after which what did not happen will not: several test processes share a few cores."""


@dataclass(frozen=True)
class NoteArgs:
    """Args of the tests' job."""

    kind: ClassVar[str] = "note"
    text: str = ""


class NoteWorker(Worker[NoteArgs]):
    """Runs a function given by the test, and remembers what it ran."""

    def __init__(self, run: Callable[[Job[NoteArgs]], Awaitable[None]] | None = None) -> None:
        self.run = run
        self.ran: list[Job[NoteArgs]] = []

    async def work(self, job: Job[NoteArgs]) -> None:
        self.ran.append(job)
        if self.run is not None:
            await self.run(job)


class Gate:
    """Holds jobs until the test lets them go on."""

    def __init__(self) -> None:
        self.entered: asyncio.Queue[Job[Any]] = asyncio.Queue()
        self.opened = asyncio.Event()

    async def __call__(self, job: Job[Any]) -> None:
        self.entered.put_nowait(job)
        await self.opened.wait()

    async def next(self) -> Job[Any]:
        """The next job that reached the gate."""
        async with asyncio.timeout(SOON):
            return await self.entered.get()


def workers_of(*workers: Worker[Any]) -> Workers:
    """A registry of these workers."""
    registry = Workers()
    for worker in workers:
        registry.add(worker)
    return registry


@asynccontextmanager
async def started(
    pool: asyncpg.Pool,
    *workers: Worker[Any],
    queues: Mapping[str, QueueConfig] | None = None,
    poll: timedelta = FAST,
    stop: bool = True,
    client_options: Mapping[str, Any] | None = None,
    before_start: Callable[[Client], None] | None = None,
    **config: Any,
) -> AsyncIterator[Client]:
    """A client at work, stopped at the end."""
    settings = Config(
        queues=queues or {"default": QueueConfig(max_workers=10)},
        fetch_poll_interval=poll,
        fetch_cooldown=config.pop("fetch_cooldown", timedelta(milliseconds=5)),
        **config,
    )
    client = Client(pool, settings, workers=workers_of(*workers), **(client_options or {}))
    if before_start is not None:
        before_start(client)
    await client.start()
    try:
        yield client
    finally:
        if stop:
            await client.stop_and_cancel(timeout=timedelta(seconds=10))


@asynccontextmanager
async def heard(
    pool: asyncpg.Pool, *workers: Worker[Any], **options: Any
) -> AsyncIterator[tuple[Client, Subscription]]:
    """A client at work and its events from the very start, for jobs that wait for it already."""
    subscriptions: list[Subscription] = []
    options["before_start"] = lambda client: subscriptions.append(client.subscribe())
    async with started(pool, *workers, **options) as client:
        with closing(subscriptions[0]) as events:
            yield client, events


async def ended(events: Subscription, number: int = 1) -> list[Event]:
    """The next events, however many are asked for."""
    return [await events.next(timeout=SOON) for _ in range(number)]


async def stored(pool: asyncpg.Pool, job_id: int) -> JobRow:
    """The job as it is in the database."""
    return job_row_from_record(await pool.fetchrow("SELECT * FROM river_job WHERE id = $1", job_id))


async def wait_for_state(pool: asyncpg.Pool, job_id: int, *states: JobState) -> JobRow:
    """The job once it is in one of the states, by looking again and again."""
    async with within(SOON, pool):
        while True:
            row = await stored(pool, job_id)
            if row.state in states:
                return row
            await asyncio.sleep(0.01)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until the condition holds."""
    async with asyncio.timeout(SOON):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def wait_for_yes(
    pool: asyncpg.Pool, question: str, *args: object, seconds: float = SOON
) -> None:
    """Ask the database again and again until the answer is yes."""
    async with within(seconds, pool):
        while True:
            if await pool.fetchval(question, *args):
                return
            await asyncio.sleep(0.02)


async def wait_until_blocked(pool: asyncpg.Pool, statement: str) -> None:
    """Look again and again until a statement that begins like this waits for a lock."""
    # Other tests use the same server at the same time.
    await wait_for_yes(
        pool,
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND starts_with(query, $1)",
        statement,
    )
