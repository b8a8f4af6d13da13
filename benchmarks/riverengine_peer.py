"""riverengine's side of the benchmarks: does one scenario on a prepared database.

Prints one JSON object; ``tests/interop/go/cmd/bench`` is Go River's counterpart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg

from riverengine import Client, Config, Job, QueueConfig, Worker, Workers

UNFINISHED = "SELECT EXISTS (SELECT 1 FROM river_job WHERE state IN ('available', 'running'))"


@dataclass(frozen=True)
class BenchArgs:
    """Args of a job that does nothing."""

    kind: ClassVar[str] = "bench"
    number: int


class BenchWorker(Worker[BenchArgs]):
    """Counts, and notes when a job began."""

    def __init__(self, total: int) -> None:
        self.left = total
        self.began = 0.0
        self.job_began = asyncio.Event()
        self.all_done = asyncio.Event()

    async def work(self, job: Job[BenchArgs]) -> None:
        self.began = time.perf_counter()
        self.job_began.set()
        self.left -= 1
        if not self.left:
            self.all_done.set()


async def drain(client: Client, worker: BenchWorker) -> dict[str, object]:
    """Work all jobs there are."""
    cpu, start = time.process_time(), time.perf_counter()
    await client.start()
    await worker.all_done.wait()
    while await client.pool.fetchval(UNFINISHED):
        await asyncio.sleep(0.002)
    result: dict[str, object] = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
    }
    await client.stop()
    return result


async def latency(
    client: Client, worker: BenchWorker, jobs: int, pause: float
) -> dict[str, object]:
    """From before each insert to the start of its work, on an idle client."""
    await client.start()
    await asyncio.sleep(2)
    waits = []
    for number in range(jobs):
        await asyncio.sleep(pause)
        worker.job_began.clear()
        start = time.perf_counter()
        await client.insert(BenchArgs(number))
        await worker.job_began.wait()
        waits.append((worker.began - start) * 1000)
    await client.stop()
    return {"milliseconds": waits}


async def insert(client: Client, jobs: int) -> dict[str, object]:
    """Insert jobs one by one."""
    for number in range(jobs // 10):
        await client.insert(BenchArgs(number))
    cpu, start = time.process_time(), time.perf_counter()
    for number in range(jobs):
        await client.insert(BenchArgs(number))
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Do the scenario."""
    worker = BenchWorker(options.jobs)
    workers = Workers()
    workers.add(worker)
    queues = {"default": QueueConfig(max_workers=options.workers)}
    config = Config(queues={} if options.scenario == "insert" else queues)
    if options.cooldown:
        config = Config(queues=queues, fetch_cooldown=timedelta(milliseconds=options.cooldown))
    async with asyncpg.create_pool(options.url, min_size=1, max_size=10) as pool:
        client = Client(pool, config, workers=workers)
        match options.scenario:
            case "drain":
                return await drain(client, worker)
            case "latency":
                return await latency(client, worker, options.jobs, options.pause / 1000)
        return await insert(client, options.jobs)


def main() -> None:
    """Run the scenario the arguments name."""
    parser = argparse.ArgumentParser(prog="benchmarks.riverengine_peer", description=__doc__)
    parser.add_argument("scenario", choices=["drain", "latency", "insert"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--workers", type=int, default=100, help="jobs at a time")
    parser.add_argument("--cooldown", type=float, default=0, metavar="MS", help="0: River's")
    parser.add_argument("--pause", type=float, default=0, metavar="MS", help="between jobs")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
