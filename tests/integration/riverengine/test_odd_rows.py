"""Rows of odd shapes, as other programs may write them, and clients in a schema of their own."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest

from riverengine import Client, Config, InsertOpts, JobState, Migrator, UniqueOpts
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    heard,
    started,
    stored,
)

ODD = {
    "metadata an array": "metadata = '[1]'",
    "metadata a text": "metadata = '\"text\"'",
    "metadata null": "metadata = 'null'",
    "errors not objects": "errors = array['5', 'null', '[]', '\"text\"']::jsonb[]",
    "errors of odd members": (
        'errors = array[\'{"at": 7, "attempt": "x", "error": {}, "trace": 1}\']::jsonb[]'
    ),
    "no errors": "errors = array[]::jsonb[]",
    "due since ever": "scheduled_at = '-infinity'",
    "created for ever": "created_at = 'infinity'",
    "attempted by a hundred": (
        "attempted_by = array(SELECT 'client' || n FROM generate_series(1, 100) n)"
    ),
    "negative attempt": "attempt = -3",
    "negative attempts left": "max_attempts = 1, attempt = 5",
    "empty tags": "tags = array['']::varchar[]",
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
@pytest.mark.parametrize("fails", [False, True])
async def test_an_odd_row_is_worked_and_holds_up_no_other(
    pool: asyncpg.Pool, change: str, fails: bool
) -> None:
    client = Client(pool)
    odd = (await client.insert(NoteArgs(text="odd"))).job
    await client.insert(NoteArgs(text="even"))
    await pool.execute(f"UPDATE river_job SET {change} WHERE id = $1", odd.id)

    class Failing(NoteWorker):
        def next_retry(self, job):  # type: ignore[no-untyped-def]
            return datetime(2100, 1, 1, tzinfo=UTC)

        async def work(self, job):  # type: ignore[no-untyped-def]
            await super().work(job)
            if fails and job.args.text == "odd":
                raise RuntimeError("told to fail")

    worker = Failing()
    async with heard(pool, worker) as (working, events):
        await ended(events, 2)
    assert sorted(job.args.text for job in worker.ran) == ["even", "odd"]
    row = await stored(pool, odd.id)
    assert row.attempted_by[-1] == working.id
    assert len(row.attempted_by) <= 100
    if not fails:
        assert row.state is JobState.COMPLETED


@pytest.mark.parametrize("schema", ["River_2", "s" * 46])
async def test_a_client_works_in_a_schema_of_its_own(pool: asyncpg.Pool, schema: str) -> None:
    async with pool.acquire() as connection:
        await connection.execute(f'CREATE SCHEMA "{schema}"')
        await Migrator(connection, schema=schema).migrate_up()
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    try:
        worker = NoteWorker()
        async with (
            started(pool, worker, schema=schema, id="named") as client,
            client.subscribe() as events,
        ):
            first = await client.insert(NoteArgs(), opts)
            assert (await client.insert(NoteArgs(), opts)).job.id == first.job.id
            await ended(events)
            assert await client.insert_many_fast([NoteArgs(text="copied")]) == 1
            await ended(events)
            await client.queue_pause("default")
            await ended(events)
            third = (await client.insert(NoteArgs(text="third"))).job
            assert (await client.job_cancel(third.id)).state is JobState.CANCELLED
            assert (await client.job_retry(third.id)).state is JobState.AVAILABLE
            assert (await client.job_delete(third.id)).id == third.id
            assert [queue.name for queue in await client.queue_list()] == ["default"]
            assert len((await client.job_list()).jobs) == 2
        assert await pool.fetchval("SELECT count(*) FROM public.river_job") == 0
        assert await pool.fetchval("SELECT count(*) FROM public.river_queue") == 0
    finally:
        await pool.execute(f'DROP SCHEMA "{schema}" CASCADE')


async def test_a_notification_of_another_schema_wakes_nobody(pool: asyncpg.Pool) -> None:
    client = Client(pool, Config(schema="elsewhere"))
    with pytest.raises(asyncpg.UndefinedTableError):
        await client.insert(NoteArgs())
