"""Many writers of the same rows at once: nobody is left waiting crosswise, and all work is done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    InsertManyParams,
    InsertOpts,
    InsertResult,
    UniqueConflictError,
    UniqueOpts,
)
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.maintenance.cleaner import JobCleaner
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings
from riverengine.run.maintenance.periodic_job import PeriodicJobBundle
from riverengine.run.maintenance.queue_cleaner import QueueCleaner
from riverengine.run.maintenance.reindexer import Reindexer
from riverengine.run.maintenance.rescuer import JobRescuer
from riverengine.run.maintenance.scheduler import JobScheduler
from riverengine.types.queue import Leader
from tests.integration.riverengine.test_dead_clients import FakeClock, dead_client_rescuer
from tests.integration.riverengine.test_periodic import FrozenClock, enqueuer, minutely, term
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    wait_for_yes,
    workers_of,
)

__all__ = ["term"]

BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))
EAGER = {"deadlock_timeout": "10ms"}
"""Deadlocks are looked for a hundred times sooner than by default, and so found by every run."""
WRITERS = 8


@pytest.fixture
async def eager(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on whose connections no deadlock passes unseen."""
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=30, server_settings=EAGER
    ) as pool:
        yield pool


def notes(number: int) -> list[InsertManyParams]:
    """Jobs with a unique key each, and every tenth without."""
    return [
        InsertManyParams(NoteArgs(text=str(n)), None if n % 10 == 9 else BY_ARGS)
        for n in range(number)
    ]


@pytest.mark.parametrize("own", [True, False], ids=["own", "callers"])
async def test_batches_of_unique_jobs_in_opposed_orders_never_deadlock(
    eager: asyncpg.Pool, own: bool
) -> None:
    """Solid Queue's 800 inserts. In callers' transactions a deadlock would not be tried again."""
    client = Client(eager)
    jobs = notes(800)
    ready = asyncio.Barrier(WRITERS)

    async def insert(batch: Sequence[InsertManyParams]) -> list[InsertResult]:
        if own:
            return await client.insert_many(batch)
        async with client.transaction() as tx:
            await ready.wait()
            return await client.insert_many(batch, tx=tx)

    batches = [jobs if number % 2 else jobs[::-1] for number in range(WRITERS)]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*map(insert, batches))
    inserted: Counter[str] = Counter()
    for batch, found in zip(batches, results, strict=True):
        assert [result.job.args for result in found] == [job.args.__dict__ for job in batch]
        mine = [result.job for result in found if not result.unique_skipped_as_duplicate]
        assert [job.id for job in mine] == sorted(job.id for job in mine)
        inserted.update(str(job.args["text"]) for job in mine)
    assert inserted == {str(n): WRITERS if n % 10 == 9 else 1 for n in range(800)}


@pytest.fixture
async def slow_rows(pool: asyncpg.Pool) -> AsyncIterator[None]:
    """Inserts take so long a row that batches meet in the middle."""
    await pool.execute(
        "CREATE FUNCTION slow_row() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;"
        "CREATE TRIGGER slow_row BEFORE INSERT ON river_job FOR EACH ROW"
        " EXECUTE FUNCTION slow_row()"
    )
    yield
    await pool.execute("DROP TRIGGER slow_row ON river_job; DROP FUNCTION slow_row")


@pytest.mark.usefixtures("slow_rows")
async def test_fast_batches_of_unique_jobs_in_opposed_orders_never_deadlock(
    eager: asyncpg.Pool,
) -> None:
    client = Client(eager)
    jobs = notes(100)
    ready = asyncio.Barrier(WRITERS)

    async def insert(batch: Sequence[InsertManyParams]) -> int | UniqueConflictError:
        try:
            async with client.transaction() as tx:
                await ready.wait()
                return await client.insert_many_fast(batch, tx=tx)
        except UniqueConflictError as error:
            return error

    async with asyncio.timeout(60):
        results = await asyncio.gather(
            *(insert(jobs if number % 2 else jobs[::-1]) for number in range(WRITERS))
        )
    assert [result for result in results if isinstance(result, int)] == [100]
    assert await eager.fetchval("SELECT count(*) FROM river_job") == 100


