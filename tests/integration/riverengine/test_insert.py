"""Inserting: rows, defaults, transactions, uniqueness, announcements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    DuplicateInBatchError,
    InsertError,
    InsertManyParams,
    InsertOpts,
    Job,
    JobId,
    JobState,
    NoTransactionError,
    UniqueConflictError,
    UniqueOpts,
)
from riverengine.queries.statement import load_statements
from tests.integration.riverengine.working import NoteArgs, stored


@dataclass(frozen=True)
class OptionArgs:
    """Args whose type has options of its own."""

    kind: ClassVar[str] = "option"
    number: int = 0

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="typed", priority=3, max_attempts=7, tags=("typed",))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))


@pytest.fixture
def client(pool: asyncpg.Pool) -> Client:
    return Client(pool)


async def test_defaults(client: Client, pool: asyncpg.Pool) -> None:
    before = datetime.now(UTC)
    result = await client.insert(NoteArgs(text="x"))
    row = result.job
    assert not result.unique_skipped_as_duplicate
    assert row == await stored(pool, row.id)
    assert (row.kind, row.args) == ("note", {"text": "x"})
    assert (row.queue, row.priority, row.max_attempts) == ("default", 1, 25)
    assert (row.state, row.attempt, row.errors, row.tags) == (JobState.AVAILABLE, 0, (), ())
    assert row.created_at == row.scheduled_at
    assert before <= row.created_at <= datetime.now(UTC)
    assert row.metadata == {}
    assert (row.unique_key, row.unique_states) == (None, None)


async def test_options_of_the_call_win_over_the_type_s(client: Client) -> None:
    typed = (await client.insert(OptionArgs())).job
    assert (typed.queue, typed.priority, typed.max_attempts) == ("typed", 3, 7)
    assert typed.tags == ("typed",)
    given = (
        await client.insert(
            OptionArgs(),
            InsertOpts(queue="called", priority=1, max_attempts=2, tags=(), metadata={"a": [1]}),
        )
    ).job
    assert (given.queue, given.priority, given.max_attempts) == ("called", 1, 2)
    assert given.tags == ()
    assert given.metadata == {"a": [1]}


@pytest.mark.parametrize("offset", [timedelta(hours=-1), timedelta(hours=1)])
async def test_any_given_time_schedules(client: Client, offset: timedelta) -> None:
    at = datetime.now(UTC) + offset
    row = (await client.insert(NoteArgs(), InsertOpts(scheduled_at=at))).job
    assert (row.state, row.scheduled_at) == (JobState.SCHEDULED, at)


async def test_a_pending_job(client: Client) -> None:
    assert (await client.insert(NoteArgs(), InsertOpts(pending=True))).job.state == "pending"


async def test_a_batch_keeps_its_order(client: Client) -> None:
    results = await client.insert_many(
        [InsertManyParams(NoteArgs(text=str(n)), InsertOpts(tags=(f"tag{n}",))) for n in range(500)]
    )
    assert [result.job.args["text"] for result in results] == [str(n) for n in range(500)]
    assert [result.job.tags for result in results] == [(f"tag{n}",) for n in range(500)]
    ids = [result.job.id for result in results]
    assert ids == sorted(ids)


async def test_an_empty_batch_is_refused(client: Client) -> None:
    with pytest.raises(InsertError, match="no jobs to insert"):
        await client.insert_many([])


async def test_a_bad_job_refuses_its_whole_batch(client: Client, pool: asyncpg.Pool) -> None:
    with pytest.raises(InsertError, match="queue name"):
        await client.insert_many(
            [NoteArgs(), InsertManyParams(NoteArgs(), InsertOpts(queue="Not A Queue"))]
        )
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 0


@pytest.mark.parametrize("commit", [True, False])
async def test_the_caller_s_transaction_decides(
    client: Client, pool: asyncpg.Pool, commit: bool
) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await client.insert_many([NoteArgs(), NoteArgs()], tx=connection)
        await client.insert_many_fast([NoteArgs()], tx=connection)
        assert await pool.fetchval("SELECT count(*) FROM river_job") == 0
        await (transaction.commit() if commit else transaction.rollback())
    assert await pool.fetchval("SELECT count(*) FROM river_job") == (3 if commit else 0)


@pytest.mark.parametrize("savepoint", [True, False])
async def test_a_swallowed_error_is_told_where_the_commit_would_roll_back(
    client: Client, pool: asyncpg.Pool, savepoint: bool
) -> None:
    async def insert_and_swallow() -> None:
        async with client.transaction() as tx:
            await client.insert(NoteArgs(), tx=tx)
            with suppress(asyncpg.DivisionByZeroError):
                async with tx.transaction() if savepoint else nullcontext():
                    await tx.fetchval("SELECT 1 / 0")

    if savepoint:
        await insert_and_swallow()
    else:
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await insert_and_swallow()
    assert await pool.fetchval("SELECT count(*) FROM river_job") == int(savepoint)


async def test_a_duplicate_returns_the_holder(client: Client, pool: asyncpg.Pool) -> None:
    first = await client.insert(NoteArgs(text="same"), BY_ARGS)
    second = await client.insert(NoteArgs(text="same"), BY_ARGS)
    other = await client.insert(NoteArgs(text="other"), BY_ARGS)
    assert second.unique_skipped_as_duplicate
    assert second.job == first.job
    assert not other.unique_skipped_as_duplicate
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 2


async def test_duplicates_are_told_row_by_row_in_a_batch(client: Client) -> None:
    held = await client.insert(NoteArgs(text="b"), BY_ARGS)
    results = await client.insert_many(
        [InsertManyParams(NoteArgs(text=text), BY_ARGS) for text in "abc"]
    )
    assert [result.unique_skipped_as_duplicate for result in results] == [False, True, False]
    assert results[1].job.id == held.job.id


async def test_a_duplicate_of_the_same_transaction_is_told(
    client: Client, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        first = await client.insert(NoteArgs(), BY_ARGS, tx=connection)
        second = await client.insert(NoteArgs(), BY_ARGS, tx=connection)
    assert second.unique_skipped_as_duplicate
    assert second.job.id == first.job.id


async def test_two_equal_jobs_in_one_batch_fail_it(client: Client, pool: asyncpg.Pool) -> None:
    with pytest.raises(DuplicateInBatchError):
        await client.insert_many([InsertManyParams(NoteArgs(), BY_ARGS)] * 2)
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 0


async def test_a_fast_insert_refuses_a_held_key(client: Client, pool: asyncpg.Pool) -> None:
    await client.insert(NoteArgs(), BY_ARGS)
    with pytest.raises(UniqueConflictError):
        await client.insert_many_fast([NoteArgs(text="new"), InsertManyParams(NoteArgs(), BY_ARGS)])
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 1


@pytest.mark.parametrize(
    "opts",
    [
        InsertOpts(),
        InsertOpts(tags=("one",), pending=True, unique_opts=UniqueOpts(by_args=True)),
        InsertOpts(
            queue="q",
            priority=2,
            max_attempts=3,
            tags=("one", "two"),
            metadata={"a": ["é", None]},
            unique_opts=UniqueOpts(by_queue=True),
            scheduled_at=datetime(2031, 2, 3, tzinfo=UTC),
        ),
    ],
    ids=["defaults", "pending", "all"],
)
async def test_every_way_to_insert_writes_the_same_row(
    pool: asyncpg.Pool, opts: InsertOpts
) -> None:
    args = NoteArgs(text="é\\,{}'\"\n")
    job = InsertManyParams(args, opts)
    # It announces the first insert and keeps silent of the second.
    client = Client(pool, Config(fetch_cooldown=timedelta(seconds=1)))
    rows = []
    for insert in (
        partial(client.insert, args, opts),
        partial(client.insert, args, opts),
        partial(client.insert_many, [job, NoteArgs()]),
        partial(client.insert_many, [job, InsertManyParams(NoteArgs(), BY_ARGS)]),
        partial(client.insert_many_fast, [job]),
    ):
        await insert()
        row = await stored(pool, await pool.fetchval("SELECT min(id) FROM river_job"))
        assert row.scheduled_at == (opts.scheduled_at or row.created_at)
        rows.append(replace(row, id=JobId(0), created_at=EPOCH, scheduled_at=EPOCH))
        await pool.execute("DELETE FROM river_job")
    assert rows == [rows[0]] * len(rows)
    assert (rows[0].args, rows[0].tags) == ({"text": args.text}, tuple(opts.tags or ()))


async def test_a_job_by_itself_is_one_row_of_plain_values(pool: asyncpg.Pool) -> None:
    """Arrays of one element, unnested and sorted, would cost a quarter more."""
    sql = load_statements("riverengine.queries.sql", "job_insert.sql")["job_insert"].sql(None)
    values = ("{}", EPOCH, "kind", 25, "{}", 1, "default", EPOCH, "available", "", None, None)
    async with pool.acquire() as connection:
        prepared = await connection.prepare(sql)
        (found,) = await prepared.explain(*values)
        assert "array" not in {parameter.kind for parameter in prepared.get_parameters()}
    assert found["Plan"]["Node Type"] == "ModifyTable"
    assert [node["Node Type"] for node in found["Plan"]["Plans"]] == ["Result"]


async def test_a_finished_job_in_a_free_state_gives_its_key_back(
    client: Client, pool: asyncpg.Pool
) -> None:
    first = await client.insert(NoteArgs(), BY_ARGS)
    await pool.execute("UPDATE river_job SET state = 'discarded', finalized_at = now()")
    second = await client.insert(NoteArgs(), BY_ARGS)
    assert second.job.id != first.job.id


async def test_a_concurrent_duplicate_waits_for_the_first(
    client: Client, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        first = await client.insert(NoteArgs(), BY_ARGS, tx=connection)
        second = asyncio.create_task(client.insert(NoteArgs(), BY_ARGS))
        await asyncio.wait({second}, timeout=0.05)
        assert not second.done()
        await transaction.commit()
    assert (await second).job.id == first.job.id


@pytest.fixture
async def heard(pool: asyncpg.Pool) -> AsyncIterator[asyncio.Queue[str]]:
    """Payloads of River's insert topic."""
    payloads: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        payloads.put_nowait(str(payload))

    async with pool.acquire() as connection:
        await connection.add_listener("public.river_insert", hear)
        yield payloads
        await connection.remove_listener("public.river_insert", hear)


