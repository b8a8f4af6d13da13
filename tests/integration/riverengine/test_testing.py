"""What applications test their jobs with: assertions, the worker tester, the clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import asyncpg
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from riverengine import (
    ArgsEncodeError,
    Client,
    Completed,
    Config,
    ErrorHandlerResult,
    EventKind,
    InsertClient,
    InsertOpts,
    Job,
    JobCancel,
    JobNotFoundError,
    JobRow,
    JobSnooze,
    JobState,
    SyncClient,
    UniqueOpts,
    UnknownJobKindError,
    Worker,
    Workers,
    client_from_context,
    current_job,
    metadata_set,
    record_output,
    resumable_set_cursor,
    resumable_set_step_tx,
    resumable_step,
    resumable_step_cursor,
)
from riverengine.testing import (
    ExpectedJob,
    FrozenClock,
    RequireInsertedOpts,
    TransactionPool,
    WorkerTester,
    job_of,
    require_inserted,
    require_inserted_sync,
    require_many_inserted,
    require_many_inserted_sync,
    require_not_inserted,
    require_not_inserted_sync,
    resumable_step_after,
    resumable_step_at_cursor,
    work_context,
)
from riverengine.work.middleware import WorkNext
from tests.integration.riverengine.process_work import AsyncArgs, AsyncWorker
from tests.integration.riverengine.working import NoteArgs, NoteWorker

AT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass(frozen=True)
class OtherArgs:
    """Args of a second kind."""

    kind: ClassVar[str] = "other"
    number: int = 0


@pytest.fixture
async def tx(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that is rolled back."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


@pytest.fixture
def client(pool: asyncpg.Pool) -> Client:
    """An insert-only client."""
    return Client(pool)


# Assertions


async def test_the_one_inserted_job_is_returned_with_its_args(
    client: Client, pool: asyncpg.Pool, tx: asyncpg.Connection
) -> None:
    await client.insert(NoteArgs(text="in tx"), tx=tx)
    await client.insert(OtherArgs(number=4))
    job = await require_inserted(tx, NoteArgs)
    assert job.args == NoteArgs(text="in tx")
    assert job.row.state is JobState.AVAILABLE
    await require_not_inserted(pool, NoteArgs)
    assert (await require_inserted(pool, OtherArgs)).args.number == 4
    assert (await require_inserted(pool, OtherArgs, schema="public")).args.number == 4


async def test_missing_and_repeated_jobs_are_told(client: Client, tx: asyncpg.Connection) -> None:
    with pytest.raises(AssertionError, match="no job of kind 'note' was inserted"):
        await require_inserted(tx, NoteArgs)
    await client.insert_many([NoteArgs(text="one"), NoteArgs(text="two")], tx=tx)
    with pytest.raises(AssertionError) as failed:
        await require_inserted(tx, NoteArgs)
    assert "2 jobs of kind 'note' were inserted, but exactly one is expected" in str(failed.value)
    assert '{"text": "one"}' in str(failed.value)
    assert '{"text": "two"}' in str(failed.value)


FITTING = RequireInsertedOpts(
    max_attempts=3,
    priority=2,
    queue="letters",
    scheduled_at=AT,
    state=JobState.SCHEDULED,
    tags=["tag1", "tag2"],
)


@pytest.fixture
async def scheduled(client: Client, tx: asyncpg.Connection) -> JobRow:
    """A job with every option."""
    opts = InsertOpts(
        max_attempts=3, priority=2, queue="letters", scheduled_at=AT, tags=["tag1", "tag2"]
    )
    return (await client.insert(NoteArgs(), opts, tx=tx)).job


async def test_a_job_that_fits_every_option_passes(
    tx: asyncpg.Connection, scheduled: JobRow
) -> None:
    assert (await require_inserted(tx, NoteArgs, FITTING)).row == scheduled
    with pytest.raises(AssertionError) as failed:
        await require_not_inserted(tx, NoteArgs, FITTING)
    assert (
        "1 job(s) of kind 'note' that fit max_attempts=3, priority=2, queue='letters', "
        "scheduled_at=2026-05-01T12:00:00.123456+00:00, state='scheduled', tags=['tag1', 'tag2'] "
        f"were inserted, but none is expected:\n  id={scheduled.id} kind=note state=scheduled"
    ) in str(failed.value)


@pytest.mark.parametrize(
    ("opts", "told"),
    [
        (RequireInsertedOpts(max_attempts=4), "max_attempts is 3, expected 4"),
        (RequireInsertedOpts(priority=1), "priority is 2, expected 1"),
        (RequireInsertedOpts(queue="q"), "queue is 'letters', expected 'q'"),
        (
            RequireInsertedOpts(scheduled_at=AT + timedelta(microseconds=1)),
            f"scheduled_at is {AT.isoformat()}, expected 2026-05-01T12:00:00.123457+00:00",
        ),
        (
            RequireInsertedOpts(state=JobState.AVAILABLE),
            "state is 'scheduled', expected 'available'",
        ),
        (RequireInsertedOpts(tags=["tag2"]), "tags is ['tag1', 'tag2'], expected ['tag2']"),
        (
            RequireInsertedOpts(priority=1, queue="q"),
            "priority is 2, expected 1; queue is 'letters', expected 'q'",
        ),
    ],
)
async def test_a_job_that_misses_an_option_is_told(
    tx: asyncpg.Connection, scheduled: JobRow, opts: RequireInsertedOpts, told: str
) -> None:
    with pytest.raises(AssertionError) as failed:
        await require_inserted(tx, NoteArgs, opts)
    assert f"the job of kind 'note' is not as expected: {told}\n" in str(failed.value)
    assert "queue=letters priority=2 max_attempts=3" in str(failed.value)
    await require_not_inserted(tx, NoteArgs, opts)


async def test_none_inserted_fails_for_any_job_without_options(
    tx: asyncpg.Connection, scheduled: JobRow
) -> None:
    for opts in (None, RequireInsertedOpts()):
        with pytest.raises(AssertionError, match=f"id={scheduled.id} "):
            await require_not_inserted(tx, NoteArgs, opts)


async def test_many_are_required_in_order_and_number(
    client: Client, tx: asyncpg.Connection
) -> None:
    for args in (NoteArgs(text="first"), OtherArgs(), NoteArgs(text="again")):
        await client.insert(args, tx=tx)
    jobs = await require_many_inserted(tx, [NoteArgs, OtherArgs, NoteArgs])
    assert [job.args for job in jobs] == [{"text": "first"}, {"number": 0}, {"text": "again"}]
    assert len(await require_many_inserted(tx, [OtherArgs])) == 1
    with pytest.raises(AssertionError) as failed:
        await require_many_inserted(tx, [NoteArgs, OtherArgs])
    assert "expected: note, other\n  inserted: note, other, note\n" in str(failed.value)
    with pytest.raises(AssertionError) as failed:
        await require_many_inserted(
            tx, [NoteArgs, ExpectedJob(OtherArgs, RequireInsertedOpts(priority=3)), NoteArgs]
        )
    assert "kind 'other' (number 1 of those expected) is not as expected" in str(failed.value)
    with pytest.raises(ValueError, match="require_not_inserted"):
        await require_many_inserted(tx, [])


async def test_a_long_list_of_jobs_is_cut(client: Client, tx: asyncpg.Connection) -> None:
    await client.insert_many([NoteArgs() for _ in range(23)], tx=tx)
    with pytest.raises(AssertionError, match="and 3 more"):
        await require_not_inserted(tx, NoteArgs)


async def test_transactions_of_other_libraries_are_looked_into(database_url: str) -> None:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    with psycopg.connect(database_url) as connection:
        SyncClient().insert(NoteArgs(text="psycopg"), tx=connection)
        assert require_inserted_sync(connection, NoteArgs).args.text == "psycopg"
        assert len(require_many_inserted_sync(connection, [NoteArgs])) == 1
        require_not_inserted_sync(connection, OtherArgs)
        with pytest.raises(AssertionError, match="none is expected"):
            require_not_inserted_sync(connection, NoteArgs)
        connection.rollback()
    async with AsyncSession(engine) as session:
        await InsertClient(engine).insert(NoteArgs(text="sqlalchemy"), tx=session)
        assert (await require_inserted(session, NoteArgs)).args.text == "sqlalchemy"
    await engine.dispose()


async def test_what_is_no_args_type_is_refused(tx: asyncpg.Connection) -> None:
    with pytest.raises(TypeError, match="no args type"):
        await require_inserted(tx, int)
    with pytest.raises(ValueError, match="time zone"):
        RequireInsertedOpts(scheduled_at=datetime(2026, 1, 1))  # noqa: DTZ001


# The worker tester


async def test_a_job_is_inserted_and_worked_in_the_transaction(
    pool: asyncpg.Pool, tx: asyncpg.Connection
) -> None:
    seen: list[Job[NoteArgs]] = []

    async def run(job: Job[NoteArgs]) -> None:
        seen.append(job)
        metadata_set("colour", "red")
        record_output({"done": True})

    clock = FrozenClock(AT)
    tester = WorkerTester(NoteWorker(run), config=Config(id="tester"), clock=clock)
    result = await tester.work(tx, NoteArgs(text="hello"), InsertOpts(priority=3))
    assert result.event_kind is EventKind.JOB_COMPLETED
    result.raise_error()
    assert (seen[0].args.text, seen[0].row.attempt) == ("hello", 1)
    assert (seen[0].row.state, seen[0].row.attempted_by) == (JobState.RUNNING, ("tester",))
    job = result.job
    assert (job.state, job.priority, job.finalized_at) == (JobState.COMPLETED, 3, AT)
    assert job.metadata == {"colour": "red", "output": {"done": True}}
    await require_not_inserted(pool, NoteArgs)
    await require_inserted(tx, NoteArgs, RequireInsertedOpts(state=JobState.COMPLETED))


async def test_a_scheduled_and_a_finished_job_are_worked_too(
    client: Client, tx: asyncpg.Connection
) -> None:
    tester = WorkerTester(NoteWorker())
    later = datetime.now(UTC) + timedelta(days=1)
    scheduled = (await client.insert(NoteArgs(), InsertOpts(scheduled_at=later), tx=tx)).job
    result = await tester.work_job(tx, scheduled)
    assert (result.job.id, result.job.state) == (scheduled.id, JobState.COMPLETED)
    again = await tester.work_job(tx, scheduled.id)
    assert (again.event_kind, again.job.attempt) == (EventKind.JOB_COMPLETED, 2)


@pytest.mark.parametrize(
    ("signal", "kind", "state"),
    [
        (JobCancel("no"), EventKind.JOB_CANCELLED, JobState.CANCELLED),
        (JobSnooze(timedelta(hours=1)), EventKind.JOB_SNOOZED, JobState.SCHEDULED),
        (JobSnooze(timedelta(0)), EventKind.JOB_SNOOZED, JobState.AVAILABLE),
    ],
)
async def test_snooze_and_cancel_are_no_errors(
    tx: asyncpg.Connection, signal: BaseException, kind: EventKind, state: JobState
) -> None:
    async def run(_: Job[NoteArgs]) -> None:
        raise signal

    result = await WorkerTester(NoteWorker(run)).work(tx, NoteArgs())
    assert (result.event_kind, result.job.state, result.error) == (kind, state, None)


class Handler:
    """Cancels whatever failed."""

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult:
        return ErrorHandlerResult(set_cancelled=True)


@pytest.mark.parametrize(
    ("config", "max_attempts", "state"),
    [
        (Config(), 25, JobState.AVAILABLE),  # River's first retry comes within five seconds
        (Config(), 1, JobState.DISCARDED),
        (Config(error_handler=Handler()), 25, JobState.CANCELLED),
    ],
)
async def test_an_error_is_returned_and_stored(
    tx: asyncpg.Connection, config: Config, max_attempts: int, state: JobState
) -> None:
    async def run(_: Job[NoteArgs]) -> None:
        raise KeyError("lost")

    tester = WorkerTester(NoteWorker(run), config=config)
    result = await tester.work(tx, NoteArgs(), InsertOpts(max_attempts=max_attempts))
    assert result.job.state is state
    assert [each.error for each in result.job.errors] == ["KeyError: 'lost'"]
    assert isinstance(result.error, KeyError)
    with pytest.raises(KeyError):
        result.raise_error()


class SlowWorker(Worker[NoteArgs]):
    """Never ends by itself."""

    async def work(self, job: Job[NoteArgs]) -> None:
        await asyncio.Event().wait()

    def timeout(self, job: Job[NoteArgs]) -> timedelta:
        return timedelta(milliseconds=20)


async def test_a_timeout_ends_the_work(tx: asyncpg.Connection) -> None:
    result = await WorkerTester(SlowWorker()).work(tx, NoteArgs())
    assert result.event_kind is EventKind.JOB_FAILED
    assert "timed out" in result.job.errors[0].error


class ThreadWorker(Worker[NoteArgs]):
    """A plain function."""

    def work(self, job: Job[NoteArgs]) -> None:
        record_output(current_job().id)


async def test_a_plain_function_runs_in_a_thread(tx: asyncpg.Connection) -> None:
    result = await WorkerTester(ThreadWorker()).work(tx, NoteArgs())
    assert result.job.output == result.job.id


async def test_a_worker_that_wants_a_process_gets_one(tx: asyncpg.Connection) -> None:
    result = await WorkerTester(AsyncWorker()).work(tx, AsyncArgs())
    assert result.event_kind is EventKind.JOB_COMPLETED
    assert result.job.output["pid"] != os.getpid()


async def test_a_cancelled_test_stays_cancelled(tx: asyncpg.Connection) -> None:
    begun = asyncio.Event()

    async def run(_: Job[NoteArgs]) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(WorkerTester(NoteWorker(run)).work(tx, NoteArgs()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Wrapping:
    """Middleware that notes it ran."""

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        metadata_set("wrapped", True)
        await next_()


async def test_the_worker_s_client_and_middleware_are_real(
    pool: asyncpg.Pool, tx: asyncpg.Connection
) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        await client_from_context().insert(OtherArgs(number=7))
        await client_from_context().insert_many([OtherArgs(number=8)])

    config = Config(middleware=[Wrapping()])
    result = await WorkerTester(NoteWorker(run), config=config).work(tx, NoteArgs())
    assert result.event_kind is EventKind.JOB_COMPLETED
    assert result.job.metadata == {"wrapped": True}
    jobs = await require_many_inserted(tx, [OtherArgs, OtherArgs])
    assert [job.args["number"] for job in jobs] == [7, 8]
    await require_not_inserted(pool, OtherArgs)


async def test_kinds_are_checked_against_given_workers(tx: asyncpg.Connection) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        await client_from_context().insert(OtherArgs())

    known = Workers()
    known.add(NoteWorker())
    result = await WorkerTester(NoteWorker(run), workers=known).work(tx, NoteArgs())
    assert isinstance(result.error, UnknownJobKindError)


async def test_a_job_completed_in_the_worker_s_own_transaction_is_told(
    tx: asyncpg.Connection,
) -> None:
    pool = TransactionPool(tx)

    async def run(job: Job[NoteArgs]) -> None:
        async with pool.acquire() as own, own.transaction():
            await client_from_context().job_finish_tx(own, job, Completed())
        raise RuntimeError("too late to fail")

    result = await WorkerTester(NoteWorker(run)).work(tx, NoteArgs())
    assert result.event_kind is EventKind.JOB_COMPLETED
    assert result.job.errors == ()


async def test_a_step_recorded_in_a_transaction_is_kept(tx: asyncpg.Connection) -> None:
    pool = TransactionPool(tx)

    async def run(job: Job[NoteArgs]) -> None:
        async def step() -> None:
            async with pool.acquire() as own, own.transaction():
                await resumable_set_step_tx(own, job)
            raise RuntimeError("behind the commit")

        await resumable_step("kept", step)

    result = await WorkerTester(NoteWorker(run)).work(tx, NoteArgs())
    assert result.event_kind is EventKind.JOB_FAILED
    assert result.job.metadata["river:resumable_step"] == "kept"


async def test_application_code_gets_the_transaction_for_a_pool(
    tx: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    stand_in = TransactionPool(tx)
    await stand_in.execute("CREATE TEMPORARY TABLE sheet (number int)")
    await stand_in.executemany("INSERT INTO sheet VALUES ($1)", [(1,), (2,)])
    assert await stand_in.fetchval("SELECT sum(number) FROM sheet") == 3
    assert len(await stand_in.fetch("SELECT * FROM sheet")) == 2
    assert await stand_in.fetchrow("SELECT * FROM sheet WHERE number = 3") is None
    connection = await stand_in.acquire()
    assert connection is tx
    await stand_in.release(connection)
    assert (await Client(stand_in).insert(NoteArgs())).job.kind == "note"
    await require_not_inserted(pool, NoteArgs)
    await require_inserted(stand_in, NoteArgs)


async def test_uniqueness_is_off(tx: asyncpg.Connection) -> None:
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    tester = WorkerTester(NoteWorker())
    ids = {(await tester.work(tx, NoteArgs(), opts)).job.id for _ in range(2)}
    assert len(ids) == 2


async def test_a_broken_transaction_is_mended_and_the_failure_stored(
    tx: asyncpg.Connection,
) -> None:
    await tx.execute("CREATE TEMPORARY TABLE note_sheet (text text)")

    async def run(job: Job[NoteArgs]) -> None:
        await tx.execute("INSERT INTO note_sheet VALUES ('lost')")
        await tx.execute("SELECT 1 / 0")

    result = await WorkerTester(NoteWorker(run)).work(tx, NoteArgs())
    assert isinstance(result.error, asyncpg.DivisionByZeroError)
    assert result.job.errors[0].error == "DivisionByZeroError (22012)"
    assert await tx.fetchval("SELECT count(*) FROM note_sheet") == 0


async def test_refused_args_and_unknown_jobs_raise(tx: asyncpg.Connection) -> None:
    tester = WorkerTester(NoteWorker())
    with pytest.raises(ArgsEncodeError):
        await tester.work(tx, NoteArgs(text="\x00"))
    job = (await tester.work(tx, NoteArgs())).job
    await tx.execute("DELETE FROM river_job")
    with pytest.raises(JobNotFoundError):
        await tester.work_job(tx, job)


class StepsWorker(Worker[NoteArgs]):
    """Three steps, the second with a cursor."""

    def __init__(self) -> None:
        self.ran: list[object] = []

    async def work(self, job: Job[NoteArgs]) -> None:
        async def note() -> None:
            self.ran.append("step")

        async def count(last: int) -> None:
            self.ran.append(last)
            resumable_set_cursor(last + 1)

        await resumable_step("one", note)
        await resumable_step_cursor("two", count, 0)
        await resumable_step("three", note)


@pytest.mark.parametrize(
    ("opts", "ran"),
    [
        (None, ["step", 0, "step"]),
        (resumable_step_after(None, "one"), [0, "step"]),
        (resumable_step_after(InsertOpts(), "two"), ["step"]),
        (resumable_step_at_cursor(None, "two", 41), [41, "step"]),
    ],
)
async def test_a_job_resumes_where_the_options_say(
    tx: asyncpg.Connection, opts: InsertOpts | None, ran: list[object]
) -> None:
    worker = StepsWorker()
    result = await WorkerTester(worker).work(tx, NoteArgs(), opts)
    assert result.event_kind is EventKind.JOB_COMPLETED
    assert worker.ran == ran


def test_resumable_options_keep_the_others() -> None:
    opts = resumable_step_at_cursor(InsertOpts(priority=2, metadata={"k": 1}), "a", [1])
    opts = resumable_step_at_cursor(opts, "b", {"id": 2})
    assert opts.priority == 2
    assert opts.metadata is not None
    assert opts.metadata["k"] == 1
    assert opts.metadata["river:resumable_step"] == "b"
    assert set(opts.metadata["river:resumable_cursor"]) == {"a", "b"}


# Calling a worker directly


async def test_a_worker_is_called_without_a_database(client: Client) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        record_output([current_job().id, client_from_context().id])

    job = job_of(NoteArgs(text="x"), InsertOpts(queue="letters"), id=7, attempt=3, now=AT)
    assert (job.row.queue, job.row.attempt, job.row.created_at) == ("letters", 3, AT)
    assert (job.row.max_attempts, job.row.state) == (25, JobState.RUNNING)
    with work_context(job, client) as context:
        await NoteWorker(run).work(job)
    assert context.metadata == {"output": [7, client.id]}
    with pytest.raises(RuntimeError, match="inside a running job"):
        current_job()


# The clock


def test_a_frozen_clock_moves_only_when_told() -> None:
    clock = FrozenClock(AT.astimezone())
    assert clock.now() == AT
    assert clock.now().tzinfo is UTC
    assert clock.advance(timedelta(seconds=90)) == AT + timedelta(seconds=90)
    assert clock.monotonic() == 90.0
    clock.set(AT - timedelta(days=1))
    assert (clock.now(), clock.monotonic()) == (AT - timedelta(days=1), 90.0)
    clock.set(AT)
    assert clock.monotonic() == 90.0 + 24 * 3600
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="zone"):
        FrozenClock(datetime(2026, 1, 1))  # noqa: DTZ001
    assert abs(FrozenClock().now() - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_client_takes_a_frozen_clock(pool: asyncpg.Pool) -> None:
    client = Client(pool, clock=FrozenClock(AT))
    assert (await client.insert(NoteArgs())).job.scheduled_at == AT
