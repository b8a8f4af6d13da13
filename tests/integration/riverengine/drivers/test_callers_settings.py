"""What callers set on their own connections changes neither what is stored nor what is read."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from riverengine import (
    Client,
    DuplicateInBatchError,
    InsertClient,
    InsertManyParams,
    InsertOpts,
    Job,
    JobState,
    SyncClient,
    UniqueOpts,
    record_output,
)
from tests.integration.riverengine.drivers.libraries import in_dialect
from tests.integration.riverengine.working import NoteArgs, NoteWorker, ended, started, stored

OPTS = InsertOpts(metadata={"a": ["b"]}, unique_opts=UniqueOpts(by_args=True), tags=("tag",))
JOBS = [InsertManyParams(NoteArgs(text="x"), OPTS)]


@pytest.fixture
async def with_codecs(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that decodes JSON, as asyncpg's own documentation shows."""
    connection = await asyncpg.connect(database_url)
    await set_codecs(connection)
    yield connection
    await connection.close()


async def set_codecs(connection: asyncpg.Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
        )


async def test_an_asyncpg_connection_with_json_codecs(
    pool: asyncpg.Pool, with_codecs: asyncpg.Connection
) -> None:
    client = Client(pool)
    await pool.execute("INSERT INTO river_queue (name) VALUES ('a')")
    async with with_codecs.transaction():
        job = (await client.insert_many(JOBS, tx=with_codecs))[0].job
        assert (job.args, job.metadata) == ({"text": "x"}, {"a": ["b"]})
        assert await client.job_get(job.id, tx=with_codecs) == job
        assert (await client.job_list(tx=with_codecs)).jobs == [job]
    assert job == await stored(pool, job.id)
    async with with_codecs.transaction():
        cancelled = await client.job_cancel(job.id, tx=with_codecs)
        updated = await client.job_update(job.id, output={"answer": 42}, tx=with_codecs)
        queue = await client.queue_update("a", metadata={"k": 1}, tx=with_codecs)
    assert cancelled.metadata["a"] == ["b"]
    assert updated.output == {"answer": 42}
    assert updated == await stored(pool, job.id)
    assert queue == await client.queue_get("a")
    assert queue.metadata == {"k": 1}


async def test_a_fast_insert_on_an_asyncpg_connection_with_json_codecs(
    pool: asyncpg.Pool, with_codecs: asyncpg.Connection
) -> None:
    client = Client(pool)
    async with with_codecs.transaction():
        assert await client.insert_many_fast([*JOBS, NoteArgs()], tx=with_codecs) == 2
    (first, second) = (await client.job_list()).jobs
    assert (first.args, first.metadata) == ({"text": "x"}, {"a": ["b"]})
    assert second.args == {"text": ""}


async def test_a_pool_with_json_codecs_works_jobs(database_url: str) -> None:
    async def fail_once(job: Job[NoteArgs]) -> None:
        record_output({"said": job.args.text})
        if job.row.attempt == 1:
            raise ValueError("once")

    async with asyncpg.create_pool(database_url, init=set_codecs) as pool:
        worker = NoteWorker(fail_once)
        async with started(pool, worker) as client, client.subscribe() as events:
            job = (await client.insert(NoteArgs(text="x"), OPTS)).job
            await ended(events, 2)
            row = await client.job_get(job.id)
    assert [ran.args.text for ran in worker.ran] == ["x", "x"]
    assert (row.state, row.output) == (JobState.COMPLETED, {"said": "x"})
    assert row.metadata["a"] == ["b"]
    assert [error.error for error in row.errors] == ["ValueError: once"]


def with_json_of_its_own(connection: Any) -> None:
    set_json_loads(lambda text: ("decoded", text), connection)
    set_json_dumps(lambda value: "never", connection)


