"""A leader that was frozen (SIGSTOP) leads again, or follows whoever took over, without a fuss."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine.run.bounded_pool import TIMEOUT
from riverengine.run.maintenance.periodic import SLOT_KEY
from tests.integration.riverengine.working import wait_for_yes

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

SCALE = float(os.environ.get("RIVERJOBS_FREEZE_SCALE", "0.04"))
"""Of River's timings; 1 freezes for two minutes."""

FROZEN = 120 * SCALE
LEADS_WITHIN = max(21 * SCALE, TIMEOUT + 2)
"""The longer where it was frozen at the end of a transaction that holds its term."""

ALLOWANCE = 5.0
"""Seconds by which a busy machine may be late."""

MOST_LINES = 20
_VALID = "EXISTS (SELECT FROM river_leader WHERE leader_id = $1 AND expires_at > now())"


class Process:
    """A worker process, its client id, and what it logged."""

    def __init__(self, process: asyncio.subprocess.Process, client_id: str) -> None:
        self.process = process
        self.client_id = client_id
        self.lines: list[str] = []
        self._seen = 0

    def send(self, number: signal.Signals) -> None:
        self._seen = len(self.lines)
        self.process.send_signal(number)

    @property
    def lines_since_signal(self) -> int:
        """How many lines it logged since it was sent a signal."""
        return len(self.lines) - self._seen

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode())


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[Process]:
    """A process with a periodic job for every second."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fault.ticking_worker", url, str(SCALE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            started = Process(process, (await process.stdout.readline()).decode().strip())
        log = asyncio.create_task(started.read_log())
        try:
            yield started
        except BaseException as error:
            error.add_note(f"{started.client_id} logged:\n{''.join(started.lines[-200:])}")
            raise
    finally:
        process.kill()
        await process.wait()
    await log


async def wait_until_it_leads_and_rests(pool: asyncpg.Pool, one: Process) -> datetime:
    """When it did: it inserts the jobs of the last three minutes first."""
    await seconds_until_it_leads(pool, one)
    await wait_for_yes(pool, "SELECT count(*) >= 180 FROM river_job", seconds=60)
    return datetime.now(UTC)


async def seconds_until_it_leads(pool: asyncpg.Pool, one: Process) -> float:
    began = time.monotonic()
    await wait_for_yes(pool, f"SELECT {_VALID}", one.client_id, seconds=60)
    return time.monotonic() - began


async def assert_no_slot_is_doubled_or_left_out(pool: asyncpg.Pool, since: datetime) -> None:
    rows = await pool.fetch(f"SELECT metadata ->> '{SLOT_KEY}' AS slot FROM river_job")
    found = sorted(datetime.fromisoformat(row["slot"]) for row in rows)
    assert len(found) == len(set(found))
    slots = [slot for slot in found if slot > since]
    assert slots == [slots[0] + timedelta(seconds=number) for number in range(len(slots))]


async def test_a_lone_leader_that_was_frozen_leads_again(
    database_url: str, pool: asyncpg.Pool
) -> None:
    async with worker(database_url) as one:
        since = await wait_until_it_leads_and_rests(pool, one)
        one.send(signal.SIGSTOP)
        await asyncio.sleep(FROZEN)
        assert not await pool.fetchval(f"SELECT {_VALID}", one.client_id)
        one.send(signal.SIGCONT)
        assert await seconds_until_it_leads(pool, one) < LEADS_WITHIN + ALLOWANCE
        await asyncio.sleep(50 * SCALE)  # ten prolongations
        assert one.lines_since_signal < MOST_LINES
        await seconds_until_it_leads(pool, one)
        # Those of the time it was frozen are made up for.
        await assert_no_slot_is_doubled_or_left_out(pool, since)


async def test_leaders_frozen_one_after_the_other_replace_each_other(
    database_url: str, pool: asyncpg.Pool
) -> None:
    async with worker(database_url) as first:
        since = await wait_until_it_leads_and_rests(pool, first)
        async with worker(database_url) as second:
            first.send(signal.SIGSTOP)
            assert await seconds_until_it_leads(pool, second) < LEADS_WITHIN + ALLOWANCE
            await asyncio.sleep(FROZEN / 2)
            second.send(signal.SIGSTOP)
            first.send(signal.SIGCONT)
            assert await seconds_until_it_leads(pool, first) < LEADS_WITHIN + ALLOWANCE
            second.send(signal.SIGCONT)
            await asyncio.sleep(50 * SCALE)
            assert first.lines_since_signal < MOST_LINES
            assert second.lines_since_signal < MOST_LINES
            await wait_for_yes(pool, "SELECT expires_at > now() FROM river_leader")
            await assert_no_slot_is_doubled_or_left_out(pool, since)
