"""Start and stop: what is waited for, what is given back, what is refused."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    ConfigError,
    DatabaseUnavailableError,
    ErrorHandlerFunc,
    EventKind,
    InsertOpts,
    Job,
    JobRow,
    JobState,
    QueueAlreadyAddedError,
    QueueConfig,
    QueueNotFoundError,
    SchemaVersionError,
    StopTimeoutError,
    Worker,
)
from riverengine.run import service
from riverengine.run.completer import Completer
from riverengine.run.elector import Elector
from riverengine.run.maintenance.maintainer import Maintainer
from riverengine.run.notifier import Notifier
from riverengine.run.producer import Producer
from riverengine.run.queue_watch import QueueWatch
from tests.integration.riverengine.working import (
    CLAIM,
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_for_state,
    wait_until,
    wait_until_blocked,
    workers_of,
)

SOON = timedelta(milliseconds=50)
UPSERT = "-- A queue's row, made or refreshed"


async def nothing_under_way(producer: Producer) -> None:
    """A claim under way as a stop begins may still bring jobs."""
    await wait_until(lambda: not producer._fetching and not producer._requested)


async def test_stop_waits_for_the_running_jobs(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), stop=False, poll=timedelta(hours=1)) as client:
        first = await client.insert(NoteArgs())
        await gate.next()
        await nothing_under_way(client.producers["default"])
        stopping = asyncio.create_task(client.stop())
        second = await client.insert(NoteArgs())
        gate.opened.set()
        await stopping
    assert (await stored(pool, first.job.id)).state is JobState.COMPLETED
    assert (await stored(pool, second.job.id)).state is JobState.AVAILABLE
    assert not client.is_started


async def test_stop_gives_up_waiting_and_says_how_many_jobs_run(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), stop=False) as client:
        await client.insert_many([NoteArgs(), NoteArgs()])
        await gate.next()
        await gate.next()
        with pytest.raises(StopTimeoutError) as failure:
            await client.stop(timeout=SOON)
        assert failure.value.running == 2
        gate.opened.set()
        await client.stop()
    assert client.stopped.is_set()


async def test_stop_and_cancel_gives_the_jobs_back(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with (
        started(pool, NoteWorker(gate), stop=False) as client,
        client.subscribe() as events,
    ):
        result = await client.insert(NoteArgs())
        await gate.next()
        await client.stop_and_cancel()
        (event,) = await ended(events)
    row = await stored(pool, result.job.id)
    assert event.kind is EventKind.JOB_INTERRUPTED
    assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())


async def test_a_job_that_fails_while_it_is_cancelled_by_a_stop_counts(pool: asyncpg.Pool) -> None:
    gate = Gate()

    async def fail(job: Job[NoteArgs]) -> None:
        try:
            await gate(job)
        except asyncio.CancelledError:
            raise RuntimeError("no time to clean up") from None

    async with started(pool, NoteWorker(fail), stop=False) as client:
        result = await client.insert(NoteArgs())
        await gate.next()
        await client.stop_and_cancel()
    row = await stored(pool, result.job.id)
    assert (row.attempt, len(row.errors)) == (1, 1)


async def test_a_stop_after_a_cancellation_leaves_the_job_cancelled(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), stop=False) as client:
        result = await client.insert(NoteArgs())
        await gate.next()
        await pool.execute(
            'UPDATE river_job SET metadata = \'{"cancel_attempted_at": "2026-01-01T00:00:00Z"}\''
        )
        await client.stop_and_cancel()
    row = await stored(pool, result.job.id)
    assert (row.state, row.attempt) == (JobState.CANCELLED, 1)
    assert row.finalized_at is not None


async def test_a_stop_that_cancels_begins_nothing_again(
    pool: asyncpg.Pool, database_url: str
) -> None:
    """What is given back stays so, also while the stop waits for a queue that is being added."""
    gate = Gate()
    worker = NoteWorker(gate)
    apart = await asyncpg.connect(database_url)
    async with started(pool, worker, stop=False, poll=timedelta(hours=1)) as client:
        producer = client.producers["default"]
        job = (await client.insert(NoteArgs())).job
        await gate.next()
        await nothing_under_way(producer)
        async with apart.transaction():
            await apart.execute("LOCK TABLE river_queue")
            adding = asyncio.create_task(client.add_queue("later", QueueConfig(max_workers=1)))
            await wait_until_blocked(pool, UPSERT)
            stopping = asyncio.create_task(client.stop_and_cancel())
            await wait_for_state(pool, job.id, JobState.AVAILABLE)
            for _ in range(3):
                await client.insert(NoteArgs())
                producer.request_fetch()
            assert producer._fetch_delay() is None
        await stopping
        await adding
    await apart.close()
    assert len(worker.ran) == 1
    assert await pool.fetchval("SELECT max(attempt) FROM river_job") == 0


async def test_an_error_of_a_job_cancelled_before_it_began_is_stored(
    pool: asyncpg.Pool, database_url: str
) -> None:
    """Work that never pauses does not see its cancellation; nor must what comes after it."""
    asked: list[BaseException] = []

    async def work(job: Job[NoteArgs]) -> None:
        raise RuntimeError("at once")

    async def handle(job: JobRow, error: BaseException) -> None:
        await asyncio.sleep(0)
        asked.append(error)

    apart = await asyncpg.connect(database_url)
    handler = ErrorHandlerFunc(handle)
    async with started(pool, NoteWorker(work), stop=False, error_handler=handler) as client:
        async with apart.transaction():
            await apart.execute("LOCK TABLE river_job IN EXCLUSIVE MODE")
            await apart.execute("INSERT INTO river_job (kind, args) VALUES ('note', '{}')")
            await wait_until_blocked(pool, CLAIM)
            stopping = asyncio.create_task(client.stop_and_cancel())
            await wait_until(lambda: client.producers["default"]._draining)
        await stopping
    await apart.close()
    row = await pool.fetchrow("SELECT state, attempt, cardinality(errors) FROM river_job")
    assert tuple(row) == ("available", 1, 1)
    assert [str(error) for error in asked] == ["at once"]


class Threaded(Worker[NoteArgs]):
    """Remembers what it ran."""

    def __init__(self) -> None:
        self.ran: list[Job[NoteArgs]] = []

    def work(self, job: Job[NoteArgs]) -> None:
        self.ran.append(job)


@pytest.mark.parametrize("by", ["stop", "cancellation"])
async def test_a_function_cancelled_between_its_claim_and_its_start_does_not_begin(
    pool: asyncpg.Pool, database_url: str, by: str
) -> None:
    worker = Threaded()
    apart = await asyncpg.connect(database_url)
    async with started(pool, worker, stop=False) as client:
        producer = client.producers["default"]
        async with apart.transaction():
            await apart.execute("LOCK TABLE river_job IN EXCLUSIVE MODE")
            job_id = await apart.fetchval(
                "INSERT INTO river_job (kind, args) VALUES ('note', '{}') RETURNING id"
            )
            await wait_until_blocked(pool, CLAIM)
            if by == "stop":
                stopping = asyncio.create_task(client.stop_and_cancel())
                await wait_until(lambda: producer._draining)
            else:
                await pool.execute(
                    "SELECT pg_notify('public.river_control', json_build_object('action',"
                    " 'cancel', 'job_id', $1::bigint, 'queue', 'default')::text)",
                    job_id,
                )
                await wait_until(lambda: job_id in producer._cancelled_while_fetching)
                stopping = asyncio.create_task(client.stop())
        await stopping
    await apart.close()
    row = await stored(pool, job_id)
    if by == "stop":
        assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())
    else:
        assert (row.state, row.attempt) == (JobState.CANCELLED, 1)
    assert worker.ran == []


async def test_a_stop_that_cancels_does_not_wait_for_the_error_handler(
    pool: asyncpg.Pool,
) -> None:
    asked = asyncio.Event()

    async def work(job: Job[NoteArgs]) -> None:
        raise RuntimeError("of the work")

    async def linger(job: JobRow, error: BaseException) -> None:
        asked.set()
        await asyncio.Event().wait()

    handler = ErrorHandlerFunc(linger)
    async with started(pool, NoteWorker(work), stop=False, error_handler=handler) as client:
        job = (await client.insert(NoteArgs())).job
        await asked.wait()
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
    row = await stored(pool, job.id)
    errors = [each.error for each in row.errors]
    assert (row.attempt, errors) == (1, ["RuntimeError: of the work"])


async def test_a_shutdown_that_somebody_cancelled_can_be_asked_for_again(
    pool: asyncpg.Pool,
) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), stop=False) as client:
        await client.insert(NoteArgs())
        await gate.next()
        stopping = asyncio.create_task(client.stop())
        await wait_until(lambda: client.producers["default"]._draining)
        (shutdown,) = (
            task for task in asyncio.all_tasks() if task.get_name() == "riverengine:shutdown"
        )
        shutdown.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        gate.opened.set()
        await client.stop(timeout=timedelta(seconds=10))
    assert not client.is_started


async def test_a_producer_that_crashes_while_it_drains_fetches_no_more(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    worker = NoteWorker(gate)
    crash = asyncio.Event()

    async def crash_once(watch: QueueWatch) -> None:
        await crash.wait()
        monkeypatch.undo()
        raise RuntimeError("told to crash")

    monkeypatch.setattr(QueueWatch, "heartbeat_loop", crash_once)
    monkeypatch.setattr(service, "backoff", lambda _: timedelta(0))
    async with started(pool, worker, stop=False) as client:
        await client.insert(NoteArgs())
        await gate.next()
        producer = client.producers["default"]
        stopping = asyncio.create_task(client.stop())
        await wait_until(lambda: producer._draining)
        left = (await client.insert(NoteArgs())).job
        producer.started.clear()
        crash.set()
        await producer.started.wait()
        producer.request_fetch()
        assert producer._fetch_delay() is None
        gate.opened.set()
        await stopping
    assert len(worker.ran) == 1
    assert (await stored(pool, left.id)).state is JobState.AVAILABLE


async def test_the_soft_stop_timeout_cancels_what_runs_longer(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), stop=False, soft_stop_timeout=SOON) as client:
        result = await client.insert(NoteArgs())
        await gate.next()
        await client.stop()
    assert (await stored(pool, result.job.id)).state is JobState.AVAILABLE


async def test_stop_waits_for_threads_even_when_it_cancels(pool: asyncpg.Pool) -> None:
    release = threading.Event()

    class Threaded(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            release.wait(60)

    async with started(pool, Threaded(), stop=False) as client:
        result = await client.insert(NoteArgs())
        await wait_for_state(pool, result.job.id, JobState.RUNNING)
        with pytest.raises(StopTimeoutError):
            await client.stop_and_cancel(timeout=SOON)
        release.set()
        await client.stop()
    assert (await stored(pool, result.job.id)).state is JobState.COMPLETED


async def test_a_client_starts_again(pool: asyncpg.Pool) -> None:
    worker = NoteWorker()
    async with started(pool, worker, stop=False) as client:
        await client.stop()
        await client.stop()
        await client.start()
        async with client.subscribe() as events:
            await client.insert(NoteArgs())
            await ended(events)
        await client.start()
        await client.stop()
    assert len(worker.ran) == 1


async def test_a_start_that_is_cancelled_has_begun_no_job(
    pool: asyncpg.Pool, database_url: str
) -> None:
    worker = NoteWorker()
    one = QueueConfig(max_workers=1)
    config = Config(queues={"default": one, "later": one})
    client = Client(pool, config, workers=workers_of(worker))
    job = (await client.insert(NoteArgs())).job
    await pool.execute("INSERT INTO river_queue (name, updated_at) VALUES ('later', now())")
    apart = await asyncpg.connect(database_url)
    async with apart.transaction():
        await apart.execute("SELECT FROM river_queue WHERE name = 'later' FOR UPDATE")
        starting = asyncio.create_task(client.start())
        await wait_until_blocked(pool, UPSERT)
        await look_around(pool)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await apart.close()
    assert not client.is_started
    assert await stored(pool, job.id) == job
    assert worker.ran == []


async def look_around(pool: asyncpg.Pool) -> None:
    """Give a producer that fetches more than enough turns to claim a job."""
    for _ in range(50):
        await pool.fetchval("SELECT 1")


@pytest.mark.parametrize(
    ("part", "method"),
    [
        (Notifier, "start"),
        (Completer, "start"),
        (Maintainer, "start"),
        (Elector, "start"),
        (Notifier, "wait_until_listening"),
    ],
)
async def test_a_start_that_fails_half_way_has_begun_no_job(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, part: type, method: str
) -> None:
    """A job that ignores its cancellation would hold up the failure for ever."""
    worker = NoteWorker()
    config = Config(queues={"default": QueueConfig(max_workers=1)})
    client = Client(pool, config, workers=workers_of(worker))
    job = (await client.insert(NoteArgs())).job

    async def fail(_self: object) -> None:
        await look_around(pool)
        raise RuntimeError(method)

    with monkeypatch.context() as patched:
        patched.setattr(part, method, fail)
        with pytest.raises(RuntimeError, match=method):
            await client.start()
    assert not client.is_started
    assert await stored(pool, job.id) == job
    assert worker.ran == []
    # What failed then works at the next start.
    await client.start()
    try:
        await wait_for_state(pool, job.id, JobState.COMPLETED)
    finally:
        await client.stop()


async def test_starting_needs_queues_and_workers(pool: asyncpg.Pool) -> None:
    one = {"default": QueueConfig(max_workers=1)}
    for client in (
        Client(pool),
        Client(pool, Config(queues=one)),
        Client(pool, Config(queues=one), workers=workers_of()),
        Client(pool, workers=workers_of(NoteWorker())),
    ):
        with pytest.raises(ConfigError):
            await client.start()
        assert not client.is_started


async def test_an_unmigrated_database_is_refused(empty_database: str) -> None:
    async with asyncpg.create_pool(empty_database, min_size=0) as pool:
        client = Client(
            pool,
            Config(queues={"default": QueueConfig(max_workers=1)}),
            workers=workers_of(NoteWorker()),
        )
        with pytest.raises(SchemaVersionError, match="riverengine migrate-up"):
            await client.start()


async def test_a_newer_schema_is_refused(pool: asyncpg.Pool) -> None:
    await pool.execute("INSERT INTO river_migration (line, version) VALUES ('main', 9)")
    try:
        with pytest.raises(SchemaVersionError, match="upgrade riverjobs"):
            async with started(pool, NoteWorker()):
                raise AssertionError("started")
    finally:
        await pool.execute("DELETE FROM river_migration WHERE version = 9")


async def test_an_unreachable_database_is_told(refusing_port: int) -> None:
    pool = asyncpg.create_pool(f"postgresql://nobody@127.0.0.1:{refusing_port}/none", min_size=0)
    async with pool:
        client = Client(
            pool,
            Config(queues={"default": QueueConfig(max_workers=1)}),
            workers=workers_of(NoteWorker()),
        )
        with pytest.raises(DatabaseUnavailableError):
            await client.start()
        assert not client.is_started


async def test_queues_come_and_go_while_the_client_works(pool: asyncpg.Pool) -> None:
    worker = NoteWorker()
    async with started(pool, worker) as client, client.subscribe() as events:
        waiting = await client.insert(NoteArgs(), InsertOpts(queue="later"))
        await client.add_queue("later", QueueConfig(max_workers=1))
        (event,) = await ended(events)
        assert event.job is not None
        assert event.job.id == waiting.job.id
        with pytest.raises(QueueAlreadyAddedError):
            await client.add_queue("later", QueueConfig(max_workers=1))
        await client.remove_queue("later")
        left = await client.insert(NoteArgs(), InsertOpts(queue="later"))
        await client.insert(NoteArgs())
        await ended(events)
        with pytest.raises(QueueNotFoundError):
            await client.remove_queue("later")
    assert (await stored(pool, left.job.id)).state is JobState.AVAILABLE


async def test_two_clients_share_the_jobs_and_run_each_once(pool: asyncpg.Pool) -> None:
    first, second = NoteWorker(), NoteWorker()
    async with (
        started(pool, first) as one,
        started(pool, second) as two,
        one.subscribe() as first_events,
        two.subscribe() as second_events,
    ):
        await one.insert_many([NoteArgs(text=str(number)) for number in range(300)])
        async with asyncio.timeout(20):
            while len(first.ran) + len(second.ran) < 300:
                await asyncio.wait(
                    {
                        asyncio.create_task(first_events.next()),
                        asyncio.create_task(second_events.next()),
                    },
                    return_when=asyncio.FIRST_COMPLETED,
                )
    texts = sorted(int(job.args.text) for job in (*first.ran, *second.ran))
    assert texts == list(range(300))
    assert await pool.fetchval("SELECT count(*) FROM river_job WHERE state = 'completed'") == 300
    assert await pool.fetchval("SELECT max(attempt) FROM river_job") == 1


async def test_only_one_of_two_clients_leads(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(), stop=False) as one:
        await wait_until(lambda: one.is_leader)
        async with started(pool, NoteWorker()) as two:
            assert not two.is_leader
            await one.stop()
            await wait_until(lambda: two.is_leader)
