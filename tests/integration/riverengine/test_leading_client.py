"""What a client does because it leads, and what it can ask the leader for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    ConfigError,
    InsertOpts,
    NeverSchedule,
    PeriodicInterval,
    PeriodicJob,
    QueueConfig,
    Subscription,
)
from riverengine.run.elector import ElectorTimings
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.periodic import PeriodicEnqueuer
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    started,
    wait_until,
)

AT_ONCE = MaintenanceTimings(stagger=timedelta(0))
QUICK = ElectorTimings(interval=timedelta(milliseconds=100), jitter=timedelta(0))
HOURLY = PeriodicInterval(timedelta(hours=1))
OFTEN = PeriodicInterval(timedelta(milliseconds=50))


@asynccontextmanager
async def leading(pool: asyncpg.Pool, **client_options: Any) -> AsyncIterator[Client]:
    """A client that leads."""
    options = {"maintenance_timings": AT_ONCE, "elector_timings": QUICK} | client_options
    async with started(pool, NoteWorker(), client_options=options) as client:
        await wait_until(lambda: client.is_leader)
        yield client


def _note(text: str) -> tuple[object, InsertOpts | None]:
    return NoteArgs(text=text), None


async def _texts(events: Subscription, number: int) -> list[str]:
    return sorted(event.job.args["text"] for event in await ended(events, number) if event.job)


async def test_jobs_run_on_start_and_carry_their_id(pool: asyncpg.Pool) -> None:
    added = PeriodicJob(HOURLY, lambda: _note("start"), id="note-hourly", run_on_start=True)
    async with leading(pool, periodic_jobs=[added]):
        async with asyncio.timeout(20):
            while True:
                metadata = await pool.fetchval("SELECT metadata FROM river_job")
                if metadata is not None:
                    break
                await asyncio.sleep(0.01)
    assert metadata == '{"periodic": true, "river:periodic_job_id": "note-hourly"}'


async def test_jobs_added_to_the_leader_take_effect_at_once(pool: asyncpg.Pool) -> None:
    async with leading(pool) as client, client.subscribe() as events:
        client.periodic_jobs.add(
            PeriodicJob(NeverSchedule(), lambda: _note("added"), run_on_start=True)
        )
        assert await _texts(events, 1) == ["added"]
        handles = client.periodic_jobs.add_many(
            [
                PeriodicJob(
                    PeriodicInterval(timedelta(milliseconds=50)), partial(_note, text), text
                )
                for text in ("one", "two")
            ]
        )
        await ended(events, 4)
        assert client._maintainer is not None
        waiting = client._maintainer.service(PeriodicEnqueuer).signal_waiting
        waiting.arm()
        client.periodic_jobs.remove(handles[0])
        assert client.periodic_jobs.remove_by_id("two")
        assert len(client.periodic_jobs) == 1
        # Nothing is to come any more, once what was under way has ended.
        while await waiting.wait() < timedelta(minutes=1).total_seconds():
            pass


async def test_a_client_that_never_leads_has_no_periodic_jobs(pool: asyncpg.Pool) -> None:
    queues = {"default": QueueConfig(max_workers=1)}
    for config in (Config(), Config(queues=queues, leader_election_disabled=True)):
        with pytest.raises(ConfigError) as error:
            _ = Client(pool, config).periodic_jobs
        assert error.value.setting == "periodic_jobs"
    assert len(Client(pool, Config(queues=queues)).periodic_jobs) == 0


async def test_a_callback_tells_of_leadership(pool: asyncpg.Pool) -> None:
    told: list[bool] = []

    def fail(leads: bool) -> None:
        raise ValueError("of the callback")

    async with leading(pool) as client:
        client.on_leader_change(fail)
        end = client.on_leader_change(told.append)
        assert told == [True]
        await client.notify.request_resign()
        await wait_until(lambda: told[-2:] == [False, True])
        end()
        before = len(told)
    assert len(told) == before


async def test_a_request_to_resign_ends_the_term(pool: asyncpg.Pool) -> None:
    told: list[bool] = []
    async with leading(pool) as client:
        first = await pool.fetchval("SELECT elected_at FROM river_leader")
        client.on_leader_change(told.append)
        # Any client may ask, also one that works nothing.
        await Client(pool, Config()).notify.request_resign()
        await wait_until(lambda: told == [True, False, True])
        assert await pool.fetchval("SELECT elected_at FROM river_leader") > first


@pytest.mark.parametrize("commit", [True, False])
async def test_a_request_to_resign_waits_for_the_commit(pool: asyncpg.Pool, commit: bool) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with pool.acquire() as listener, pool.acquire() as tx:
        schema = await listener.fetchval("SELECT current_schema()")
        channel = f"{schema}.river_leadership"
        await listener.add_listener(channel, lambda *told: heard.put_nowait(str(told[-1])))
        transaction = tx.transaction()
        await transaction.start()
        client = Client(pool, Config())
        await client.notify.request_resign(tx=tx)
        await (transaction.commit() if commit else transaction.rollback())
        await listener.execute("SELECT pg_notify($1, 'end')", channel)
        first = await asyncio.wait_for(heard.get(), 20)
        await listener.reset()
    assert first == ('{"action":"request_resign","leader_id":""}' if commit else "end")
