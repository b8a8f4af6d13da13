"""Queues come and go while a client works, or before it does."""

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
    EventKind,
    InsertManyParams,
    InsertOpts,
    Job,
    JobState,
    QueueAlreadyAddedError,
    QueueConfig,
    QueueNotFoundError,
    StopTimeoutError,
    Worker,
)
from tests.integration.riverengine.working import (
    FAST,
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_until,
    workers_of,
)

ONE = QueueConfig(max_workers=1)
LATER = InsertOpts(queue="later")


def unstarted(pool: asyncpg.Pool, worker: Worker[NoteArgs]) -> Client:
    config = Config(queues={"default": ONE}, fetch_poll_interval=FAST, fetch_cooldown=FAST)
    return Client(pool, config, workers=workers_of(worker))


async def test_a_queue_added_before_the_start_is_worked_from_then_on(pool: asyncpg.Pool) -> None:
    client = unstarted(pool, NoteWorker())
    await client.add_queue("later", ONE)
    with pytest.raises(QueueAlreadyAddedError) as refusal:
        await client.add_queue("later", ONE)
    assert str(refusal.value) == 'queue "later" already added'
    for _ in range(2):
        # It stays over a stop and another start.
        await client.start()
        async with client.subscribe() as events:
            await client.insert(NoteArgs(), LATER)
            assert [event.kind for event in await ended(events)] == [EventKind.JOB_COMPLETED]
        await client.stop(timeout=timedelta(seconds=10))


async def test_a_queue_removed_before_the_start_is_not_worked(pool: asyncpg.Pool) -> None:
    client = unstarted(pool, NoteWorker())
    await client.add_queue("later", ONE)
    await client.remove_queue("default")
    with pytest.raises(QueueNotFoundError) as refusal:
        await client.remove_queue("default")
    assert str(refusal.value) == 'queue "default" not found'
    await client.start()
    assert set(client.producers) == {"later"}
    await client.stop(timeout=timedelta(seconds=10))


async def test_only_a_client_configured_to_work_takes_queues(pool: asyncpg.Pool) -> None:
    with pytest.raises(ConfigError, match="cannot add queue"):
        await Client(pool, workers=workers_of(NoteWorker())).add_queue("later", ONE)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("", ONE),
        ("no spaces", ONE),
        ("x" * 65, ONE),
        ("later", QueueConfig(max_workers=0)),
        ("later", QueueConfig(max_workers=10_001)),
        ("later", QueueConfig(max_workers=1, fetch_cooldown=timedelta(seconds=2))),
    ],
)
async def test_odd_queues_are_refused(pool: asyncpg.Pool, name: str, settings: QueueConfig) -> None:
    client = unstarted(pool, NoteWorker())
    with pytest.raises(ConfigError):
        await client.add_queue(name, settings)
    with pytest.raises(QueueNotFoundError):
        await client.remove_queue(name)


async def test_a_queue_is_added_once_by_two_at_the_same_time(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client:
        results = await asyncio.gather(
            *(client.add_queue("later", ONE) for _ in range(3)), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == [
            "NoneType",
            "QueueAlreadyAddedError",
            "QueueAlreadyAddedError",
        ]


async def test_an_error_of_the_database_leaves_the_queue_out(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        await pool.execute("ALTER TABLE river_queue RENAME TO river_queue_away")
        try:
            with pytest.raises(asyncpg.UndefinedTableError):
                await client.add_queue("later", ONE)
        finally:
            await pool.execute("ALTER TABLE river_queue_away RENAME TO river_queue")
        await client.add_queue("later", ONE)
        await client.insert(NoteArgs(), LATER)
        await ended(events)


async def test_removing_waits_for_the_queue_s_jobs(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        await client.add_queue("later", ONE)
        first = (await client.insert(NoteArgs(), LATER)).job
        await gate.next()
        with pytest.raises(StopTimeoutError) as refusal:
            await client.remove_queue("later", timeout=timedelta(milliseconds=20))
        assert refusal.value.running == 1
        with pytest.raises(QueueAlreadyAddedError):
            await client.add_queue("later", ONE)
        second = (await client.insert(NoteArgs(), LATER)).job
        removing = [asyncio.create_task(client.remove_queue("later")) for _ in range(2)]
        gate.opened.set()
        await asyncio.gather(*removing)
        (event,) = await ended(events)
        assert event.job is not None
        assert event.job.id == first.id
        assert (await stored(pool, second.id)).state is JobState.AVAILABLE
        await client.add_queue("later", ONE)
        (event,) = await ended(events)
        assert event.job is not None
        assert event.job.id == second.id


async def test_a_queue_added_during_a_stop_is_worked_from_the_next_start_on(
    pool: asyncpg.Pool,
) -> None:
    gate = Gate()
    client = unstarted(pool, NoteWorker(gate))
    await client.start()
    await client.insert(NoteArgs())
    await gate.next()
    stopping = asyncio.create_task(client.stop(timeout=timedelta(seconds=10)))
    await wait_until(lambda: client._jobs.producers["default"]._draining)
    await client.add_queue("later", ONE)
    assert set(client.producers) == {"default"}
    gate.opened.set()
    await stopping
    await client.start()
    assert set(client.producers) == {"default", "later"}
    await client.stop(timeout=timedelta(seconds=10))


async def test_stopping_while_starting_leaves_nothing_behind(pool: asyncpg.Pool) -> None:
    client = unstarted(pool, NoteWorker())
    starts = [asyncio.create_task(client.start()) for _ in range(2)]
    await wait_until(lambda: client.is_started)
    await client.stop(timeout=timedelta(seconds=20))
    await asyncio.gather(*starts)
    assert not client.is_started
    assert client.producers == {}


class ThreadWorker(Worker[NoteArgs]):
    """Blocks its thread until all threads wanted are there."""

    def __init__(self, parties: int) -> None:
        self.barrier = threading.Barrier(parties, timeout=20)

    def work(self, job: Job[NoteArgs]) -> None:
        self.barrier.wait()


async def test_an_added_queue_has_threads_of_its_own(pool: asyncpg.Pool) -> None:
    worker = ThreadWorker(4)
    queues = {"default": ONE}
    async with started(pool, worker, queues=queues) as client, client.subscribe() as events:
        await client.insert(NoteArgs())
        await wait_until(lambda: worker.barrier.n_waiting == 1)
        await client.add_queue("later", QueueConfig(max_workers=3))
        await client.insert_many([InsertManyParams(NoteArgs(), LATER) for _ in range(3)])
        assert {event.kind for event in await ended(events, 4)} == {EventKind.JOB_COMPLETED}
