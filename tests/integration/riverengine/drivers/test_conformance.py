"""One suite for every library: what a caller sees and what is stored are the same on all."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import asyncpg
import pytest
from sqlalchemy.exc import DataError

from riverengine import (
    Client,
    Completed,
    Config,
    ConfigError,
    DuplicateInBatchError,
    Failed,
    InsertError,
    InsertManyParams,
    InsertOpts,
    Job,
    JobCancelManyParams,
    JobDeleteManyParams,
    JobListOrderBy,
    JobListParams,
    JobNotFoundError,
    JobRetryManyParams,
    JobRunningError,
    JobState,
    Migrator,
    Queue,
    QueueNotFoundError,
    SyncClient,
    UniqueConflictError,
    UniqueOpts,
)
from riverengine.client.insert_client import InsertClient
from riverengine.drivers.recognise import async_executor
from riverengine.queries.conflicts import sqlstate_of
from tests.integration.riverengine.drivers.libraries import Library
from tests.integration.riverengine.working import NoteArgs, stored

NASTY = "100% %s %(p1)s %% $1 $tag$ :name ? '' \"quoted\" \\ {a,b} NULL ☃ é \u2028 \n\t"
BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))
RICH = InsertOpts(
    queue="rich",
    priority=3,
    max_attempts=7,
    scheduled_at=datetime(2031, 2, 3, 4, 5, 6, 789012, timezone(timedelta(hours=5, minutes=30))),
    tags=("one", "two-tags", "NULL"),
    metadata={"text": NASTY, "none": None, "list": [1, 2.5, {"deep": True}]},
    unique_opts=UniqueOpts(by_args=True, by_queue=True),
)


@dataclass(frozen=True)
class OddKindArgs:
    """A kind no client with workers would accept, but one that only inserts does."""

    kind: ClassVar[str] = "odd\tkind\\N\n%s"


def same(found: Any, expected: Any) -> None:
    """Equal to the last byte: zones, types and all."""
    assert found == expected
    assert repr(found) == repr(expected)


async def count(pool: asyncpg.Pool) -> int:
    number: int = await pool.fetchval("SELECT count(*) FROM river_job")
    return number


async def test_an_inserted_job_is_the_stored_one(library: Library, pool: asyncpg.Pool) -> None:
    client = library.client()
    async with library.transaction() as tx:
        plain = await library.do(client.insert, NoteArgs(text=NASTY), tx=tx)
        rich = await library.do(client.insert, NoteArgs(text=NASTY), RICH, tx=tx)
        await library.do(library.commit, tx)
    for result in (plain, rich):
        assert not result.unique_skipped_as_duplicate
        assert result.job.args == {"text": NASTY}
        same(result.job, await stored(pool, result.job.id))
    assert rich.job.metadata == RICH.metadata
    assert rich.job.tags == RICH.tags
    assert rich.job.unique_states is not None
    assert JobState.SCHEDULED in rich.job.unique_states
    assert (rich.job.state, rich.job.scheduled_at) == (JobState.SCHEDULED, RICH.scheduled_at)


async def test_what_is_stored_is_what_asyncpg_stores(library: Library, pool: asyncpg.Pool) -> None:
    jobs = [NoteArgs(), InsertManyParams(NoteArgs(text=NASTY), RICH), OddKindArgs()]
    columns = (
        "SELECT args::text, kind, max_attempts, metadata::text, priority, queue, state, tags,"
        " unique_key, unique_states, scheduled_at = created_at AS at_once, errors, attempted_by"
        " FROM river_job ORDER BY id"
    )
    await Client(pool).insert_many(jobs)
    expected = await pool.fetch(columns)
    for method in ("insert_many", "insert_many_fast"):
        await pool.execute("DELETE FROM river_job")
        await library.do(getattr(library.client(), method), jobs)
        assert await pool.fetch(columns) == expected, method


async def test_a_batch_keeps_its_order_and_tells_duplicates(
    library: Library, pool: asyncpg.Pool
) -> None:
    client = library.client()
    held = await library.do(client.insert, NoteArgs(text="7"), BY_ARGS)
    async with library.transaction() as tx:
        results = await library.do(
            client.insert_many,
            [InsertManyParams(NoteArgs(text=str(number)), BY_ARGS) for number in range(300)],
            tx=tx,
        )
        await library.do(library.commit, tx)
    assert [result.job.args["text"] for result in results] == [str(n) for n in range(300)]
    flagged = [n for n, result in enumerate(results) if result.unique_skipped_as_duplicate]
    assert flagged == [7]
    same(results[7].job, held.job)
    assert await count(pool) == 300


@pytest.mark.parametrize("commit", [True, False])
async def test_the_caller_s_transaction_decides(
    library: Library, pool: asyncpg.Pool, commit: bool
) -> None:
    client = library.client()
    async with library.transaction() as tx:
        await library.do(library.statement, tx, "INSERT INTO caller_row VALUES (1)")
        await library.do(client.insert, NoteArgs(), tx=tx)
        await library.do(client.insert_many, [NoteArgs(), NoteArgs()], tx=tx)
        assert await library.do(client.insert_many_fast, [NoteArgs()], tx=tx) == 1
        assert await count(pool) == 0
        await library.do(library.commit if commit else library.rollback, tx)
    assert await count(pool) == (4 if commit else 0)
    assert await pool.fetchval("SELECT count(*) FROM caller_row") == (1 if commit else 0)


async def test_a_fresh_transaction_s_first_statement_is_in_it(
    library: Library, pool: asyncpg.Pool
) -> None:
    """SQLAlchemy begins lazily: what bypasses its own API survives the rollback."""
    client = library.client()
    async with library.transaction() as tx:
        await library.do(client.insert, NoteArgs(), tx=tx)
        await library.do(library.rollback, tx)
    assert await count(pool) == 0


async def test_an_error_aborts_the_caller_s_transaction(
    library: Library, pool: asyncpg.Pool
) -> None:
    """River makes no savepoint."""
    client = library.client()
    async with library.transaction() as tx:
        await library.do(library.statement, tx, "INSERT INTO caller_row VALUES (1)")
        with pytest.raises(DuplicateInBatchError) as refused:
            await library.do(client.insert_many, [InsertManyParams(NoteArgs(), BY_ARGS)] * 2, tx=tx)
        assert refused.value.__cause__ is not None
        assert sqlstate_of(refused.value.__cause__) == "21000"
        with pytest.raises(Exception, match="aborted") as aborted:
            await library.do(client.job_get, 1, tx=tx)
        assert sqlstate_of(aborted.value) == "25P02"
        await library.do(library.rollback, tx)
        await library.do(client.insert, NoteArgs(), tx=tx)
        await library.do(library.commit, tx)
    assert await count(pool) == 1
    assert await pool.fetchval("SELECT count(*) FROM caller_row") == 0


async def test_conflicts_have_the_same_errors(library: Library, pool: asyncpg.Pool) -> None:
    client = library.client()
    first = await library.do(client.insert, NoteArgs(), BY_ARGS)
    for jobs in (
        [NoteArgs(text="new"), InsertManyParams(NoteArgs(), BY_ARGS)],
        [InsertManyParams(NoteArgs(text="twice"), BY_ARGS)] * 2,
    ):
        with pytest.raises(UniqueConflictError):
            await library.do(client.insert_many_fast, jobs)
    with pytest.raises(DuplicateInBatchError):
        await library.do(
            client.insert_many, [InsertManyParams(NoteArgs(text="twice"), BY_ARGS)] * 2
        )
    await library.do(client.job_cancel, first.job.id)
    await library.do(client.insert, NoteArgs(), BY_ARGS)
    with pytest.raises(UniqueConflictError):
        await library.do(client.job_retry, first.job.id)
    assert await count(pool) == 2


async def test_a_refused_job_runs_no_statement(library: Library, pool: asyncpg.Pool) -> None:
    client = library.client()
    async with library.transaction() as tx:
        await library.do(library.statement, tx, "INSERT INTO caller_row VALUES (1)")
        with pytest.raises(InsertError, match="no jobs to insert"):
            await library.do(client.insert_many, [], tx=tx)
        with pytest.raises(InsertError, match="priority"):
            await library.do(client.insert, NoteArgs(), InsertOpts(priority=5), tx=tx)
        await library.do(library.commit, tx)
    assert await pool.fetchval("SELECT count(*) FROM caller_row") == 1


async def test_jobs_are_announced_on_commit_only_and_once_per_queue(
    library: Library, heard: asyncio.Queue[str]
) -> None:
    client = library.client(Config(fetch_cooldown=timedelta(seconds=1)))
    queues = ["default", "other", "default"]
    jobs = [InsertManyParams(NoteArgs(), InsertOpts(queue=queue)) for queue in queues]
    async with library.transaction() as tx:
        await library.do(client.insert, NoteArgs(), InsertOpts(queue="rolled_back"), tx=tx)
        await library.do(library.rollback, tx)
    async with library.transaction() as tx:
        await library.do(client.insert_many, jobs, tx=tx)
        await library.do(client.insert, NoteArgs(), tx=tx)
        await library.do(
            client.insert_many_fast,
            [InsertManyParams(NoteArgs(), InsertOpts(queue="fast"))],
            tx=tx,
        )
        await library.do(client.insert, NoteArgs(), InsertOpts(queue="waits", pending=True), tx=tx)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heard.get(), 0.1)
        await library.do(library.commit, tx)
    found = [await asyncio.wait_for(heard.get(), 20) for _ in range(3)]
    assert found == ['{"queue": "default"}', '{"queue": "other"}', '{"queue": "fast"}']
    assert heard.empty()


async def test_own_transactions_commit_or_leave_nothing(
    library: Library, pool: asyncpg.Pool, heard: asyncio.Queue[str]
) -> None:
    client = library.client()
    result = await library.do(client.insert, NoteArgs())
    same(result.job, await stored(pool, result.job.id))
    assert await asyncio.wait_for(heard.get(), 20) == '{"queue": "default"}'
    with pytest.raises(DuplicateInBatchError):
        await library.do(client.insert_many, [InsertManyParams(NoteArgs(), BY_ARGS)] * 2)
    assert await library.do(client.insert_many_fast, [NoteArgs()] * 3) == 3
    assert await count(pool) == 4


async def old_job(pool: asyncpg.Pool, library: Library, state: JobState, **columns: Any) -> int:
    """A job with history: errors, odd ones too, attempts, times and an output."""
    result = await library.do(library.client().insert, NoteArgs(text=NASTY), RICH)
    await pool.execute(
        "UPDATE river_job SET state = $2::text::river_job_state, attempt = 2,"
        " attempted_at = now() - interval '1 hour', attempted_by = array['a','b'],"
        " finalized_at = CASE WHEN $3::boolean THEN now() END, unique_key = NULL,"
        ' metadata = metadata || \'{"output": [1, null, "x"]}\','
        " errors = array[$4::text::jsonb, $5::text::jsonb] WHERE id = $1",
        *(result.job.id, state.value, state.is_final),
        '{"at": "2026-11-24T02:26:58.24605242-05:00", "attempt": 1, "error": "é \\"q\\"",'
        ' "trace": "a\\nb"}',
        '["odd", {"shape": 1}]',
    )
    for name, value in columns.items():
        await pool.execute(f"UPDATE river_job SET {name} = $2 WHERE id = $1", result.job.id, value)
    return int(result.job.id)


@pytest.mark.parametrize("own", [True, False], ids=["own transaction", "caller's"])
async def test_administering_jobs(library: Library, pool: asyncpg.Pool, own: bool) -> None:
    client = library.client()

    async def call(method: str, *args: Any, **named: Any) -> Any:
        if own:
            return await library.do(getattr(client, method), *args, **named)
        async with library.transaction() as tx:
            result = await library.do(getattr(client, method), *args, **named, tx=tx)
            await library.do(library.commit, tx)
            return result

    for method in ("job_get", "job_cancel", "job_retry"):
        for state in JobState:
            job_id = await old_job(pool, library, state)
            same(await call(method, job_id), await stored(pool, job_id))
    cancelled = await old_job(pool, library, JobState.AVAILABLE)
    assert (await call("job_cancel", cancelled)).state is JobState.CANCELLED
    assert (await call("job_retry", cancelled)).state is JobState.AVAILABLE
    before = await stored(pool, cancelled)
    same(await call("job_delete", cancelled), before)
    with pytest.raises(JobNotFoundError):
        await call("job_get", cancelled)
    running = await old_job(pool, library, JobState.RUNNING)
    with pytest.raises(JobRunningError):
        await call("job_delete", running)
    updated = await call("job_update", running, output={"answer": NASTY})
    assert updated.output == {"answer": NASTY}
    same(updated, await stored(pool, running))
    for method in ("job_cancel", "job_retry", "job_delete"):
        with pytest.raises(JobNotFoundError):
            await call(method, 4711)


async def test_listing_jobs(library: Library, pool: asyncpg.Pool) -> None:
    client = library.client()
    ids = [await old_job(pool, library, state) for state in JobState]
    rows = [await stored(pool, job_id) for job_id in ids]
    same((await library.do(client.job_list)).jobs, rows)
    filters = JobListParams(
        ids=ids,
        kinds=["note"],
        queues=["rich", "other"],
        states=[JobState.RUNNING, JobState.COMPLETED],
        priorities=[3],
        tags_all=[],
        metadata={"text": NASTY},
        order_by=JobListOrderBy.SCHEDULED_AT,
        limit=5,
    ).where("metadata->>'text' = @text::text AND args::text LIKE '%'", text=NASTY)
    async with library.transaction() as tx:
        found = await library.do(client.job_list, filters, tx=tx)
        nothing = await library.do(client.job_list, JobListParams(kinds=[]), tx=tx)
        assert await library.do(client.job_count, filters, tx=tx) == 2
        counts = await library.do(client.job_count_by_state, tx=tx)
        kinds = await library.do(client.job_kind_list, match="NO", tx=tx)
        (stats,) = await library.do(client.queue_stats, ["rich"], at_most=100, tx=tx)
        (by_queue,) = await library.do(client.job_count_by_queue_and_state, ["rich"], tx=tx)
    assert nothing.jobs == []
    assert counts == dict.fromkeys(JobState, 1)
    assert kinds == ["note"]
    assert (stats.count_running, stats.count_later, stats.paused_at) == (1, 2, None)
    assert (by_queue.count_available, by_queue.count_running) == (1, 1)
    expected = [row for row in rows if row.state in (JobState.RUNNING, JobState.COMPLETED)]
    same(found.jobs, sorted(expected, key=lambda row: (row.scheduled_at, row.id)))


async def test_changing_many_jobs(library: Library, pool: asyncpg.Pool) -> None:
    client = library.client()
    for state in JobState:
        await old_job(pool, library, state)
    async with library.transaction() as tx:
        cancelled = await library.do(
            client.job_cancel_many, JobCancelManyParams(kinds=["note"]), tx=tx
        )
        retried = await library.do(
            client.job_retry_many, JobRetryManyParams(states=[JobState.DISCARDED]), tx=tx
        )
        await library.do(library.commit, tx)
    for row in (*cancelled.jobs, *retried.jobs):
        same(row, await stored(pool, row.id))
    assert (len(cancelled.jobs), len(retried.jobs)) == (5, 1)
    params = JobDeleteManyParams(kinds=["note"]).where("state <> 'completed'")
    deleted = await library.do(client.job_delete_many, params)
    assert len(deleted.jobs) == 6
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 2


async def test_cancelling_is_told_with_go_s_bytes(
    library: Library, pool: asyncpg.Pool, heard: asyncio.Queue[str]
) -> None:
    job_id = await old_job(pool, library, JobState.RUNNING)
    async with library.transaction() as tx:
        await library.do(library.client().job_cancel, job_id, tx=tx)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heard.get(), 0.1)
        await library.do(library.commit, tx)
    payload = await asyncio.wait_for(heard.get(), 20)
    assert payload == f'{{"action" : "cancel", "job_id" : {job_id}, "queue" : "rich"}}'


async def test_administering_queues(
    library: Library, pool: asyncpg.Pool, heard: asyncio.Queue[str]
) -> None:
    client = library.client()
    await pool.execute("INSERT INTO river_queue (name) VALUES ('a'), ('b')")
    assert await library.do(client.queue_name_list, exclude=["b"]) == ["a"]

    async def row(name: str) -> Queue:
        found = await pool.fetchrow("SELECT * FROM river_queue WHERE name = $1", name)
        return Queue(
            name=found["name"],
            created_at=found["created_at"],
            updated_at=found["updated_at"],
            paused_at=found["paused_at"],
            metadata_json=found["metadata"],
        )

    async with library.transaction() as tx:
        await library.do(client.queue_pause, "a", tx=tx)
        await library.do(library.commit, tx)
    paused = await library.do(client.queue_get, "a")
    assert paused.paused_at is not None
    same(paused, await row("a"))
    await library.do(client.queue_resume, "*")
    updated = await library.do(client.queue_update, "b", metadata={"text": NASTY})
    assert updated.metadata == {"text": NASTY}
    same(await library.do(client.queue_list), [await row("a"), await row("b")])
    found = [await asyncio.wait_for(heard.get(), 20) for _ in range(3)]
    assert found[:2] == ['{"action":"pause","queue":"a"}', '{"action":"resume","queue":"*"}']
    assert found[2].startswith('{"action":"metadata_changed","metadata":{"text":"100%')
    for method in ("queue_get", "queue_pause", "queue_resume", "queue_update"):
        with pytest.raises(QueueNotFoundError):
            await library.do(getattr(client, method), "nowhere")


async def test_infinite_times_are_read(library: Library, pool: asyncpg.Pool) -> None:
    job_id = await old_job(pool, library, JobState.AVAILABLE)
    await pool.execute("UPDATE river_job SET scheduled_at = 'infinity' WHERE id = $1", job_id)
    if library.name.startswith("sqlalchemy-psycopg-"):
        # SQLAlchemy offers no way to read them otherwise than psycopg does: documented.
        with pytest.raises(DataError):
            await library.do(library.client().job_get, job_id)
        return
    found = await library.do(library.client().job_get, job_id)
    same(found, await stored(pool, job_id))
    assert found.scheduled_at == datetime.max.replace(tzinfo=UTC)


@pytest.fixture
async def schema(pool: asyncpg.Pool) -> AsyncIterator[str]:
    async with pool.acquire() as connection:
        await connection.execute('CREATE SCHEMA "Elsewhere"')
        await Migrator(connection, schema="Elsewhere").migrate_up()
    yield "Elsewhere"
    await pool.execute('DROP SCHEMA "Elsewhere" CASCADE')


async def test_a_schema_of_its_own(library: Library, pool: asyncpg.Pool, schema: str) -> None:
    client = library.client(Config(schema=schema))
    result = await library.do(client.insert, NoteArgs(), RICH)
    await library.do(client.insert_many_fast, [NoteArgs()])
    same(await library.do(client.job_get, result.job.id), result.job)
    assert await pool.fetchval('SELECT count(*) FROM "Elsewhere".river_job') == 2
    assert await count(pool) == 0


async def test_without_a_source_a_transaction_must_be_given(
    library: Library, pool: asyncpg.Pool
) -> None:
    client: Any = SyncClient() if library.is_sync else InsertClient()
    with pytest.raises(ConfigError, match="source"):
        await library.do(client.insert, NoteArgs())
    with pytest.raises(ConfigError, match="source"):
        await library.do(client.job_get, 1)
    async with library.transaction() as tx:
        await library.do(client.insert, NoteArgs(), tx=tx)
        await library.do(library.commit, tx)
    assert await count(pool) == 1


async def test_finishing_a_job_in_the_caller_s_transaction(
    library: Library, pool: asyncpg.Pool
) -> None:
    if library.is_sync:
        assert not hasattr(SyncClient, "job_finish_tx")
        return
    client = Client(pool)
    for outcome, state in ((Completed(), "completed"), (Failed(ValueError("no")), "available")):
        job_id = await old_job(pool, library, JobState.RUNNING)
        job = Job(await stored(pool, job_id), NoteArgs())
        async with library.transaction() as tx:
            found = await client.job_finish_tx(tx, job, outcome, metadata={"text": NASTY})
            assert (await stored(pool, job_id)).state is JobState.RUNNING
            await library.do(library.commit, tx)
        assert found.state in (state, "retryable")
        same(found, await stored(pool, job_id))


async def test_a_statement_s_time_is_limited(library: Library) -> None:
    if library.is_sync:
        # Nothing can interrupt a synchronous library: its client has no such parameter.
        assert "timeout" not in inspect.signature(SyncClient.job_list).parameters
        return
    async with library.transaction() as tx:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await async_executor(tx).fetch("SELECT pg_sleep(30)", timeout=0.1)
        assert asyncio.get_running_loop().time() - began < 15
