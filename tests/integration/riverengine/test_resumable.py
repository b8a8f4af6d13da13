"""Progress of resumable steps as the database keeps it, written at an attempt's end or inside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import (
    EventKind,
    InsertOpts,
    Job,
    JobCancel,
    JobNotRunningError,
    JobSnooze,
    JobState,
    Json,
    ResumableCheckpointError,
    ResumableUsageError,
    Worker,
    resumable_set_cursor,
    resumable_set_step_cursor_tx,
    resumable_set_step_tx,
    resumable_step,
    resumable_step_cursor,
    resumable_step_sync,
    resumable_step_value,
)
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_until,
)

Run = Callable[[Job[NoteArgs]], Awaitable[None]]


async def _worked(
    pool: asyncpg.Pool, run: Run, metadata: Mapping[str, Json] | None = None
) -> tuple[EventKind, str]:
    """Run one job with one attempt: its event and the metadata stored, as text."""
    async with started(pool, NoteWorker(run)) as client, client.subscribe() as events:
        opts = InsertOpts(max_attempts=1, metadata=metadata or {})
        await client.insert(NoteArgs(), opts)
        event = (await ended(events))[0]
    assert event.job is not None
    return event.kind, (await stored(pool, event.job.id)).metadata_json


async def _nothing() -> None:
    return None


async def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "kind", "more"),
    [
        (ValueError("retry"), EventKind.JOB_FAILED, ""),
        (JobCancel("no use"), EventKind.JOB_CANCELLED, ""),
        (JobSnooze(timedelta(minutes=1)), EventKind.JOB_SNOOZED, '"snoozes": 1, '),
    ],
    ids=["error", "cancel", "snooze"],
)
async def test_the_progress_of_an_attempt_that_fails_is_stored(
    pool: asyncpg.Pool, error: BaseException, kind: EventKind, more: str
) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        async def loop(cursor: int) -> None:
            resumable_set_cursor(7)
            raise error

        await resumable_step("first", _nothing)
        await resumable_step_cursor("loop", loop, 0)

    progress = '"river:resumable_step": "first", "river:resumable_cursor": {"loop": 7}'
    assert await _worked(pool, run) == (kind, "{" + more + progress + "}")


async def test_the_progress_of_an_interrupted_attempt_is_stored(pool: asyncpg.Pool) -> None:
    gate = Gate()

    async def run(job: Job[NoteArgs]) -> None:
        async def loop(cursor: int) -> None:
            resumable_set_cursor(7)
            await gate(job)

        await resumable_step_cursor("loop", loop, 0)

    async with started(pool, NoteWorker(run), stop=False) as client:
        job = (await client.insert(NoteArgs())).job
        await gate.next()
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
    row = await stored(pool, job.id)
    assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())
    assert row.metadata_json == '{"river:resumable_cursor": {"loop": 7}}'


async def test_a_thread_s_progress_is_stored(pool: asyncpg.Pool) -> None:
    class Threaded(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            resumable_step_sync("one", lambda: None)
            raise ValueError("fail")

    async with started(pool, Threaded()) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(), InsertOpts(max_attempts=1))).job
        await ended(events)
    assert (await stored(pool, job.id)).metadata_json == '{"river:resumable_step": "one"}'


async def test_an_array_of_cursors_fails_the_attempt_before_the_work(pool: asyncpg.Pool) -> None:
    worker = NoteWorker()
    async with started(pool, worker) as client, client.subscribe() as events:
        opts = InsertOpts(max_attempts=1, metadata={"river:resumable_cursor": []})
        job = (await client.insert(NoteArgs(), opts)).job
        await ended(events)
    row = await stored(pool, job.id)
    assert (row.state, worker.ran) == (JobState.DISCARDED, [])
    assert row.errors[0].error.startswith("river: unmarshal resumable cursors: ")


@pytest.mark.parametrize("mode", ["commit", "roll back"])
@pytest.mark.parametrize("cursor", [None, 3])
async def test_a_checkpoint_is_the_caller_s_transaction_s(
    pool: asyncpg.Pool, mode: str, cursor: int | None
) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        async def loop(_: int) -> None:
            resumable_set_cursor(1)
            async with pool.acquire() as tx, tx.transaction():
                if cursor is None:
                    marked = await resumable_set_step_tx(tx, job)
                else:
                    marked = await resumable_set_step_cursor_tx(tx, job, cursor)
                assert marked.row.metadata["river:resumable_step"] == "loop"
                assert marked.args == job.args
                if mode == "roll back":
                    raise ValueError("rolled back")
            raise ValueError("behind the commit")

        await resumable_step("first", _nothing)
        await resumable_step_cursor("loop", loop, 0)

    # The cursor set before belongs to the checkpoint as well, unless it brings its own.
    kept = f'{{"loop": {cursor or 1}}}'
    committed = f'{{"river:resumable_step": "loop", "river:resumable_cursor": {kept}}}'
    expected = committed if mode == "commit" else "{}"
    assert await _worked(pool, run) == (EventKind.JOB_FAILED, expected)


async def test_progress_behind_a_checkpoint_is_stored_at_the_end(pool: asyncpg.Pool) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        async def checkpoint() -> None:
            async with pool.acquire() as tx, tx.transaction():
                await resumable_set_step_tx(tx, job)

        await resumable_step("one", checkpoint)
        await resumable_step("two", lambda: _raise(ValueError("two failed")))

    _, metadata = await _worked(pool, run)
    # The step that made the checkpoint has ended well, and is written once more.
    assert metadata == '{"river:resumable_step": "one", "river:resumable_cursor": null}'


async def test_a_checkpoint_survives_the_process_and_the_next_attempt_starts_behind_it(
    pool: asyncpg.Pool,
) -> None:
    ran: list[str] = []
    gate = Gate()

    async def run(job: Job[NoteArgs]) -> None:
        async def charge() -> None:
            ran.append("charge")
            async with pool.acquire() as tx, tx.transaction():
                await resumable_set_step_tx(tx, job)

        async def ship() -> None:
            ran.append("ship")
            if job.row.attempt == 1:
                await gate(job)

        await resumable_step("charge", charge)
        await resumable_step("ship", ship)

    async with started(pool, NoteWorker(run)) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs())).job
        await gate.next()
        # As a rescuer would after the process died: the attempt's own end is never written.
        await pool.execute(
            "UPDATE river_job SET state = 'available', scheduled_at = now() WHERE id = $1", job.id
        )
        await client.notify_insert(pool, ["default"])
        event = (await ended(events))[0]
        gate.opened.set()
    assert (event.kind, ran) == (EventKind.JOB_COMPLETED, ["charge", "ship", "ship"])


async def test_a_checkpoint_keeps_the_values_of_steps(pool: asyncpg.Pool) -> None:
    seen: list[tuple[int, str, str]] = []

    async def run(job: Job[NoteArgs]) -> None:
        async def first() -> str:
            return f"of attempt {job.row.attempt}"

        async def second() -> str:
            async with pool.acquire() as tx, tx.transaction():
                await resumable_set_step_tx(tx, job, value="charged")
            raise ValueError("died behind the commit")

        one = await resumable_step_value("one", first, str)
        two = await resumable_step_value("two", second, str)
        seen.append((job.row.attempt, one, two))

    class Impatient(NoteWorker):
        def next_retry(self, job: Job[NoteArgs]) -> datetime:
            return datetime.now(UTC)

    async with started(pool, Impatient(run)) as client, client.subscribe() as events:
        await client.insert(NoteArgs())
        await ended(events, 2)
    assert seen == [(2, "of attempt 1", "charged")]


async def test_a_late_attempt_cannot_move_the_progress(pool: asyncpg.Pool) -> None:
    refused: list[BaseException] = []

    async def run(job: Job[NoteArgs]) -> None:
        async def step() -> None:
            await pool.execute(
                "UPDATE river_job SET attempt = 2, attempted_at = now() WHERE id = $1", job.row.id
            )
            async with pool.acquire() as tx, tx.transaction():
                await resumable_set_step_tx(tx, job)

        try:
            await resumable_step("one", step)
        except JobNotRunningError as error:
            refused.append(error)
            raise

    async with started(pool, NoteWorker(run)) as client:
        job = (await client.insert(NoteArgs())).job
        await wait_until(lambda: bool(refused) and not client.running)
    assert (await stored(pool, job.id)).metadata_json == "{}"


async def test_a_checkpoint_outside_of_a_step_is_refused(pool: asyncpg.Pool) -> None:
    refused: list[str] = []

    async def run(job: Job[NoteArgs]) -> None:
        async with pool.acquire() as tx, tx.transaction():
            try:
                await resumable_set_step_tx(tx, job)
            except ResumableUsageError as error:
                refused.append(str(error))

    await _worked(pool, run)
    assert len(refused) == 1
    assert refused[0].startswith("not inside a resumable step; ")


async def test_a_checkpoint_cannot_overtake_a_saved_cursor(pool: asyncpg.Pool) -> None:
    refused: list[str] = []
    seen: list[int] = []

    async def run(job: Job[NoteArgs]) -> None:
        async def early() -> None:
            async with pool.acquire() as tx, tx.transaction():
                try:
                    await resumable_set_step_tx(tx, job)
                except ResumableCheckpointError as error:
                    refused.append(str(error))

        async def loop(cursor: int) -> None:
            seen.append(cursor)
            async with pool.acquire() as tx, tx.transaction():
                await resumable_set_step_cursor_tx(tx, job, cursor + 1)
            raise ValueError("once more")

        await resumable_step("early", early)
        await resumable_step_cursor("loop", loop, 0)

    metadata = {"river:resumable_cursor": {"loop": 4}}
    _, after = await _worked(pool, run, metadata)
    assert refused == ['river: resumable checkpoint cannot precede saved cursor step "loop"']
    assert seen == [4]
    assert after == '{"river:resumable_step": "loop", "river:resumable_cursor": {"loop": 5}}'
