"""A connection that breaks around COMMIT: the caller can tell what may have happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from riverengine import AmbiguousCommitError
from riverengine.queries.conflicts import sqlstate_of
from tests.integration.riverengine.drivers.libraries import LIBRARIES, Library
from tests.integration.riverengine.working import NoteArgs
from tests.tcp_proxy import TcpProxy


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(database_url) as proxy:
        yield proxy


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
async def distant(request: pytest.FixtureRequest, proxy: TcpProxy) -> AsyncIterator[Library]:
    """A library that reaches the database through the proxy."""
    async with asyncpg.create_pool(proxy.url, min_size=0) as through:
        made: Library = request.param(proxy.url, through)
        yield made
        await made.close()


async def count(pool: asyncpg.Pool) -> int:
    number: int = await pool.fetchval("SELECT count(*) FROM river_job")
    return number


async def committed(pool: asyncpg.Pool) -> None:
    """Wait until the server, on its own now, has done what it was told."""
    async with asyncio.timeout(20):
        while True:
            if await count(pool):
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("delivered", [True, False], ids=["delivered", "not delivered"])
async def test_a_commit_without_an_answer_is_ambiguous(
    distant: Library, proxy: TcpProxy, pool: asyncpg.Pool, delivered: bool
) -> None:
    client = distant.client()
    proxy.cut_at(b"COMMIT", delivered=delivered)
    with pytest.raises(AmbiguousCommitError) as ambiguous:
        await distant.do(client.insert_many_fast, [NoteArgs()])
    assert ambiguous.value.__cause__ is not None
    assert proxy.cuts == 1
    if delivered:
        await committed(pool)
    assert await count(pool) == int(delivered)
    # The next call opens another connection.
    await distant.do(client.insert_many_fast, [NoteArgs()])
    assert await count(pool) == 1 + int(delivered)


async def test_a_connection_lost_before_the_commit_is_no_ambiguity(
    distant: Library, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    client = distant.client()
    proxy.cut_at(b"pg_notify", delivered=False)
    with pytest.raises(Exception, match=r".") as lost:
        await distant.do(client.insert_many_fast, [NoteArgs()])
    assert not isinstance(lost.value, AmbiguousCommitError)
    assert proxy.cuts == 1
    assert await count(pool) == 0


@pytest.fixture
async def refusing_commits(pool: asyncpg.Pool) -> AsyncIterator[None]:
    await pool.execute(
        "CREATE FUNCTION refuse_commit() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '23000'; END $$;"
        "CREATE CONSTRAINT TRIGGER refuse_commit AFTER INSERT ON river_job"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_commit()"
    )
    yield
    await pool.execute("DROP FUNCTION refuse_commit CASCADE")


@pytest.mark.usefixtures("refusing_commits")
async def test_a_refused_commit_is_no_ambiguity(library: Library, pool: asyncpg.Pool) -> None:
    with pytest.raises(Exception, match="not this one") as refused:
        await library.do(library.client().insert, NoteArgs())
    assert not isinstance(refused.value, AmbiguousCommitError)
    assert sqlstate_of(refused.value) == "23000"
    assert await count(pool) == 0
