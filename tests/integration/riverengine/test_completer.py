"""One outcome that cannot be written holds up neither the others nor the stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from riverengine import Client, Job, JobState, QueueConfig
from riverengine.run import completer as completer_module
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import SystemClock
from riverengine.run.completer import Completer
from riverengine.run.refusals import TRIES
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
    monkeypatch.setattr(completer_module, "_TIMEOUT", 0.5)
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


@asynccontextmanager
async def refusing(pool: asyncpg.Pool, code: str, where: str) -> AsyncIterator[None]:
    """A trigger that refuses the completion of some jobs with a SQLSTATE."""
    await pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.state = 'completed' AND {where} THEN"
        f" RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON river_job FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        await pool.execute("DROP TRIGGER refuse ON river_job; DROP FUNCTION refuse")


POISON = "NEW.args ->> 'text' = 'poison'"
UNKNOWN = ["internal_error", "insufficient_privilege", "feature_not_supported"]
"""Errors of which nothing says whether they are a row's."""


class Stopped(SystemClock):
    """Its time stands still."""

    def monotonic(self) -> float:
        return 10_000.0


def completer_of(client: Client) -> Completer:
    """The completer of a started client, with short pauses."""
    assert client._completer is not None
    client._completer._retry_scale = 0.01
    return client._completer


@pytest.mark.parametrize("code", ["raise_exception", "program_limit_exceeded", *UNKNOWN])
async def test_an_outcome_that_can_never_be_stored_ends_the_tries(
    pool: asyncpg.Pool, code: str
) -> None:
    """A trigger's rule, a value beyond PostgreSQL's limits, or what nobody foresaw."""
    gate = Gate()
    async with (
        refusing(pool, code, POISON),
        heard(pool, NoteWorker(gate), stop=False) as (client, events),
    ):
        completer_of(client)
        texts = ["a", "poison", "b"]
        rows = await client.insert_many([NoteArgs(text=text) for text in texts])
        for _ in rows:
            await gate.next()
        gate.opened.set()
        await ended(events, 2)
        await client.stop()
    states = [(await stored(pool, row.job.id)).state for row in rows]
    assert states == [JobState.COMPLETED, JobState.RUNNING, JobState.COMPLETED]


async def test_an_outcome_refused_for_an_unknown_reason_is_given_up_while_others_are_written(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        refusing(pool, "internal_error", POISON),
        heard(pool, NoteWorker()) as (client, events),
    ):
        completer = completer_of(client)
        poison = (await client.insert(NoteArgs(text="poison"))).job
        await wait_until(lambda: completer.errors > 0)
        assert completer.pending == 1
        while not completer.refused:
            await client.insert(NoteArgs())
            await ended(events)
        assert completer.refused == {poison.id}
        assert completer.errors >= TRIES
        assert client.health.unwritten == 0
    assert [
        record.levelname for record in caplog.records if f"job {poison.id}" in record.message
    ] == ["WARNING", "ERROR"]
    assert (await stored(pool, poison.id)).state is JobState.RUNNING


async def test_nothing_is_gathered_while_the_refused_outcome_is_looked_for(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part of the batch would wait for a burst, and all other outcomes for the parts."""
    gate = Gate()
    async with (
        refusing(pool, "raise_exception", POISON),
        heard(pool, NoteWorker(gate)) as (
            client,
            events,
        ),
    ):
        await client.insert_many([NoteArgs(text=text) for text in ["poison", *"abcdefghi"]])
        for _ in range(10):
            await gate.next()
        monkeypatch.setattr(completer_module, "_GATHER", 3_600.0)
        completer_of(client)._clock = Stopped()
        gate.opened.set()
        await ended(events, 9)


async def test_where_nothing_can_be_written_no_outcome_is_blamed(pool: asyncpg.Pool) -> None:
    """A privilege or a column is missing for a while: the jobs are done, and must not run again."""
    gate = Gate()
    async with heard(pool, NoteWorker(gate)) as (client, events):
        async with refusing(pool, "insufficient_privilege", "true"):
            completer = completer_of(client)
            rows = await client.insert_many([NoteArgs() for _ in range(3)])
            for _ in rows:
                await gate.next()
            gate.opened.set()
            await wait_until(lambda: completer.errors > 4 * TRIES)
            assert completer.pending == 3
        await ended(events, 3)
        assert completer.refused == set()
    assert {(await stored(pool, row.job.id)).state for row in rows} == {JobState.COMPLETED}


async def test_a_stop_gives_up_where_nothing_can_be_written(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with (
        refusing(pool, "insufficient_privilege", "true"),
        started(pool, NoteWorker(gate), stop=False) as client,
    ):
        completer = completer_of(client)
        await client.insert_many([NoteArgs() for _ in range(3)])
        for _ in range(3):
            await gate.next()
        gate.opened.set()
        await client.stop()
        assert len(completer.refused) == 3
        assert (await client.job_count_by_state())[JobState.RUNNING] == 3


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
    monkeypatch.setattr(completer_module, "_TIMEOUT", 0.3)
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


class Crowded(BoundedPool):
    """Others take its only connection, once, between the two statements of a batch."""

    def __init__(self, pool: asyncpg.Pool, completer: Completer) -> None:
        super().__init__(pool)
        self.completer = completer
        self.was_crowded = False

    @asynccontextmanager
    async def statements(
        self, *, timeout: float | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        second = all(each.finish is not None for each in self.completer._being_written)
        taken = None
        if second and not self.was_crowded:
            self.was_crowded = True
            taken = await self._pool.acquire()
        try:
            async with super().statements(timeout=timeout) as connection:
                yield connection
        finally:
            if taken is not None:
                await self._pool.release(taken)


async def test_outcomes_that_wait_for_a_second_connection_stay_together(
    database_url: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Completed jobs and others are two statements: the pool may have room for one only."""
    monkeypatch.setattr(completer_module, "_TIMEOUT", 0.3)
    gate = Gate()

    async def work(job: Job[NoteArgs]) -> None:
        await gate(job)
        if job.args.text:
            raise RuntimeError

    queues = {"default": QueueConfig(max_workers=20)}
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=1) as narrow,
        started(pool, NoteWorker(work), queues=queues) as client,
    ):
        completer = completer_of(client)
        crowded = completer._pool = Crowded(narrow, completer)
        completer.signal_written.arm()
        await client.insert_many([NoteArgs(text="fails" * (n % 2)) for n in range(20)])
        for _ in range(20):
            await gate.next()
        taken = await narrow.acquire()
        gate.opened.set()
        await wait_until(lambda: completer.pending == 20)
        failed = completer.errors
        await wait_until(lambda: completer.errors > failed)
        await narrow.release(taken)
        # The ten completed jobs were written before the second statement had to wait.
        assert await completer.signal_written.wait() == 10
        assert crowded.was_crowded
