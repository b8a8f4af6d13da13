"""Leaders that die right before a slot of a periodic job leave no slot out, and double none."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import asyncpg
import pytest

from riverengine.run.maintenance.periodic import SLOT_KEY
from tests.fault.ticking_worker import TERMS
from tests.integration.riverengine.working import wait_for_yes
from tests.sessions import within

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

_SLOTS = f"SELECT metadata ->> '{SLOT_KEY}' AS slot FROM river_job WHERE kind = 'tick'"


class Process:
    """A worker process and its client id."""

    def __init__(self, process: asyncio.subprocess.Process, client_id: str) -> None:
        self.process = process
        self.client_id = client_id

    @staticmethod
    async def start(url: str, *death: str) -> Process:
        """death: at which point of which slot it dies."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fault.ticking_worker", url, *death),
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
    async with within(60, pool):
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
        found = await slots(pool)
    assert len(found) > 15
    assert found == [found[0] + timedelta(seconds=number) for number in range(len(found))]


@pytest.mark.parametrize("point", ["claimed", "inserted"])
async def test_a_slot_whose_leader_died_over_it_is_the_next_leader_s(
    database_url: str, pool: asyncpg.Pool, point: str
) -> None:
    """Between a slot's claim and its job's commit nothing is stored that could hide the slot."""
    first = await Process.start(database_url, point, "40")
    async with asyncio.timeout(60):
        assert await first.process.wait() == -signal.SIGKILL
    before = await slots(pool)
    assert len(before) == 39
    await pool.execute("DELETE FROM river_leader")
    second = await Process.start(database_url)
    try:
        await wait_for_yes(
            pool, "SELECT count(*) >= 45 FROM river_job WHERE kind = 'tick'", seconds=60
        )
    finally:
        await second.kill()
    after = await slots(pool)
    assert after[:39] == before
    assert after == [after[0] + timedelta(seconds=number) for number in range(len(after))]


async def slots(pool: asyncpg.Pool) -> list[datetime]:
    """The instants for which a job was inserted, in order."""
    return sorted(datetime.fromisoformat(row["slot"]) for row in await pool.fetch(_SLOTS))
