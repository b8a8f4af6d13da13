"""Leaders that die right before a slot of a periodic job leave no slot out, and double none."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import asyncpg
import pytest

from riverengine.run.maintenance.periodic import SLOT_KEY
from tests.fault.ticking_worker import TERMS

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

_SLOTS = f"SELECT metadata ->> '{SLOT_KEY}' AS slot FROM river_job WHERE kind = 'tick'"


class Process:
    """A worker process and its client id."""

    def __init__(self, process: asyncio.subprocess.Process, client_id: str) -> None:
        self.process = process
        self.client_id = client_id

    @staticmethod
    async def start(url: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fault.ticking_worker", url),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            client_id = (await process.stdout.readline()).decode().strip()
        return Process(process, client_id)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def leader_of(pool: asyncpg.Pool, *, but: str) -> str:
    """The client that leads, once it is another one."""
    async with asyncio.timeout(60):
        while True:
            leader = await pool.fetchval(
                "SELECT leader_id FROM river_leader WHERE expires_at > now()"
            )
            if leader is not None and leader != but:
                return str(leader)
            await asyncio.sleep(0.05)


async def test_no_slot_is_left_out_or_doubled(database_url: str, pool: asyncpg.Pool) -> None:
    async with AsyncExitStack() as stack:
        workers: dict[str, Process] = {}

        async def add() -> None:
            worker = await Process.start(database_url)
            stack.push_async_callback(worker.kill)
            workers[worker.client_id] = worker

        await add()
        await add()
        killed, longest = "", 0.0
        for _ in range(3):
            leader = await leader_of(pool, but=killed)
            await asyncio.sleep(3)
            await asyncio.sleep(0.9 - time.time() % 1 if time.time() % 1 < 0.9 else 1.8)
            began = time.monotonic()
            await workers[leader].kill()
            killed = leader
            await add()
            await leader_of(pool, but=killed)
            longest = max(longest, time.monotonic() - began)
        # A killed leader's term ends soon after its last prolongation; then a follower looks.
        term = TERMS.ttl + TERMS.interval + TERMS.jitter
        assert longest < term.total_seconds() + 10
        await asyncio.sleep(3)
        rows = await pool.fetch(_SLOTS)
    slots = sorted(datetime.fromisoformat(row["slot"]) for row in rows)
    assert len(slots) > 15
    assert slots == [slots[0] + timedelta(seconds=number) for number in range(len(slots))]
