"""PgQueuer's side of the benchmarks: installs its tables, does one scenario, prints a JSON object.

Its jobs carry the same payload as those of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

ENTRYPOINT = "bench"


async def drain(connection: asyncpg.Connection, jobs: int, batch: int) -> dict[str, object]:
    """Enqueue jobs, then work them all."""
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    for start in range(0, jobs, 5_000):
        number = min(5_000, jobs - start)
        payloads: list[bytes | None] = [b'{"number": 1}'] * number
        await queries.enqueue([ENTRYPOINT] * number, payloads, [0] * number)
    await connection.execute("VACUUM ANALYZE pgqueuer")
    queuer = PgQueuer(driver)
    done = 0

    @queuer.entrypoint(ENTRYPOINT)
    async def work(job: Job) -> None:
        nonlocal done
        done += 1

    cpu, began = time.process_time(), time.perf_counter()
    await queuer.run(batch_size=batch, mode=QueueExecutionMode.drain)
    seconds = time.perf_counter() - began
    left = await connection.fetchval("SELECT count(*) FROM pgqueuer")
    if done != jobs or left:
        raise RuntimeError(f"{done} of {jobs} jobs done, {left} left")
    return {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}


async def latency(url: str, jobs: int, pause: float) -> dict[str, object]:
    """From before each enqueue to the start of its work, on an idle worker."""
    working, enqueuing = await asyncpg.connect(url), await asyncpg.connect(url)
    queuer = PgQueuer(AsyncpgDriver(working))
    began = asyncio.Queue[float]()

    @queuer.entrypoint(ENTRYPOINT)
    async def work(job: Job) -> None:
        began.put_nowait(time.perf_counter())

    running = asyncio.create_task(queuer.run())
    await asyncio.sleep(2)
    queries = Queries(AsyncpgDriver(enqueuing))
    waits = []
    for _ in range(jobs):
        await asyncio.sleep(pause)
        start = time.perf_counter()
        await queries.enqueue(ENTRYPOINT, b'{"number": 1}')
        waits.append((await began.get() - start) * 1000)
    queuer.shutdown.set()
    await running
    await enqueuing.close()
    await working.close()
    return {"milliseconds": waits}


async def insert(connection: asyncpg.Connection, jobs: int) -> dict[str, object]:
    """Enqueue jobs one by one."""
    queries = Queries(AsyncpgDriver(connection))
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(jobs):
        await queries.enqueue(ENTRYPOINT, b'{"number": 1}')
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Do the scenario on fresh tables."""
    connection = await asyncpg.connect(options.url)
    queries = Queries(AsyncpgDriver(connection))
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await queries.install()
    try:
        match options.scenario:
            case "drain":
                return await drain(connection, options.jobs, options.batch)
            case "latency":
                return await latency(options.url, options.jobs, options.pause / 1000)
        return await insert(connection, options.jobs)
    finally:
        await connection.close()


def main() -> None:
    """Run the scenario the arguments name."""
    parser = argparse.ArgumentParser(prog="benchmarks.pgqueuer_peer", description=__doc__)
    parser.add_argument("scenario", choices=["drain", "latency", "insert"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--batch", type=int, default=10, help="jobs claimed at a time")
    parser.add_argument("--pause", type=float, default=0, metavar="MS", help="between jobs")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