async def test_an_insert_is_announced_once_per_queue_and_cooldown(
    pool: asyncpg.Pool, heard: asyncio.Queue[str]
) -> None:
    minute = timedelta(minutes=1)
    client = Client(pool, Config(fetch_cooldown=minute, fetch_poll_interval=minute))
    await client.insert_many(
        [
            NoteArgs(),
            InsertManyParams(NoteArgs(), InsertOpts(queue="other")),
            NoteArgs(),
            InsertManyParams(NoteArgs(), InsertOpts(queue="not_yet", pending=True)),
        ]
    )
    await client.insert(NoteArgs())
    await client.insert(NoteArgs(), InsertOpts(queue="last"))
    found = [await asyncio.wait_for(heard.get(), 20) for _ in range(3)]
    assert found == ['{"queue": "default"}', '{"queue": "other"}', '{"queue": "last"}']


async def test_a_rolled_back_insert_is_not_announced(
    client: Client, pool: asyncpg.Pool, heard: asyncio.Queue[str]
) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await client.insert(NoteArgs(), tx=connection)
        await transaction.rollback()
    await client.insert(NoteArgs(), InsertOpts(queue="later"))
    assert await asyncio.wait_for(heard.get(), 20) == '{"queue": "later"}'


@pytest.mark.parametrize("own", [True, False], ids=["own", "caller's"])
async def test_an_insert_that_failed_silences_no_other(
    pool: asyncpg.Pool, heard: asyncio.Queue[str], own: bool
) -> None:
    client = Client(pool, Config(fetch_cooldown=timedelta(seconds=1)))
    async with pool.acquire() as connection:
        with pytest.raises(DuplicateInBatchError):
            async with connection.transaction():
                await client.insert_many(
                    [InsertManyParams(NoteArgs(), BY_ARGS)] * 2, tx=None if own else connection
                )
    await client.insert(NoteArgs())
    assert await asyncio.wait_for(heard.get(), 20) == '{"queue": "default"}'


