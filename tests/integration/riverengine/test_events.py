"""Subscriptions: which events they get, and what happens to a subscriber that falls behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

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
    JobSnooze,
    JobState,
    QueueConfig,
)
from tests.integration.riverengine.working import NoteArgs, NoteWorker, ended, started, wait_until


async def _by_text(job: Job[NoteArgs]) -> None:
    if job.args.text == "fail":
        raise ValueError("no")
    if job.args.text == "snooze":
        raise JobSnooze(timedelta(hours=1))


async def test_a_subscription_gets_the_kinds_it_asked_for(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(_by_text)) as client:
        failures = client.subscribe(EventKind.JOB_FAILED)
        everything = client.subscribe()
        # A second attempt would fail a second later.
        once = InsertOpts(max_attempts=1)
        jobs = [InsertManyParams(NoteArgs(text=text), once) for text in ("", "fail", "snooze")]
        await client.insert_many(jobs)
        kinds = {event.kind for event in await ended(everything, 3)}
        assert kinds == {EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_SNOOZED}
        await client.queue_pause("default")
        paused = (await ended(everything))[0]
        assert (paused.kind, paused.queue, paused.job) == (EventKind.QUEUE_PAUSED, "default", None)
        failed = (await ended(failures))[0]
    assert failed.job is not None
    assert failed.job.args == {"text": "fail"}


async def test_an_event_has_the_stored_row_and_the_times(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        await client.insert(NoteArgs(), InsertOpts(metadata={"a": 1}))
        event = (await ended(events))[0]
    assert event.job is not None
    assert event.stats is not None
    assert (event.job.state, event.job.metadata) == (JobState.COMPLETED, {"a": 1})
    assert event.job.finalized_at is not None
    assert timedelta(0) <= event.stats.run < timedelta(minutes=1)
    assert timedelta(0) <= event.stats.complete < timedelta(minutes=1)
    assert timedelta(0) <= event.stats.queue_wait < timedelta(minutes=1)


async def test_a_subscriber_that_falls_behind_loses_the_newest_and_knows_it(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(pool, NoteWorker()) as client:
        slow, quick = client.subscribe(buffer=2), client.subscribe()
        await client.insert_many([NoteArgs(text=str(number)) for number in range(5)])
        assert len(await ended(quick, 5)) == 5
        assert (slow.dropped, quick.dropped, client.dropped_events) == (3, 0, 3)
        slow.close()
        assert len([event async for event in slow]) == 2
    warnings = [text for text in caplog.messages if "falls behind" in text]
    assert len(warnings) == 1


async def test_a_subscription_ends_with_the_client(pool: asyncpg.Pool) -> None:
    worker = NoteWorker()
    async with started(pool, worker, stop=False) as client:
        events = client.subscribe()
        await client.insert(NoteArgs())
        await wait_until(lambda: bool(worker.ran))
        await client.stop()
    # What was received before can still be read.
    assert [event.kind async for event in events] == [EventKind.JOB_COMPLETED]
    with pytest.raises(StopAsyncIteration):
        await events.next()


@pytest.mark.parametrize("timeout", [0.02, timedelta(milliseconds=20)])
async def test_waiting_for_an_event_has_a_limit(
    pool: asyncpg.Pool, timeout: float | timedelta
) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        with pytest.raises(TimeoutError):
            await events.next(timeout)
        async with client.transaction(timeout=timedelta(seconds=30)) as tx:
            await client.insert(NoteArgs(), tx=tx)
        assert (await ended(events))[0].kind is EventKind.JOB_COMPLETED


async def test_a_closed_subscription_gets_nothing_more(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client:
        async with client.subscribe() as closed:
            pass
        async with client.subscribe() as events:
            await client.insert(NoteArgs())
            await ended(events)
        assert [event async for event in closed] == []


async def test_subscriptions_that_make_no_sense_are_refused(pool: asyncpg.Pool) -> None:
    with pytest.raises(ConfigError):
        Client(pool, Config()).subscribe()
    async with started(pool, NoteWorker()) as client:
        with pytest.raises(ValueError, match="job_exploded"):
            client.subscribe("job_exploded")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="buffer"):
            client.subscribe(buffer=0)


async def test_everybody_who_waits_is_told_of_the_end(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client:
        subscription = client.subscribe()

        async def count() -> int:
            return len([event async for event in subscription])

        counts = [asyncio.create_task(count()) for _ in range(3)]
        await client.insert(NoteArgs())
        await client.stop(timeout=timedelta(seconds=10))
        async with asyncio.timeout(20):
            assert sum(await asyncio.gather(*counts)) <= 1


@pytest.mark.parametrize("text", ["", "fail", "snooze"])
async def test_the_wait_told_is_that_before_the_attempt(pool: asyncpg.Pool, text: str) -> None:
    """A failure and a snooze move ``scheduled_at``: it is the one fetched that counts."""
    worker = NoteWorker(_by_text)
    async with started(pool, worker) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(text=text))).job
        (event,) = await ended(events)
    assert event.stats is not None
    started_at = job.scheduled_at + event.stats.queue_wait
    # The clocks of the database and of this process are the same machine's.
    assert abs(started_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_jobs_of_others_and_jobs_that_nobody_runs_are_not_told(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker()) as working,
        started(pool, NoteWorker(), queues={"other": QueueConfig(max_workers=1)}) as idle,
        working.subscribe() as heard,
    ):
        unheard = idle.subscribe()
        waiting = (await idle.insert(NoteArgs(), InsertOpts(queue="nobody"))).job
        await idle.job_cancel(waiting.id)
        await idle.insert(NoteArgs())
        (event,) = await ended(heard)
        assert event.kind is EventKind.JOB_COMPLETED
        unheard.close()
        assert [event async for event in unheard] == []
