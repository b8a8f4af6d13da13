"""A client works jobs: outcomes, retries, cancellation, snoozes, timeouts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import (
    Client,
    ErrorHandlerFunc,
    ErrorHandlerResult,
    EventKind,
    InsertOpts,
    Job,
    JobCancel,
    JobRow,
    JobSnooze,
    JobState,
    Migrator,
    QueueConfig,
    UnknownJobKindError,
    Worker,
    current_job,
    metadata_set,
    record_output,
)
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_for_state,
    wait_until,
)

MINUTE = timedelta(minutes=1)


async def test_an_inserted_job_is_worked_and_completed(pool: asyncpg.Pool) -> None:
    worker = NoteWorker()
    async with started(pool, worker) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs(text="hello"))
        (event,) = await ended(events)
        row = await stored(pool, result.job.id)
    assert worker.ran[0].args == NoteArgs(text="hello")
    assert event.kind is EventKind.JOB_COMPLETED
    assert event.job == row
    assert row.state is JobState.COMPLETED
    assert row.attempt == 1
    assert row.attempted_by == (client.id,)
    assert row.finalized_at is not None
    assert row.errors == ()


async def test_an_error_is_stored_and_the_job_retried_a_second_later(pool: asyncpg.Pool) -> None:
    async def fail(job: Job[NoteArgs]) -> None:
        message = f"no luck with job {job.row.id}"
        raise ValueError(message)

    async with started(pool, NoteWorker(fail)) as client, client.subscribe() as events:
        before = datetime.now(UTC)
        await client.insert(NoteArgs())
        (event,) = await ended(events)
        after = datetime.now(UTC)
    # The row as it was stored: a second later its next attempt may be at work.
    row = event.job
    assert row is not None
    assert event.kind is EventKind.JOB_FAILED
    assert row.state is JobState.AVAILABLE
    # A tenth more or less, at random.
    assert before + timedelta(seconds=0.9) <= row.scheduled_at <= after + timedelta(seconds=1.1)
    (error,) = row.errors
    assert error.error == f"ValueError: no luck with job {row.id}"
    assert error.attempt == 1
    assert "in fail" in error.trace
    assert error.error not in error.trace
    entry = await pool.fetchval("SELECT errors[1]::text FROM river_job WHERE id = $1", row.id)
    assert set(json.loads(entry)) == {"at", "attempt", "error", "trace"}


async def test_a_failed_job_runs_again(pool: asyncpg.Pool) -> None:
    async def fail_once(job: Job[NoteArgs]) -> None:
        if job.row.attempt == 1:
            raise RuntimeError("first")

    class Impatient(NoteWorker):
        def next_retry(self, job: Job[NoteArgs]) -> datetime:
            return datetime.now(UTC) + timedelta(milliseconds=10)

    async with started(pool, Impatient(fail_once)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs())
        kinds = [event.kind for event in await ended(events, 2)]
        row = await stored(pool, result.job.id)
    assert kinds == [EventKind.JOB_FAILED, EventKind.JOB_COMPLETED]
    assert row.attempt == 2
    assert len(row.errors) == 1


async def test_the_last_attempt_discards_the_job(pool: asyncpg.Pool) -> None:
    async def fail(job: Job[NoteArgs]) -> None:
        raise RuntimeError("always")

    async with started(pool, NoteWorker(fail)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs(), InsertOpts(max_attempts=1))
        (event,) = await ended(events)
        row = await stored(pool, result.job.id)
    assert event.kind is EventKind.JOB_FAILED
    assert row.state is JobState.DISCARDED
    assert row.finalized_at is not None


async def _cancel(job: Job[NoteArgs]) -> None:
    raise JobCancel("not wanted")


async def _cancel_as_cause(job: Job[NoteArgs]) -> None:
    try:
        raise JobCancel("not wanted")
    except JobCancel as signal:
        raise RuntimeError("wrapped") from signal


async def _cancel_in_group(job: Job[NoteArgs]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_cancel(job))


@pytest.mark.parametrize("run", [_cancel, _cancel_as_cause, _cancel_in_group])
async def test_a_worker_cancels_its_job(
    pool: asyncpg.Pool, run: Callable[[Job[NoteArgs]], asyncio.Future[None]]
) -> None:
    async with started(pool, NoteWorker(run)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs())
        (event,) = await ended(events)
        row = await stored(pool, result.job.id)
    assert event.kind is EventKind.JOB_CANCELLED
    assert row.state is JobState.CANCELLED
    assert row.errors[0].error == "JobCancelError: not wanted"


@pytest.mark.parametrize(
    ("pause", "state"),
    [(timedelta(seconds=3), JobState.AVAILABLE), (timedelta(minutes=5), JobState.SCHEDULED)],
)
async def test_a_snooze_gives_the_attempt_back(
    pool: asyncpg.Pool, pause: timedelta, state: JobState
) -> None:
    async def snooze(job: Job[NoteArgs]) -> None:
        raise JobSnooze(pause)

    async with started(pool, NoteWorker(snooze)) as client, client.subscribe() as events:
        before = datetime.now(UTC)
        result = await client.insert(NoteArgs(), InsertOpts(metadata={"snoozes": "2", "mine": 1}))
        (event,) = await ended(events)
        after = datetime.now(UTC)
    # The row as it was stored: seconds later its next attempt may be at work.
    row = event.job
    assert row is not None
    assert row.id == result.job.id
    assert event.kind is EventKind.JOB_SNOOZED
    assert row.state is state
    assert row.attempt == 0
    assert row.errors == ()
    assert row.metadata == {"snoozes": 3, "mine": 1}
    assert before + pause <= row.scheduled_at <= after + pause


async def test_a_snooze_beyond_the_calendar_is_stored(pool: asyncpg.Pool) -> None:
    async def work(job: Job[NoteArgs]) -> None:
        raise JobSnooze(timedelta.max)

    async with started(pool, NoteWorker(work)) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs())).job
        await ended(events)
    row = await stored(pool, job.id)
    assert (row.state, row.scheduled_at.year) == (JobState.SCHEDULED, 9999)


async def test_a_timeout_cancels_the_work_and_fails_the_attempt(pool: asyncpg.Pool) -> None:
    class Slow(NoteWorker):
        def timeout(self, job: Job[NoteArgs]) -> timedelta:
            return timedelta(milliseconds=20)

    async with started(pool, Slow(Gate())) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs(), InsertOpts(max_attempts=1))
        await ended(events)
        row = await stored(pool, result.job.id)
    assert row.state is JobState.DISCARDED
    assert row.errors[0].error == "job timed out after 0.02 s"


async def test_work_that_returns_in_spite_of_its_timeout_is_completed(pool: asyncpg.Pool) -> None:
    async def ignore(job: Job[NoteArgs]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with (
        started(pool, NoteWorker(ignore), job_timeout=timedelta(milliseconds=20)) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    assert event.kind is EventKind.JOB_COMPLETED


async def test_a_running_job_is_cancelled_from_outside(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs())
        await gate.next()
        running = await client.job_cancel(result.job.id)
        (event,) = await ended(events)
        row = await stored(pool, result.job.id)
    assert running.state is JobState.RUNNING
    assert event.kind is EventKind.JOB_CANCELLED
    assert row.state is JobState.CANCELLED
    assert row.errors[0].error == "JobCancelError: job cancelled remotely"
    assert "cancel_attempted_at" in row.metadata


async def test_a_missed_cancellation_is_found_by_looking(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with (
        started(pool, NoteWorker(gate), poll_only=True) as client,
        client.subscribe() as events,
    ):
        result = await client.insert(NoteArgs())
        await gate.next()
        await client.job_cancel(result.job.id)
        (event,) = await ended(events)
    assert event.kind is EventKind.JOB_CANCELLED


async def test_an_error_after_a_missed_cancellation_cancels(pool: asyncpg.Pool) -> None:
    gate = Gate()

    async def fail_after(job: Job[NoteArgs]) -> None:
        await gate(job)
        raise RuntimeError("too late")

    async with started(pool, NoteWorker(fail_after)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs())
        await gate.next()
        await pool.execute(
            'UPDATE river_job SET metadata = metadata || \'{"cancel_attempted_at": "2026-01-01T0'
            "0:00:00Z\"}' WHERE id = $1",
            result.job.id,
        )
        gate.opened.set()
        (event,) = await ended(events)
        row = await stored(pool, result.job.id)
    assert event.kind is EventKind.JOB_CANCELLED
    assert row.state is JobState.CANCELLED
    assert len(row.errors) == 1


async def test_delays_beyond_the_scheduler_s_interval_are_left_to_it(pool: asyncpg.Pool) -> None:
    async def fail_or_snooze(job: Job[NoteArgs]) -> None:
        if job.args.text == "snooze":
            raise JobSnooze(timedelta(seconds=1))
        raise ValueError("retried a second later")

    timings = MaintenanceTimings(scheduler_interval=timedelta(milliseconds=50))
    options = {"maintenance_timings": timings}
    async with (
        started(pool, NoteWorker(fail_or_snooze), client_options=options) as client,
        client.subscribe() as events,
    ):
        await client.insert_many([NoteArgs("snooze"), NoteArgs("fail")])
        found = {event.job.state for event in await ended(events, 2) if event.job is not None}
    assert found == {JobState.SCHEDULED, JobState.RETRYABLE}


async def test_an_unknown_kind_is_refused_at_insert_but_worked_as_an_error(
    pool: asyncpg.Pool,
) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        with pytest.raises(UnknownJobKindError):
            await client.insert(_Unknown())
        await pool.execute(
            "INSERT INTO river_job (kind, args, max_attempts) VALUES ('unknown', '{}', 1)"
        )
        (event,) = await ended(events)
    assert event.job is not None
    assert event.job.state is JobState.DISCARDED
    assert event.job.errors[0].error == (
        "job kind is not registered in the client's Workers bundle: unknown"
    )


class _Unknown:
    kind = "unknown"

    def to_json(self) -> str:
        return "{}"


async def test_args_that_do_not_decode_fail_their_attempt_only(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        await pool.execute(
            "INSERT INTO river_job (kind, args, max_attempts) VALUES"
            " ('note', '{\"text\": 5}', 1), ('note', '{\"text\": \"fine\"}', 1)"
        )
        found = await ended(events, 2)
    assert {event.job.state for event in found if event.job} == {
        JobState.DISCARDED,
        JobState.COMPLETED,
    }


@pytest.mark.parametrize(
    "text", ["nul \x00 inside", "lone \ud800 surrogate", "x" * 200_000], ids=["nul", "lone", "long"]
)
async def test_an_odd_error_text_is_stored(pool: asyncpg.Pool, text: str) -> None:
    async def fail(job: Job[NoteArgs]) -> None:
        raise ValueError(text)

    async with started(pool, NoteWorker(fail)) as client, client.subscribe() as events:
        await client.insert(NoteArgs(), InsertOpts(max_attempts=1))
        (event,) = await ended(events)
    assert event.job is not None
    assert event.job.state is JobState.DISCARDED
    assert event.job.errors[0].error.startswith("ValueError: ")
    assert len(event.job.errors[0].error) < 110_000


async def test_output_and_metadata_are_stored(pool: asyncpg.Pool) -> None:
    async def record(job: Job[NoteArgs]) -> None:
        assert current_job() is job.row
        record_output({"answer": 42})
        metadata_set("seen", True)
        with pytest.raises(ValueError, match="reserved"):
            metadata_set("river:mine", 1)
        with pytest.raises(ValueError, match="NUL"):
            record_output("\x00")

    async with started(pool, NoteWorker(record)) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs(), InsertOpts(metadata={"mine": 1}))
        await ended(events)
        row = await stored(pool, result.job.id)
    assert row.output == {"answer": 42}
    assert row.metadata == {"output": {"answer": 42}, "seen": True, "mine": 1}


async def test_a_plain_function_runs_in_a_thread(pool: asyncpg.Pool) -> None:
    threads: list[str] = []

    class Threaded(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            threads.append(threading.current_thread().name)
            record_output(job.args.text)

    async with started(pool, Threaded()) as client, client.subscribe() as events:
        result = await client.insert(NoteArgs(text="from a thread"))
        await ended(events)
        row = await stored(pool, result.job.id)
    assert threads[0].startswith("riverengine")
    assert row.output == "from a thread"


async def test_a_thread_that_runs_out_of_an_iterator_fails_its_attempt(
    pool: asyncpg.Pool,
) -> None:
    """The future that stands for the thread would never be done."""

    class Exhausted(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            next(iter(()))

    async with started(pool, Exhausted()) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs())).job
        await ended(events)
    row = await stored(pool, job.id)
    assert [error.error for error in row.errors] == ["RuntimeError: work raised StopIteration"]


async def test_a_thread_is_never_given_up_while_it_runs(pool: asyncpg.Pool) -> None:
    entered, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Threaded(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            loop.call_soon_threadsafe(entered.set)
            release.wait(60)

        def timeout(self, job: Job[NoteArgs]) -> timedelta:
            return timedelta(milliseconds=10)

    async with (
        started(pool, Threaded(), job_stuck_threshold=timedelta(milliseconds=10)) as client,
        client.subscribe() as events,
    ):
        result = await client.insert(NoteArgs())
        await entered.wait()
        second = await client.insert(NoteArgs())
        await wait_for_state(pool, second.job.id, JobState.RUNNING)
        assert (await stored(pool, result.job.id)).state is JobState.RUNNING
        release.set()
        kinds = [event.kind for event in await ended(events, 2)]
    assert kinds == [EventKind.JOB_COMPLETED] * 2


async def test_jobs_run_by_priority_then_time(pool: asyncpg.Pool) -> None:
    worker = NoteWorker()
    async with (
        started(pool, worker, queues={"other": QueueConfig(max_workers=1)}) as client,
        client.subscribe() as events,
    ):
        await client.insert_many_fast([NoteArgs(text="unused")])
        for priority in (4, 2, 1, 3):
            await client.insert(
                NoteArgs(text=str(priority)), InsertOpts(priority=priority, queue="later")
            )
        await client.add_queue("later", QueueConfig(max_workers=1))
        await ended(events, 4)
    assert [job.args.text for job in worker.ran] == ["1", "2", "3", "4"]


async def test_a_queue_never_runs_more_than_its_workers(pool: asyncpg.Pool) -> None:
    running, most = 0, 0

    async def count(job: Job[NoteArgs]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    async with (
        started(pool, NoteWorker(count), queues={"default": QueueConfig(max_workers=3)}) as client,
        client.subscribe() as events,
    ):
        await client.insert_many([NoteArgs(text=str(number)) for number in range(50)])
        await ended(events, 50)
    assert most == 3


async def test_a_started_client_listens_already(database_url: str, pool: asyncpg.Pool) -> None:
    class SlowlyListening(asyncpg.Connection):  # type: ignore[misc]
        async def add_listener(self, channel: str, callback: object) -> None:
            await asyncio.sleep(0.2)
            await super().add_listener(channel, callback)

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(database_url, connection_class=SlowlyListening)

    pauses = iter([0.0, 0.1])  # the second: the queue's row is written

    async def slowly(_connection: asyncpg.Connection) -> None:
        await asyncio.sleep(next(pauses, 0.0))

    options = {"connect": connect}
    async with (
        asyncpg.create_pool(database_url, min_size=0, max_size=2, setup=slowly) as slow_pool,
        started(
            slow_pool, NoteWorker(), poll=timedelta(minutes=1), client_options=options
        ) as client,
        client.subscribe() as events,
    ):
        await Client(pool).insert(NoteArgs())
        await ended(events)


async def test_a_notification_wakes_a_producer_that_polls_rarely(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), poll=timedelta(minutes=1)) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs())
        await ended(events)
        async with pool.acquire() as connection, connection.transaction():
            await client.insert(NoteArgs(), tx=connection)
        await ended(events)


class Handler:
    """Remembers what it is told, and answers as the test wants."""

    def __init__(self, answer: ErrorHandlerResult | Exception | None) -> None:
        self.answer = answer
        self.told: list[tuple[int, str]] = []

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        self.told.append((job.attempt, str(error)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (None, JobState.AVAILABLE),
        (ErrorHandlerResult(), JobState.AVAILABLE),
        (ErrorHandlerResult(set_cancelled=True), JobState.CANCELLED),
        (RuntimeError("the handler itself"), JobState.AVAILABLE),
    ],
)
async def test_the_error_handler_hears_of_failures_and_may_cancel(
    pool: asyncpg.Pool, answer: ErrorHandlerResult | Exception | None, state: JobState
) -> None:
    async def fail(job: Job[NoteArgs]) -> None:
        raise ValueError("no luck")

    handler = Handler(answer)
    async with (
        started(pool, NoteWorker(fail), error_handler=handler) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    # Once of each attempt; a second later there may have been another.
    assert handler.told[0] == (1, "no luck")
    assert len(handler.told) == len(set(handler.told))
    assert event.job is not None
    assert event.job.state is state
    assert event.job.errors[0].error == "ValueError: no luck"


@pytest.mark.parametrize("signal", [JobCancel("no"), JobSnooze(timedelta(hours=1))])
async def test_the_error_handler_does_not_hear_of_signals(
    pool: asyncpg.Pool, signal: BaseException
) -> None:
    async def leave(job: Job[NoteArgs]) -> None:
        raise signal

    handler = Handler(None)
    async with (
        started(pool, NoteWorker(leave), error_handler=handler) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs())
        await ended(events)
    assert handler.told == []


async def test_a_job_whose_announcement_is_suppressed_needs_no_poll(pool: asyncpg.Pool) -> None:
    async with (
        started(
            pool, NoteWorker(), poll=MINUTE, fetch_cooldown=timedelta(milliseconds=100)
        ) as client,
        client.subscribe() as events,
    ):
        for text in "abc":
            await client.insert(NoteArgs(text=text))
        assert len(await ended(events, 3)) == 3


async def test_a_fetch_nobody_asked_for_starts_no_cooldown(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), poll=MINUTE, fetch_cooldown=MINUTE) as client,
        client.subscribe() as events,
    ):
        await client.insert(NoteArgs())
        await ended(events)


async def test_a_fetch_that_found_jobs_is_followed_soon_by_the_next(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), poll=MINUTE, fetch_cooldown=MINUTE) as client,
        client.subscribe() as events,
    ):
        for _ in range(5):
            await client.insert(NoteArgs())
            await ended(events)


async def test_an_announced_fetch_that_found_nothing_is_followed_by_the_cooldown(
    pool: asyncpg.Pool,
) -> None:
    async with started(pool, NoteWorker(), poll=MINUTE, fetch_cooldown=MINUTE) as client:
        limiter = client.producers["default"].limiter
        await pool.execute("SELECT pg_notify('public.river_insert', '{\"queue\": \"default\"}')")
        await wait_until(lambda: limiter.delay() > 30)


async def _tell_and_cancel(job: JobRow, error: BaseException) -> ErrorHandlerResult:
    assert error.__traceback__ is not None
    return ErrorHandlerResult(set_cancelled=True)


def _cancel_at_once(job: JobRow, error: BaseException) -> ErrorHandlerResult:
    return ErrorHandlerResult(set_cancelled=isinstance(error, ValueError))


@pytest.mark.parametrize("function", [_tell_and_cancel, _cancel_at_once])
async def test_a_function_handles_errors(
    pool: asyncpg.Pool, function: Callable[[JobRow, BaseException], ErrorHandlerResult]
) -> None:
    async def fail(job: Job[NoteArgs]) -> None:
        raise ValueError("no luck")

    handler = ErrorHandlerFunc(function)
    working = started(pool, NoteWorker(fail), error_handler=handler)
    async with working as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs())).job
        assert (await ended(events))[0].kind is EventKind.JOB_CANCELLED
    assert (await stored(pool, job.id)).errors[0].error == "ValueError: no luck"


async def test_a_schema_of_the_longest_name_is_worked(pool: asyncpg.Pool) -> None:
    schema = "river_" + "x" * 40  # beyond 46 characters, River's topics would not fit
    async with pool.acquire() as connection:
        await connection.execute(f"CREATE SCHEMA {schema}")
        try:
            await Migrator(connection, schema=schema).migrate_up()
            async with (
                started(pool, NoteWorker(), schema=schema, poll=timedelta(hours=1)) as client,
                client.subscribe() as events,
            ):
                await client.insert(NoteArgs())
                assert (await ended(events))[0].kind is EventKind.JOB_COMPLETED
        finally:
            await connection.execute(f"DROP SCHEMA {schema} CASCADE")
