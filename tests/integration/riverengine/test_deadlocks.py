"""Many writers of the same rows at once: nobody is left waiting crosswise, and all work is done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
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
from tests.integration.riverengine.working import NoteArgs, wait_for_yes

BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))
EAGER = {"deadlock_timeout": "10ms"}
"""Deadlocks are looked for a hundred times sooner than by default, and so found by every run."""
WRITERS = 8


@pytest.fixture
async def eager(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on whose connections no deadlock passes unseen."""
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=60, server_settings=EAGER
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
