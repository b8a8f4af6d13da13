"""Connections cut again and again while jobs run: nothing is lost, nothing runs twice unseen."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest

from riverengine import Job, QueueConfig
from tests.integration.riverengine.working import (
    SOON,
    NoteArgs,
    NoteWorker,
    started,
    wait_until,
)
from tests.sessions import within

pytestmark = pytest.mark.fault

_CUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_cut_connections_lose_no_job(database_url: str) -> None:
    ran: Counter[str] = Counter()

    async def count(job: Job[NoteArgs]) -> None:
        ran[job.args.text] += 1
        await asyncio.sleep(0.01)

    observer = await asyncpg.connect(database_url)
    try:
        async with asyncpg.create_pool(database_url, min_size=1, max_size=10) as pool:
            queues = {"default": QueueConfig(max_workers=20)}
            async with started(pool, NoteWorker(count), queues=queues) as client:
                await client.insert_many([NoteArgs(text=str(number)) for number in range(400)])
                for _ in range(4):
                    await observer.execute("SELECT pg_sleep(0.05)")
                    await observer.execute(_CUT)
                async with asyncio.timeout(60):
                    while True:
                        left = await observer.fetchval(
                            "SELECT count(*) FROM river_job WHERE state <> 'completed'"
                        )
                        if left == 0:
                            break
                        await asyncio.sleep(0.05)
            rows = await observer.fetch("SELECT args ->> 'text' AS text, attempt FROM river_job")
    finally:
        await observer.close()
    assert {row["text"] for row in rows} == {str(number) for number in range(400)}
    for row in rows:
        assert ran[row["text"]] == row["attempt"]


_BACKENDS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND application_name <> 'observer' ORDER BY backend_start"
)


async def test_each_connection_that_is_terminated_is_replaced_within_seconds(
    database_url: str,
) -> None:
    """Listener, heartbeats, fetches, outcomes, elections: whichever it is."""
    settings = {"application_name": "observer"}
    observer = await asyncpg.connect(database_url, server_settings=settings)
    terminated = 0
    try:
        async with (
            asyncpg.create_pool(database_url, min_size=2, max_size=5) as pool,
            started(pool, NoteWorker()) as client,
            client.subscribe() as events,
        ):
            for round_ in range(60):
                pids = [row["pid"] for row in await observer.fetch(_BACKENDS)]
                pid = pids[round_ % len(pids)]
                terminated += await observer.fetchval(
                    "SELECT pg_terminate_backend($1)::integer", pid
                )
                await observer.execute("INSERT INTO river_job (kind, args) VALUES ('note', '{}')")
                await events.next(timeout=SOON)
            await wait_until(lambda: client.health.notifications == "listening")
            # The sessions that were told to end do so a moment later.
            async with within(SOON, pool):
                while len(await observer.fetch(_BACKENDS)) > 5 + 2:
                    pass
    finally:
        await observer.close()
    assert terminated >= 50
