"""A working client follows pauses and resumptions, and survives a lost listening connection."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from riverengine import EventKind, JobState
from riverengine.queries.queue import queue_get
from riverengine.run.claims import Claims
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_until,
)

RARELY = timedelta(minutes=1)


async def test_a_paused_queue_is_not_worked_until_it_resumes(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(), poll=RARELY) as client, client.subscribe() as events:
        await client.queue_pause("default")
        (paused,) = await ended(events)
        assert (paused.kind, paused.queue) == (EventKind.QUEUE_PAUSED, "default")
        await client.queue_pause("default")
        result = await client.insert(NoteArgs())
        await client.queue_resume("*")
        resumed, completed = await ended(events, 2)
    assert (resumed.kind, resumed.queue) == (EventKind.QUEUE_RESUMED, "default")
    assert completed.kind is EventKind.JOB_COMPLETED
    assert completed.job is not None
    assert completed.job.id == result.job.id


async def test_a_pause_is_told_once_no_fetch_can_claim_any_more(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching, held = asyncio.Event(), asyncio.Event()
    claim = Claims._claim

    async def hold(self: Claims, limit: int) -> int:
        fetching.set()
        await held.wait()
        return await claim(self, limit)

    monkeypatch.setattr(Claims, "_claim", hold)
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        await asyncio.wait_for(fetching.wait(), 20)
        told = asyncio.create_task(events.next(timeout=20))
        await client.queue_pause("default")
        await wait_until(lambda: client.producers["default"].is_paused)
        await client.queue_resume("default")
        await wait_until(lambda: not client.producers["default"].is_paused)
        await client.queue_pause("default")
        await wait_until(lambda: client.producers["default"].is_paused)
        result = await client.insert(NoteArgs())
        assert not told.done()
        held.set()
        kinds = [event.kind for event in (await told, *await ended(events, 3))]
        late = await client.insert(NoteArgs())
    assert kinds == [
        EventKind.QUEUE_PAUSED,
        EventKind.QUEUE_RESUMED,
        EventKind.QUEUE_PAUSED,
        EventKind.JOB_COMPLETED,
    ]
    assert (await stored(pool, result.job.id)).state is JobState.COMPLETED
    assert (await stored(pool, late.job.id)).state is JobState.AVAILABLE


async def test_a_client_starts_paused_where_its_queue_is(pool: asyncpg.Pool) -> None:
    await pool.execute("INSERT INTO river_queue (name, paused_at) VALUES ('default', now())")
    async with started(pool, NoteWorker()) as client:
        assert client.producers["default"].is_paused
        result = await client.insert(NoteArgs())
    assert (await stored(pool, result.job.id)).state is JobState.AVAILABLE


async def test_running_jobs_go_on_while_their_queue_is_paused(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        await client.insert(NoteArgs())
        await gate.next()
        await client.queue_pause("default")
        await ended(events)
        gate.opened.set()
        (event,) = await ended(events)
    assert event.kind is EventKind.JOB_COMPLETED


@pytest.mark.parametrize("paused", [True, False])
async def test_a_look_that_was_overtaken_by_a_message_does_not_count(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """Its answer is older than what was heard while it was on its way."""
    looked, arrives = asyncio.Event(), asyncio.Event()
    get = queue_get

    async def get_late(*args: Any, **options: Any) -> Any:
        row = await get(*args, **options)
        looked.set()
        await arrives.wait()
        return row

    async with started(pool, NoteWorker()) as client:
        producer = client.producers["default"]
        if not paused:
            await client.queue_pause("default")
            await wait_until(lambda: producer.is_paused)
        monkeypatch.setattr("riverengine.run.queue_watch.queue_get", get_late)
        producer.watch.suspect_losses()
        await looked.wait()
        await (client.queue_pause("default") if paused else client.queue_resume("default"))
        await wait_until(lambda: producer.is_paused is paused)
        arrives.set()
        # The next look begins when this one is done with.
        looked.clear()
        producer.watch.suspect_losses()
        arrives.clear()
        await looked.wait()
        assert producer.is_paused is paused
        arrives.set()


async def test_a_polling_client_finds_a_pause_by_looking(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), poll_only=True) as client,
        client.subscribe(EventKind.QUEUE_PAUSED) as events,
    ):
        await pool.execute("UPDATE river_queue SET paused_at = now()")
        (event,) = await ended(events)
    assert event.queue == "default"


async def test_the_notifier_listens_again_after_its_connection_broke(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(), poll=RARELY) as client, client.subscribe() as events:
        notifier = client._notifier
        assert notifier is not None
        notifier.signal_lost.arm()
        killed = await pool.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE"
            " 'LISTEN%' AND datname = current_database()"
        )
        assert killed == 1
        await notifier.signal_lost.wait()
        notifier.signal_listening.arm()
        await notifier.signal_listening.wait()
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    assert event.kind is EventKind.JOB_COMPLETED


async def test_a_bad_payload_is_ignored(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker(), poll=RARELY) as client, client.subscribe() as events:
        for payload in ("", "[]", "no json", '{"queue": 5}', '{"action": "unknown"}'):
            await pool.execute("SELECT pg_notify('public.river_control', $1)", payload)
            await pool.execute("SELECT pg_notify('public.river_insert', $1)", payload)
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    assert event.kind is EventKind.JOB_COMPLETED


async def test_a_failing_fetch_is_tried_again(pool: asyncpg.Pool) -> None:
    async with started(pool, NoteWorker()) as client, client.subscribe() as events:
        await pool.execute("ALTER TABLE river_job RENAME TO river_job_away")
        producer = client.producers["default"]
        producer.signal_fetched.arm()
        try:
            while producer.fetch_errors == 0:
                await pool.execute("SELECT pg_sleep(0.01)")
        finally:
            await pool.execute("ALTER TABLE river_job_away RENAME TO river_job")
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    assert event.kind is EventKind.JOB_COMPLETED