async def test_a_psycopg_connection_with_adapters_and_a_row_factory(
    pool: asyncpg.Pool, database_url: str
) -> None:
    client = SyncClient()
    with psycopg.connect(database_url, row_factory=dict_row, autocommit=True) as connection:
        with_json_of_its_own(connection)
        with connection.transaction():
            job = client.insert_many(JOBS, tx=connection)[0].job
            assert client.insert_many_fast([NoteArgs()], tx=connection) == 1
            assert client.job_get(job.id, tx=connection) == job
        # The caller's own cursors read as they did before.
        found = connection.execute("SELECT '[1]'::jsonb AS x, now() AS at").fetchone()
        assert found is not None
        assert found["x"] == ("decoded", b"[1]")
    assert job == await stored(pool, job.id)
    assert await Client(pool).job_count() == 2


@pytest.mark.parametrize("dialect", ["postgresql+asyncpg", "postgresql+psycopg"])
async def test_an_engine_with_json_functions_of_its_own(
    pool: asyncpg.Pool, database_url: str, dialect: str
) -> None:
    engine = create_async_engine(
        in_dialect(database_url, dialect),
        poolclass=NullPool,
        json_serializer=lambda value: "never",
        json_deserializer=lambda text: "never",
    )
    client = InsertClient(engine)
    async with AsyncSession(engine) as session, session.begin():
        job = (await client.insert_many(JOBS, tx=session))[0].job
        assert await client.insert_many_fast([NoteArgs()], tx=session) == 1
    assert job == await stored(pool, job.id)
    assert await client.job_get(job.id) == job
    await engine.dispose()


async def test_a_psycopg_pipeline(pool: asyncpg.Pool, database_url: str) -> None:
    connecting = psycopg.AsyncConnection.connect(database_url)
    async with await connecting as connection, connection.pipeline():
        await connection.execute("SELECT 1")
        first = (await Client(pool).insert(NoteArgs(text="one"), tx=connection)).job
        await Client(pool).job_cancel(first.id, tx=connection)
    with psycopg.connect(database_url) as sync, sync.pipeline():
        second = SyncClient().insert(NoteArgs(text="two"), tx=sync).job
    assert (await stored(pool, first.id)).state is JobState.CANCELLED
    assert second == await stored(pool, second.id)


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
async def test_another_client_encoding(
    pool: asyncpg.Pool, database_url: str, encoding: str
) -> None:
    with psycopg.connect(database_url, client_encoding=encoding) as connection:
        client = SyncClient()
        plain = client.insert(NoteArgs(text="é"), tx=connection).job
        client.insert_many_fast([NoteArgs(text="é☃")], tx=connection)
    assert plain == await stored(pool, plain.id)
    fast = (await Client(pool).job_list()).jobs[-1]
    assert fast.args == {"text": "é☃"}


@pytest.mark.parametrize("dialect", ["postgresql+psycopg", "postgresql+asyncpg"])
async def test_errors_quote_no_args(pool: asyncpg.Pool, database_url: str, dialect: str) -> None:
    """SQLAlchemy prints a failed statement's arguments, unless it is told not to."""
    secret = InsertManyParams(NoteArgs(text="a-private-value"), OPTS)
    engine = create_async_engine(in_dialect(database_url, dialect), poolclass=NullPool)
    client = InsertClient(engine)
    async with AsyncSession(engine) as session:
        with pytest.raises(DuplicateInBatchError) as duplicate:
            await client.insert_many([secret, secret], tx=session)
        with pytest.raises(sqlalchemy.exc.DBAPIError) as aborted:
            await client.insert_many([secret], tx=session)
    for error in (duplicate.value, aborted.value):
        told = "".join(traceback.format_exception(error))
        assert "a-private-value" not in told
    assert "25P02" in told or "aborted" in told
    await engine.dispose()


async def test_text_dates_of_another_style(pool: asyncpg.Pool, database_url: str) -> None:
    at = datetime(2031, 2, 3, 4, 5, 6, 7, UTC)
    with psycopg.connect(database_url, options="-c timezone=Asia/Kathmandu") as connection:
        job = SyncClient().insert(NoteArgs(), InsertOpts(scheduled_at=at), tx=connection).job
    assert job.scheduled_at == at
    assert job.scheduled_at.tzinfo is UTC
