"""One outcome that cannot be written holds up neither the others nor the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from riverengine import JobState, QueueConfig
from riverengine.run import completer
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    heard,
    started,
    stored,
    wait_until,
)


@pytest.fixture
async def apart(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else's."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_a_job_locked_by_somebody_else_holds_up_no_other_outcome(
    pool: asyncpg.Pool, apart: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completer, "_TIMEOUT", 0.5)
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        assert client._completer is not None
        client._completer._retry_scale = 0.01
        rows = await client.insert_many([NoteArgs(text=text) for text in ("a", "locked", "b")])
        ids = [row.job.id for row in rows]
        for _ in rows:
            await gate.next()
        locking = apart.transaction()
        await locking.start()
        await apart.execute("SELECT FROM river_job WHERE id = $1 FOR UPDATE", ids[1])
        gate.opened.set()
        done = await ended(events, 2)
        assert {event.job.id for event in done if event.job} == {ids[0], ids[2]}
        assert (await stored(pool, ids[1])).state is JobState.RUNNING

        await locking.rollback()
        (last,) = await ended(events)
        assert last.job is not None
        assert last.job.id == ids[1]
    rows = await pool.fetch("SELECT state, attempt FROM river_job")
    assert {tuple(row) for row in rows} == {("completed", 1)}


@pytest.mark.parametrize("code", ["raise_exception", "program_limit_exceeded"])
async def test_an_outcome_that_can_never_be_stored_ends_the_tries(
    pool: asyncpg.Pool, code: str
) -> None:
    """A trigger's rule, or a value beyond PostgreSQL's limits."""
    await pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.state = 'completed' AND NEW.args ->> 'text' = 'poison' THEN"
        f" RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON river_job FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    gate = Gate()
    try:
        async with heard(pool, NoteWorker(gate), stop=False) as (client, events):
            texts = ["a", "poison", "b"]
            rows = await client.insert_many([NoteArgs(text=text) for text in texts])
            for _ in rows:
                await gate.next()
            gate.opened.set()
            await ended(events, 2)
            await client.stop(timeout=timedelta(seconds=20))
    finally:
        await pool.execute("DROP TRIGGER refuse ON river_job; DROP FUNCTION refuse")
    states = [(await stored(pool, row.job.id)).state for row in rows]
    assert states == [JobState.COMPLETED, JobState.RUNNING, JobState.COMPLETED]


async def test_a_stop_does_not_wait_for_a_pool_that_was_closed(database_url: str) -> None:
    gate = Gate()
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=5) as pool,
        started(pool, NoteWorker(gate), stop=False) as client,
    ):
        await client.insert(NoteArgs())
        await gate.next()
        pool.terminate()
        gate.opened.set()
        await client.stop(timeout=timedelta(seconds=30))
    assert not client.is_started


async def test_outcomes_that_waited_for_a_connection_are_written_together(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool in use by the jobs themselves says nothing about any outcome."""
    monkeypatch.setattr(completer, "_TIMEOUT", 0.3)
    gate = Gate()
    queues = {"default": QueueConfig(max_workers=50)}
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool,
        started(pool, NoteWorker(gate), queues=queues) as client,
    ):
        await client.insert_many([NoteArgs() for _ in range(50)])
        for _ in range(50):
            await gate.next()
        written = client._completer
        assert written is not None
        written._retry_scale = 0.01
        written.signal_written.arm()
        taken = [await pool.acquire() for _ in range(4)]
        gate.opened.set()
        await wait_until(lambda: written.errors > 1)
        monkeypatch.undo()  # what is written is written in time, on a busy machine too
        for connection in taken:
            await pool.release(connection)
        assert await written.signal_written.wait() == 50
