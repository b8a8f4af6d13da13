"""An attempt that lost its job changes nothing; a row that cannot be written holds up no other."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from riverengine import (
    Cancelled,
    Completed,
    EventKind,
    Failed,
    Job,
    JobNotRunningError,
    JobState,
    Outcome,
    Snoozed,
    metadata_set,
    record_output,
)
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
)

TAKEN_OVER = {
    "a later attempt": "attempt = attempt + 1",
    "another claim time": "attempted_at = attempted_at + interval '1 microsecond'",
    "another client": "attempted_by = array_append(attempted_by, 'other')",
}


@pytest.mark.parametrize("change", TAKEN_OVER.values(), ids=TAKEN_OVER)
@pytest.mark.parametrize("ending", ["returns", "records", "raises"])
async def test_a_late_worker_never_touches_a_later_attempt(
    pool: asyncpg.Pool, change: str, ending: str
) -> None:
    gate = Gate()

    async def late(job: Job[NoteArgs]) -> None:
        await gate(job)
        if ending == "records":
            record_output("late")
        if ending == "raises":
            raise RuntimeError("late")

    async with started(pool, NoteWorker(late)) as client:
        assert client._completer is not None
        written = client._completer.signal_written
        result = await client.insert(NoteArgs())
        await gate.next()
        await pool.execute(f"UPDATE river_job SET {change}")
        before = await stored(pool, result.job.id)
        written.arm()
        gate.opened.set()
        await written.wait()
        assert await stored(pool, result.job.id) == before
    assert before.state is JobState.RUNNING


@pytest.mark.parametrize("state", ["completed", "cancelled", "discarded"])
async def test_a_job_finished_from_outside_stays_so_but_takes_metadata(
    pool: asyncpg.Pool, state: str
) -> None:
    gate = Gate()

    async def late(job: Job[NoteArgs]) -> None:
        metadata_set("seen", 1)
        await gate(job)
        raise RuntimeError("late")

    async with started(pool, NoteWorker(late)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs())
        await gate.next()
        await pool.execute(
            "UPDATE river_job SET state = $1::text::river_job_state, finalized_at = now()", state
        )
        gate.opened.set()
        (event,) = await ended(events)
    row = await stored(pool, result.job.id)
    assert row.state == state
    assert row.errors == ()
    assert row.metadata == {"seen": 1}
    assert event.job == row


async def test_a_deleted_job_ends_quietly(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        await client.insert(NoteArgs(text="gone"))
        await gate.next()
        await pool.execute("DELETE FROM river_job")
        gate.opened.set()
        await client.insert(NoteArgs(text="next"))
        (event,) = await ended(events)
    assert event.job is not None
    assert event.job.args == {"text": "next"}


@pytest.mark.parametrize(
    ("outcome", "state", "kind"),
    [
        (Completed(), JobState.COMPLETED, EventKind.JOB_COMPLETED),
        (Cancelled("enough"), JobState.CANCELLED, EventKind.JOB_CANCELLED),
        (Failed("no", permanent=True), JobState.DISCARDED, EventKind.JOB_FAILED),
        (Snoozed(timedelta(hours=1)), JobState.SCHEDULED, EventKind.JOB_SNOOZED),
    ],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("raises", [False, True])
async def test_a_worker_finishes_its_job_in_its_own_transaction(
    pool: asyncpg.Pool, outcome: Outcome, state: JobState, kind: EventKind, raises: bool
) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:

        async def finish(job: Job[NoteArgs]) -> None:
            record_output("kept")
            async with pool.acquire() as connection, connection.transaction():
                row = await client.job_finish_tx(connection, job, outcome, metadata={"mine": 1})
                assert row.state is state
            if raises:
                raise RuntimeError("after the commit")

        worker = client.workers.get("note") if client.workers else None
        assert worker is not None
        assert isinstance(worker.worker, NoteWorker)
        worker.worker.run = finish
        result = await client.insert(NoteArgs())
        (event,) = await ended(events)
    row = await stored(pool, result.job.id)
    assert event.kind is kind
    assert row.state is state
    assert row.metadata["output"] == "kept"
    assert row.metadata["mine"] == 1
    assert "after the commit" not in "".join(error.error for error in row.errors)


async def test_a_rolled_back_finish_leaves_the_worker_s_own_outcome(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:

        async def finish(job: Job[NoteArgs]) -> None:
            async with pool.acquire() as connection, connection.transaction():
                await client.job_finish_tx(connection, job, Completed())
                raise RuntimeError("rolled back")

        worker = client.workers.get("note") if client.workers else None
        assert worker is not None
        assert isinstance(worker.worker, NoteWorker)
        worker.worker.run = finish
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    row = event.job
    assert row is not None
    assert event.kind is EventKind.JOB_FAILED
    assert row.state is JobState.AVAILABLE
    assert row.errors[0].error == "RuntimeError: rolled back"


async def test_finishing_a_lost_job_is_refused(pool: asyncpg.Pool) -> None:
    refused: asyncio.Queue[int] = asyncio.Queue()
    async with started(pool, NoteWorker()) as client:

        async def finish(job: Job[NoteArgs]) -> None:
            await pool.execute("UPDATE river_job SET attempt = attempt + 1")
            async with pool.acquire() as connection, connection.transaction():
                try:
                    await client.job_finish_tx(connection, job, Completed())
                except JobNotRunningError as error:
                    refused.put_nowait(error.attempt)
                    raise

        worker = client.workers.get("note") if client.workers else None
        assert worker is not None
        assert isinstance(worker.worker, NoteWorker)
        worker.worker.run = finish
        result = await client.insert(NoteArgs())
        async with asyncio.timeout(20):
            assert await refused.get() == 1
    row = await stored(pool, result.job.id)
    assert (row.state, row.attempt) == (JobState.RUNNING, 2)


async def test_one_outcome_the_database_refuses_holds_up_no_other(pool: asyncpg.Pool) -> None:
    gate = Gate()
    await pool.execute(
        "ALTER TABLE river_job ADD CONSTRAINT no_poison CHECK"
        " (state <> 'completed' OR args ->> 'text' <> 'poison')"
    )
    try:
        async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
            texts = ["a", "poison", "b", "c"]
            rows = await client.insert_many([NoteArgs(text=text) for text in texts])
            for _ in texts:
                await gate.next()
            gate.opened.set()
            done = await ended(events, 3)
            assert client._completer is not None
            await client._completer.drain()
            assert client._completer.refused == {rows[1].job.id}
    finally:
        await pool.execute("ALTER TABLE river_job DROP CONSTRAINT no_poison")
    assert {event.job.args["text"] for event in done if event.job} == {"a", "b", "c"}
    poisoned = await stored(pool, rows[1].job.id)
    assert poisoned.state is JobState.RUNNING


async def test_outcomes_survive_a_failing_database(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM setval('refusals', nextval('refusals'));"
        " IF currval('refusals') = 2 THEN"
        " RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$;"
        "CREATE SEQUENCE refusals;"
        "CREATE TRIGGER refuse_once BEFORE UPDATE ON river_job FOR EACH ROW EXECUTE FUNCTION"
        " refuse_once()"
    )
    try:
        async with started(pool, NoteWorker()) as client, client.subscribe() as events:
            result = await client.insert(NoteArgs())
            (event,) = await ended(events)
            assert client._completer is not None
            assert client._completer.errors == 1
    finally:
        await pool.execute(
            "DROP TRIGGER refuse_once ON river_job; DROP FUNCTION refuse_once;"
            "DROP SEQUENCE refusals"
        )
    assert event.kind is EventKind.JOB_COMPLETED
    assert (await stored(pool, result.job.id)).attempt == 1


async def test_a_client_that_gets_its_own_lost_job_back_ends_the_former_attempt(
    pool: asyncpg.Pool,
) -> None:
    gate = Gate()
    ends: list[tuple[int, str]] = []

    async def late(job: Job[NoteArgs]) -> None:
        try:
            await gate(job)
            ends.append((job.row.attempt, "returned"))
        except asyncio.CancelledError:
            ends.append((job.row.attempt, "cancelled"))
            raise

    async with started(pool, NoteWorker(late)) as client, client.subscribe() as events:
        await client.insert(NoteArgs())
        await gate.next()
        await pool.execute("UPDATE river_job SET state = 'available', scheduled_at = now()")
        second = await gate.next()
        gate.opened.set()
        (event,) = await ended(events)
        await client.stop()
    assert second.row.attempt == 2
    assert sorted(ends) == [(1, "cancelled"), (2, "returned")]
    assert event.kind is EventKind.JOB_COMPLETED
    assert event.job is not None
    assert event.job.attempt == 2
