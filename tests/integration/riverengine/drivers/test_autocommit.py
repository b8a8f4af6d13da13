"""Connections that commit each statement by itself are no transactions, whichever library's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from riverengine import (
    Client,
    EventKind,
    InsertClient,
    Job,
    JobRow,
    NoTransactionError,
    SyncClient,
    Worker,
    job_complete_tx_sync,
    work_func,
)
from riverengine.compat import riverqueue
from riverengine.compat.riverqueue.driver import riversqlalchemy
from tests.integration.riverengine.drivers.libraries import configure_django, in_dialect
from tests.integration.riverengine.working import NoteArgs, ended, heard

SYNC_DIALECTS = [
    f"postgresql+{name}" for name in ("psycopg", "psycopg2") if find_spec(name) is not None
]
ASYNC_DIALECTS = ["postgresql+asyncpg", "postgresql+psycopg"]


@pytest.fixture
async def job(pool: asyncpg.Pool) -> AsyncIterator[JobRow]:
    """A job that nothing may change, and beside which none may appear."""
    inserted = (await Client(pool).insert(NoteArgs(text="before"))).job
    yield inserted
    assert (await Client(pool).job_list()).jobs == [inserted]


def refuse(tx: Any, job: JobRow, remedy: str) -> None:
    """Every kind of call of the synchronous client refuses the connection, before any SQL."""
    client = SyncClient()
    for call in (
        lambda: client.insert(NoteArgs(), tx=tx),
        lambda: client.insert_many([NoteArgs()], tx=tx),
        lambda: client.insert_many_fast([NoteArgs()], tx=tx),
        lambda: client.job_cancel(job.id, tx=tx),
        lambda: client.job_update(job.id, output=1, tx=tx),
        lambda: client.queue_pause("*", tx=tx),
        lambda: client.job_get(job.id, tx=tx),
    ):
        with pytest.raises(NoTransactionError) as refused:
            call()
        assert remedy in refused.value.remedy
        assert remedy in str(refused.value)


async def refuse_async(tx: Any, job: JobRow, remedy: str) -> None:
    """As :func:`refuse`, for the asynchronous clients."""
    client = InsertClient()
    for call in (
        client.insert(NoteArgs(), tx=tx),
        client.insert_many([NoteArgs()], tx=tx),
        client.insert_many_fast([NoteArgs()], tx=tx),
        client.job_cancel(job.id, tx=tx),
        client.job_update(job.id, output=1, tx=tx),
        client.queue_pause("*", tx=tx),
        client.job_get(job.id, tx=tx),
    ):
        with pytest.raises(NoTransactionError) as refused:
            await call
        assert remedy in refused.value.remedy


async def test_a_psycopg_connection(database_url: str, job: JobRow) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        refuse(connection, job, "`with connection.transaction()`")
        with connection.transaction(force_rollback=True):
            SyncClient().insert(NoteArgs(), tx=connection)
            with connection.transaction():
                SyncClient().job_cancel(job.id, tx=connection)
        connection.execute("BEGIN")
        SyncClient().insert(NoteArgs(), tx=connection)
        connection.execute("ROLLBACK")
    with psycopg.connect(database_url) as connection:
        SyncClient().insert(NoteArgs(), tx=connection)
        connection.rollback()


async def test_an_asynchronous_psycopg_connection(database_url: str, job: JobRow) -> None:
    connecting = psycopg.AsyncConnection.connect(database_url, autocommit=True)
    async with await connecting as connection:
        await refuse_async(connection, job, "`async with connection.transaction()`")
        async with connection.transaction(force_rollback=True):
            await InsertClient().insert(NoteArgs(), tx=connection)
            await InsertClient().job_cancel(job.id, tx=connection)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await InsertClient().insert(NoteArgs(), tx=connection)
        await connection.rollback()


@pytest.mark.parametrize("busy", [False, True])
async def test_a_psycopg_pipeline(database_url: str, job: JobRow, busy: bool) -> None:
    """What a pipeline sends is answered later, and with it whether a transaction is open."""
    with psycopg.connect(database_url, autocommit=True) as connection, connection.pipeline():
        if busy:
            connection.execute("SELECT 1")
        with pytest.raises(NoTransactionError):
            SyncClient().insert(NoteArgs(), tx=connection)
        with connection.transaction(force_rollback=True):
            SyncClient().insert(NoteArgs(), tx=connection)
            connection.execute("SELECT 1")
            SyncClient().job_cancel(job.id, tx=connection)
    connecting = psycopg.AsyncConnection.connect(database_url, autocommit=True)
    async with await connecting as opened, opened.pipeline():
        if busy:
            await opened.execute("SELECT 1")
        with pytest.raises(NoTransactionError):
            await InsertClient().insert(NoteArgs(), tx=opened)
        async with opened.transaction(force_rollback=True):
            await InsertClient().insert(NoteArgs(), tx=opened)
            await opened.execute("SELECT 1")
            await InsertClient().job_cancel(job.id, tx=opened)


@contextmanager
def engine_of(url: str, dialect: str, **options: Any) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(in_dialect(url, dialect), poolclass=NullPool, **options)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("kind", [sqlalchemy.Connection, Session])
@pytest.mark.parametrize("dialect", SYNC_DIALECTS)
async def test_sqlalchemy(database_url: str, job: JobRow, dialect: str, kind: Any) -> None:
    with engine_of(database_url, dialect, isolation_level="AUTOCOMMIT") as engine:
        with kind(engine) as origin:
            refuse(origin, job, "isolation_level")
        # SQLAlchemy's begin() is none in this mode.
        with kind(engine) as origin, origin.begin():
            refuse(origin, job, "isolation_level")
    with engine_of(database_url, dialect) as engine:
        with kind(engine.execution_options(isolation_level="AUTOCOMMIT")) as origin:
            refuse(origin, job, "isolation_level")
        with kind(engine) as origin:
            SyncClient().insert(NoteArgs(), tx=origin)
            origin.rollback()
        with kind(engine.execution_options(isolation_level="SERIALIZABLE")) as origin:
            SyncClient().insert(NoteArgs(), tx=origin)
            origin.rollback()


async def test_an_option_of_a_sqlalchemy_session(database_url: str, job: JobRow) -> None:
    with engine_of(database_url, "postgresql+psycopg") as engine, Session(engine) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        refuse(session, job, "isolation_level")


@pytest.mark.parametrize("dialect", ASYNC_DIALECTS)
async def test_asynchronous_sqlalchemy(database_url: str, job: JobRow, dialect: str) -> None:
    url = in_dialect(database_url, dialect)
    engine = create_async_engine(url, poolclass=NullPool)
    committing = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with AsyncSession(committing) as session, session.begin():
        await refuse_async(session, job, "isolation_level")
    async with committing.connect() as connection:
        await refuse_async(connection, job, "isolation_level")
    async with AsyncSession(engine) as session:
        await InsertClient().insert(NoteArgs(), tx=session)
        await session.rollback()
    async with engine.connect() as connection:
        await InsertClient().insert(NoteArgs(), tx=connection)
        await connection.rollback()
    await engine.dispose()


async def test_django(database_url: str, job: JobRow) -> None:
    configure_django(database_url)

    def run() -> None:
        from django.db import connection, transaction

        try:
            for tx in ("default", connection):
                refuse(tx, job, "`with transaction.atomic()`")
                with transaction.atomic():
                    SyncClient().insert(NoteArgs(), tx=tx)
                    transaction.set_rollback(True)
                transaction.set_autocommit(False)
                SyncClient().insert(NoteArgs(), tx=tx)
                transaction.rollback()
                transaction.set_autocommit(True)
        finally:
            connection.close()

    await asyncio.to_thread(run)


async def test_a_job_is_not_finished_beside_a_transaction(
    pool: asyncpg.Pool, database_url: str
) -> None:
    refused: list[NoTransactionError] = []

    def work(job: Job[NoteArgs]) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            try:
                job_complete_tx_sync(connection, job)
            except NoTransactionError as error:
                refused.append(error)
                raise

    worker: Worker[NoteArgs] = work_func(NoteArgs, work)
    async with heard(pool, worker) as (client, events):
        await client.insert(NoteArgs())
        [event] = await ended(events)
    assert event.kind is EventKind.JOB_FAILED
    assert len(refused) == 1


async def test_the_official_client_s_interface_takes_them_as_that_does(
    pool: asyncpg.Pool, database_url: str
) -> None:
    with engine_of(database_url, "postgresql+psycopg", isolation_level="AUTOCOMMIT") as engine:
        with engine.connect() as connection:
            on_it = riverqueue.Client(riversqlalchemy.Driver(connection))
            on_it.insert(NoteArgs())
            on_it.insert_tx(connection, NoteArgs())
            assert on_it.insert_many([NoteArgs()]) == 1
            assert on_it.insert_many_tx(connection, [NoteArgs()]) == 1
        riverqueue.Client(riversqlalchemy.Driver(engine)).insert(NoteArgs())
    url = in_dialect(database_url, "postgresql+asyncpg")
    async_engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with AsyncSession(async_engine) as session:
        client = riverqueue.AsyncClient(riversqlalchemy.AsyncDriver(session))
        await client.insert(NoteArgs())
        await client.insert_tx(session, NoteArgs())
        assert await client.insert_many([NoteArgs()]) == 1
        assert await client.insert_many_tx(session, [NoteArgs()]) == 1
    await async_engine.dispose()
    assert await Client(pool).job_count() == 9