class Passing:
    """Insert middleware that only looks on."""

    async def insert_many(self, plans: Any, next_: Any) -> Any:
        return await next_(plans)


@pytest.mark.parametrize("middleware", [(), (Passing(),)], ids=["plain", "middleware"])
async def test_an_insert_that_gave_way_in_a_deadlock_is_tried_again(
    eager: asyncpg.Pool, pool: asyncpg.Pool, middleware: tuple[Passing, ...]
) -> None:
    """Others lock the jobs that hold the keys in orders of their own, as completions do."""
    client = Client(eager, Config(middleware=middleware))
    held = sorted(await client.insert_many(notes(3)), key=_key)
    first, second, third = (result.job.id for result in held)
    touch = "UPDATE river_job SET priority = 2 WHERE id = $1"
    waiting = (
        "SELECT count(*) = $1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with pool.acquire() as blocker, pool.acquire() as other:
        blocking, crosswise = blocker.transaction(), other.transaction()
        await blocking.start()
        await blocker.execute(touch, second)
        await crosswise.start()
        # Whoever closes the circle looks for deadlocks first, and is the one that gives way.
        await other.execute("SET LOCAL deadlock_timeout = '1min'")
        await other.execute(touch, third)
        inserting = asyncio.ensure_future(client.insert_many(notes(3)))
        await wait_for_yes(pool, waiting, 1)
        touching = asyncio.ensure_future(other.execute(touch, first))
        await wait_for_yes(pool, waiting, 2)
        await blocking.commit()
        await touching
        await crosswise.commit()
        found = await inserting
    assert {result.job.id for result in found} == {first, second, third}
    assert {result.job.priority for result in found} == {2}


def _key(result: InsertResult) -> bytes:
    assert result.job.unique_key is not None
    return result.job.unique_key


# Maintenance

LEADERS = 12
HOUR = timedelta(hours=1)
TIMINGS = MaintenanceTimings(
    stagger=timedelta(0), batch_size=10, batch_pause=(timedelta(0), timedelta(0))
)
INDEXES = ("river_job_kind", "river_job_unique_idx")


async def _with_work(pool: asyncpg.Pool) -> None:
    """Rows for every service, mixed so that neighbours fall to different ones."""
    await pool.execute(
        """
        INSERT INTO river_job (
            kind, args, state, attempt, max_attempts, attempted_at, attempted_by, scheduled_at,
            finalized_at, unique_key, unique_states
        )
        SELECT
            'note', '{}', state, 1, 25,
            CASE WHEN state = 'running' THEN now() - n % 10 / 5 * interval '2 h' END,
            CASE WHEN state = 'running' THEN ARRAY['worker' || n % 40 || '_py'] END,
            now() - interval '3 h',
            CASE WHEN state = 'completed' THEN now() - interval '2 d' END,
            CASE WHEN state = 'retryable' THEN int4send(n / 8) END,
            CASE WHEN state = 'retryable' THEN B'11010101' END
        FROM generate_series(0, 999) AS n
        CROSS JOIN LATERAL (
            SELECT (ARRAY['scheduled', 'retryable', 'running', 'completed'])[1 + n % 4]
                ::river_job_state AS state
        ) AS chosen
        """
    )
    await pool.execute(
        "INSERT INTO river_queue (name, updated_at)"
        " SELECT 'queue' || n, now() - n % 2 * interval '2 d' FROM generate_series(1, 400) AS n"
    )


async def _nobody_told(_connection: asyncpg.Connection, _queues: Sequence[str]) -> None:
    pass


async def _catch_up(pool: asyncpg.Pool, term: Leader, number: int) -> int:
    """Another leader's periodic jobs of five minutes; returns its failures."""
    jobs = [minutely(name, catch_up=timedelta(minutes=5)) for name in ("one", "two", "three")]
    bundle = PeriodicJobBundle(jobs if number % 2 else jobs[::-1])
    service = enqueuer(pool, term, bundle, FrozenClock())
    await service.start()
    try:
        for _ in range(5):
            await service.signal_inserted.wait(60)
    finally:
        await service.stop()
    return service.failures


async def test_a_crowd_of_leaders_does_all_work_once_and_never_deadlocks(
    eager: asyncpg.Pool, pool: asyncpg.Pool, term: Leader, database_url: str
) -> None:
    """Procrastinate's housekeeping deadlocked with two workers."""
    await _with_work(pool)
    bounded, clock, client = BoundedPool(eager), FakeClock(), Client(eager)
    shared: dict[str, Any] = {"config": client.config, "clock": clock, "timings": TIMINGS}
    crowds: dict[str, list[IntervalService]] = {
        "taken back": [dead_client_rescuer(eager, clock) for _ in range(LEADERS)],
        "scheduled": [
            JobScheduler(bounded, notify_insert=_nobody_told, **shared) for _ in range(LEADERS)
        ],
        "rescued": [
            JobRescuer(bounded, workers=workers_of(NoteWorker()), **shared) for _ in range(LEADERS)
        ],
        "cleaned": [JobCleaner(bounded, **shared) for _ in range(LEADERS)],
        "queues": [QueueCleaner(bounded, **shared) for _ in range(LEADERS)],
    }
    connect = partial(asyncpg.connect, database_url, server_settings=EAGER)
    reindexing = shared | {"config": Config(reindexer_index_names=INDEXES)}
    reindexers = [Reindexer(connect, **reindexing) for _ in range(3)]
    done: Counter[str] = Counter()
    rebuilt: Counter[str] = Counter()

    async def run(name: str, service: IntervalService) -> None:
        rows = await service.run_once()
        done[name] += rows

    async def rebuild(reindexer: Reindexer) -> None:
        rebuilt.update(await reindexer.run_once())

    async def toggle(number: int) -> None:
        for _ in range(5):
            await (client.queue_pause("*") if number % 2 else client.queue_resume("*"))

    async def insert(number: int) -> None:
        jobs = notes(200)
        await client.insert_many(jobs if number % 2 else jobs[::-1])

    async with asyncio.timeout(90):
        await asyncio.gather(
            *(toggle(number) for number in range(6)),
            *(insert(number) for number in range(6)),
            *(run(name, service) for name, crowd in crowds.items() for service in crowd),
            *(rebuild(reindexer) for reindexer in reindexers),
        )
        failures = await asyncio.gather(*(_catch_up(eager, term, n) for n in range(LEADERS)))
        # What another one had locked is left to the next run; who is silent is dead after a while.
        for _ in range(3):
            clock.seconds += 10
            await asyncio.gather(
                *(run(name, service) for name, crowd in crowds.items() for service in crowd)
            )
    assert failures == [0] * LEADERS
    assert [reindexer.failures for reindexer in reindexers] == [0, 0, 0]
    assert rebuilt.keys() == set(INDEXES)
    # Every row was changed by one service, once.
    assert done["rescued"] + done["taken back"] == 250
    assert done["rescued"] >= 100
    assert done["scheduled"] == 250 + 250 + done["rescued"]
    assert done["cleaned"] == 250
    counts = await pool.fetch(
        "SELECT kind, state, metadata ->> 'river:rescue_count' AS rescues, count(*) FROM river_job"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    assert [tuple(row) for row in counts] == [
        ("note", "available", "1", 250),
        ("note", "available", None, 250 + 125 + 180 + 6 * 20),
        ("note", "discarded", None, 125),
        ("tick", "available", None, 3 * 5),
    ]
    assert not await pool.fetchval(
        "SELECT EXISTS (SELECT FROM river_queue WHERE updated_at < now() - interval '1 d')"
    )
