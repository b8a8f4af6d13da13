"""Nothing grows with the jobs worked: neither memory, nor tasks, nor PostgreSQL's backends.

``RIVERJOBS_LEAK_JOBS`` is how many jobs are worked (16,000 by default).
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from riverengine import Client, InsertManyParams, InsertOpts, Job, QueueConfig
from tests.integration.riverengine.working import NoteArgs, NoteWorker, started, wait_for_yes

JOBS = int(os.environ.get("RIVERJOBS_LEAK_JOBS", "16000"))
ROUNDS = 8
BLOCKS_PER_JOB = 0.5
"""The smallest leak, of one object for every job, is twice as much. Caches that warm up late,
a connection's for a statement it had not run before, took up to 1,800 blocks in 8,000 jobs."""
RSS_PER_JOB = 512
"""Bytes; a row alone takes more than a kilobyte."""

pytestmark = pytest.mark.timeout(60 + JOBS / 200)


@dataclass(frozen=True)
class Held:
    """What the process holds at one moment. blocks: of Python's allocator.  rss: in bytes."""

    blocks: int
    rss: int
    tasks: int
    backends: frozenset[int]


class Forgetful(NoteWorker):
    """Fails some jobs for good, and remembers none."""

    async def work(self, job: Job[NoteArgs]) -> None:
        if job.args.text.endswith("0"):
            raise RuntimeError("told to fail")


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _held(observer: asyncpg.Connection) -> Held:
    rows = await observer.fetch(
        # Not the autovacuum's workers, which come and go.
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend'"
    )
    gc.collect()
    return Held(
        blocks=sys.getallocatedblocks(),
        rss=_rss(),
        tasks=len(asyncio.all_tasks()),
        backends=frozenset(row["pid"] for row in rows),
    )


async def _insert(client: Client, number: int) -> None:
    """Jobs by every kind of insert: a few alone, some in transactions, most together."""
    opts = InsertOpts(max_attempts=1)
    for n in range(20):
        await client.insert(NoteArgs(text=str(n)), opts)
        async with client.transaction() as tx:
            await client.insert(NoteArgs(text=str(n)), opts, tx=tx)
    jobs = [InsertManyParams(NoteArgs(text=str(n)), opts) for n in range(number - 40)]
    half = len(jobs) // 2
    await client.insert_many(jobs[:half])
    await client.insert_many_fast(jobs[half:])


async def _round(client: Client, observer: asyncpg.Pool, number: int) -> None:
    for _ in range(50):
        client.subscribe().close()
    async with client.subscribe():
        await _insert(client, number)
        await wait_for_yes(
            observer,
            "SELECT count(*) = $1 FROM river_job WHERE finalized_at IS NOT NULL",
            number,
            seconds=60 + number / 200,
        )
    await observer.execute("TRUNCATE river_job")


async def test_nothing_grows_with_the_jobs_worked(pool: asyncpg.Pool, database_url: str) -> None:
    """River leaked memory with every job, and connections with every listener that failed."""
    number = JOBS // ROUNDS
    held: list[Held] = []
    queues = {"default": QueueConfig(max_workers=200)}
    async with (
        asyncpg.create_pool(database_url, min_size=5, max_size=5) as own,
        started(own, Forgetful(), queues=queues) as client,
        pool.acquire() as watcher,
    ):
        for _ in range(ROUNDS):
            await _round(client, pool, number)
            held.append(await _held(watcher))
    # Caches, statements and the allocator's arenas are warm after some rounds.
    first, last = held[ROUNDS // 2 - 1], held[-1]
    worked = number * (ROUNDS - ROUNDS // 2)
    assert (last.blocks - first.blocks) / worked < BLOCKS_PER_JOB, _column(held, "blocks")
    assert (last.rss - first.rss) / worked < RSS_PER_JOB, _column(held, "rss")
    assert last.tasks <= first.tasks + 3, _column(held, "tasks")
    assert len(last.backends) <= len(first.backends), _column(held, "backends")


def _column(held: Sequence[Held], name: str) -> list[object]:
    return [getattr(each, name) for each in held]
