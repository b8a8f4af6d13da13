"""What may be given as a transaction or a source, and what is refused."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from riverengine import (
    Client,
    Config,
    ConfigError,
    InsertClient,
    JobInsertMiddlewareFunc,
    OpenTransactionError,
    SyncClient,
    UnsupportedDriverError,
)
from riverengine.client.core import ClientCore
from riverengine.client.finish import FinishApi
from riverengine.client.insert_client import AdminClient
from riverengine.drivers import DriverExecutor, DriverRecord
from tests.integration.riverengine.drivers.libraries import in_dialect
from tests.integration.riverengine.working import NoteArgs


async def count(pool: asyncpg.Pool) -> int:
    number: int = await pool.fetchval("SELECT count(*) FROM river_job")
    return number


class OwnSession(Session):
    """A subclass, as applications and SQLModel have them."""


class OwnAsyncSession(AsyncSession):
    """A subclass."""


async def test_subclasses_and_scoped_sessions(pool: asyncpg.Pool, database_url: str) -> None:
    engine = sqlalchemy.create_engine(
        in_dialect(database_url, "postgresql+psycopg"), poolclass=NullPool
    )
    client = SyncClient()
    with OwnSession(engine) as session, session.begin():
        client.insert(NoteArgs(), tx=session)
    scoped = scoped_session(sessionmaker(engine))
    client.insert(NoteArgs(), tx=scoped)
    assert await count(pool) == 1
    scoped.commit()
    scoped.remove()
    assert await count(pool) == 2
    engine.dispose()


async def test_asynchronous_subclasses_and_scoped_sessions(
    pool: asyncpg.Pool, database_url: str
) -> None:
    engine = create_async_engine(in_dialect(database_url, "postgresql+asyncpg"), poolclass=NullPool)
    client = Client(pool)
    async with OwnAsyncSession(engine) as session, session.begin():
        await client.insert(NoteArgs(), tx=session)
    scoped = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    await client.insert(NoteArgs(), tx=scoped)
    assert await count(pool) == 1
    await scoped.commit()
    await scoped.remove()
    assert await count(pool) == 2
    await engine.dispose()


async def test_a_pool_s_connection_of_asyncpg(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await InsertClient().insert(NoteArgs(), tx=connection)
    assert await count(pool) == 1
    await InsertClient(pool).insert(NoteArgs())
    assert await count(pool) == 2


async def test_an_idle_connection_serves_as_source(pool: asyncpg.Pool, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        client = SyncClient(connection)
        client.insert(NoteArgs())
        assert await count(pool) == 1
        connection.execute("SELECT 1")
        # Inserting now would wait, unseen, for somebody else's commit.
        with pytest.raises(OpenTransactionError):
            client.insert(NoteArgs())
        client.insert(NoteArgs(), tx=connection)
        assert await count(pool) == 1
    assert await count(pool) == 2


@pytest.mark.parametrize("kind", [sqlalchemy.Connection, Session, scoped_session])
async def test_an_idle_sqlalchemy_connection_serves_as_source(
    pool: asyncpg.Pool, database_url: str, kind: type[Any]
) -> None:
    engine = sqlalchemy.create_engine(
        in_dialect(database_url, "postgresql+psycopg"), poolclass=NullPool
    )
    origin: Any = kind(sessionmaker(engine)) if kind is scoped_session else kind(engine)
    client = SyncClient(origin)
    client.insert(NoteArgs())
    assert await count(pool) == 1
    origin.execute(sqlalchemy.text("SELECT 1"))
    with pytest.raises(OpenTransactionError):
        client.insert(NoteArgs())
    origin.close()
    engine.dispose()


async def test_an_idle_asynchronous_session_serves_as_source(
    pool: asyncpg.Pool, database_url: str
) -> None:
    engine = create_async_engine(in_dialect(database_url, "postgresql+asyncpg"), poolclass=NullPool)
    async with AsyncSession(engine) as session:
        client = InsertClient(session)
        await client.insert(NoteArgs())
        assert await count(pool) == 1
        await session.execute(sqlalchemy.text("SELECT 1"))
        with pytest.raises(OpenTransactionError):
            await client.insert(NoteArgs())
    await engine.dispose()


async def test_session_makers_and_an_asynchronous_connection_serve_as_sources(
    pool: asyncpg.Pool, database_url: str
) -> None:
    engine = sqlalchemy.create_engine(
        in_dialect(database_url, "postgresql+psycopg"), poolclass=NullPool
    )
    SyncClient(sessionmaker(engine)).insert(NoteArgs())
    engine.dispose()
    async_engine = create_async_engine(
        in_dialect(database_url, "postgresql+asyncpg"), poolclass=NullPool
    )
    await InsertClient(async_sessionmaker(async_engine)).insert(NoteArgs())
    await async_engine.dispose()
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        client = InsertClient(connection)
        await client.insert(NoteArgs())
        assert await count(pool) == 3
        await connection.execute("SELECT 1")
        with pytest.raises(OpenTransactionError):
            await client.insert(NoteArgs())


async def test_a_url_is_no_source(database_url: str) -> None:
    with pytest.raises(UnsupportedDriverError, match=r"lambda: psycopg\.connect"):
        SyncClient(database_url)
    with pytest.raises(UnsupportedDriverError, match=r"lambda: psycopg\.connect"):
        SyncClient().insert(NoteArgs(), tx=database_url)


async def test_what_is_unknown_is_refused_by_name(pool: asyncpg.Pool, database_url: str) -> None:
    client: Any = Client(pool)
    sync: Any = SyncClient()
    with (
        psycopg.connect(database_url) as connection,
        pytest.raises(UnsupportedDriverError, match=r"psycopg\.Connection.*asynchronous"),
    ):
        await client.insert(NoteArgs(), tx=connection)
    async with pool.acquire() as connection:
        with pytest.raises(UnsupportedDriverError, match=r"asyncpg.*SyncClient"):
            sync.insert(NoteArgs(), tx=connection)
    for nonsense in (object(), 5, pool):
        with pytest.raises(UnsupportedDriverError) as refused:
            await client.insert(NoteArgs(), tx=nonsense)
        assert isinstance(refused.value, TypeError)
        with pytest.raises(UnsupportedDriverError):
            sync.insert(NoteArgs(), tx=nonsense)
    constructor: Any
    for constructor in (SyncClient, InsertClient):
        with pytest.raises(UnsupportedDriverError):
            constructor(object())
    assert await count(pool) == 0


async def test_another_dialect_is_refused() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with Session(engine) as session, pytest.raises(UnsupportedDriverError, match="sqlite"):
        SyncClient().insert(NoteArgs(), tx=session)
    engine.dispose()


class Forwarding(DriverExecutor):
    """An adapter of the user's own."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        rows = await self.connection.fetch(sql, *args)
        return [DriverRecord.of(dict(row)) for row in rows]