async def test_insert_middleware_surrounds_the_insert(pool: asyncpg.Pool) -> None:
    seen: list[str] = []

    class Middleware:
        def __init__(self, name: str) -> None:
            self.name = name

        async def insert_many(self, plans, next_):  # type: ignore[no-untyped-def]
            seen.append(f"{self.name} before {len(plans)}")
            results = await next_(plans)
            seen.append(f"{self.name} after {len(results)}")
            return results

    client = Client(pool, Config(middleware=(Middleware("outer"), Middleware("inner"))))
    await client.insert_many([NoteArgs(), NoteArgs()])
    assert seen == ["outer before 2", "inner before 2", "inner after 2", "outer after 2"]


async def test_insert_middleware_that_inserts_none_is_told(pool: asyncpg.Pool) -> None:
    class Middleware:
        async def insert_many(self, plans, next_):  # type: ignore[no-untyped-def]
            return await next_([])

    client = Client(pool, Config(middleware=(Middleware(),)))
    with pytest.raises(InsertError, match="0 for 1"):
        await client.insert(NoteArgs())
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 0


async def test_a_connection_without_a_transaction_is_none(
    client: Client, pool: asyncpg.Pool
) -> None:
    """asyncpg would commit each statement by itself, and the caller's rows without the job."""
    job = (await client.insert(NoteArgs())).job
    running = replace(
        job, state=JobState.RUNNING, attempted_at=job.created_at, attempted_by=(client.id,)
    )
    async with pool.acquire() as connection:
        for change in (
            client.insert(NoteArgs(), tx=connection),
            client.insert_many_fast([NoteArgs()], tx=connection),
            client.job_cancel(job.id, tx=connection),
            client.job_update(job.id, output=1, tx=connection),
            client.job_complete_tx(connection, Job(running, NoteArgs())),
        ):
            with pytest.raises(NoTransactionError, match=r"connection\.transaction\(\)"):
                await change
    assert (await client.job_list()).jobs == [job]