async def test_an_adapter_of_the_user_s_own(pool: asyncpg.Pool) -> None:
    client = Client(pool)
    async with pool.acquire() as connection:
        job = (await client.insert(NoteArgs(text="own"), tx=Forwarding(connection))).job
        assert await client.insert_many_fast([NoteArgs()], tx=Forwarding(connection)) == 1
    assert await client.job_get(job.id) == job


async def test_middleware_runs_in_the_synchronous_client_too(
    pool: asyncpg.Pool, database_url: str
) -> None:
    async def passing(plans: Any, next_: Any) -> Any:
        seen.append(len(plans))
        return await next_(plans)

    async def waiting(plans: Any, next_: Any) -> Any:
        results = await next_(plans)
        await asyncio.sleep(0)
        return results

    seen: list[int] = []
    with psycopg.connect(database_url) as connection:
        client = SyncClient(connection, Config(middleware=(JobInsertMiddlewareFunc(passing),)))
        client.insert_many([NoteArgs(), NoteArgs()])
        assert seen == [2]
        client = SyncClient(connection, Config(middleware=(JobInsertMiddlewareFunc(waiting),)))
        with pytest.raises(ConfigError, match="cannot wait"):
            client.insert(NoteArgs())
    # What such middleware had let through is rolled back.
    assert await count(pool) == 2


APIS = [base for base in AdminClient.__mro__ if base not in (AdminClient, ClientCore, object)]


@pytest.mark.parametrize("api", APIS)
def test_the_synchronous_client_has_every_method(api: type) -> None:
    internal = {"insert_plans", "notify_insert"}
    for name, method in vars(api).items():
        if name.startswith("_") or name in internal or not inspect.iscoroutinefunction(method):
            continue
        parameters = dict(inspect.signature(method).parameters)
        # A synchronous library cannot be interrupted.
        parameters.pop("timeout", None)
        twin = inspect.signature(getattr(SyncClient, name)).parameters
        assert list(twin) == list(parameters), name
        for parameter in set(parameters) - {"tx"}:
            assert twin[parameter] == parameters[parameter], (name, parameter)


@pytest.mark.parametrize("api", [*APIS, FinishApi])
def test_every_transaction_parameter_takes_every_driver(api: type) -> None:
    for name, method in vars(api).items():
        if inspect.isfunction(method) and "tx" in inspect.signature(method).parameters:
            given = inspect.signature(method).parameters["tx"].annotation
            assert given.startswith("AsyncTransaction"), name


def test_no_driver_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, riverengine;"
        "print(sorted({'psycopg', 'sqlalchemy', 'django', 'greenlet'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_threads_share_a_client(pool: asyncpg.Pool, database_url: str) -> None:
    engine = sqlalchemy.create_engine(
        in_dialect(database_url, "postgresql+psycopg"), pool_size=8, max_overflow=0
    )
    client = SyncClient(engine)

    def insert_many_times(thread: int) -> set[int]:
        found: set[int] = set()
        for number in range(25):
            with Session(engine) as session, session.begin():
                found.add(client.insert(NoteArgs(text=f"{thread}-{number}"), tx=session).job.id)
            found.add(client.insert(NoteArgs(text=f"{thread}-{number}-own")).job.id)
        return found

    ids = await asyncio.gather(*(asyncio.to_thread(insert_many_times, n) for n in range(8)))
    engine.dispose()
    assert len(set().union(*ids)) == 8 * 50
    assert await pool.fetchval("SELECT count(DISTINCT args ->> 'text') FROM river_job") == 8 * 50
