"""A handler of stuck jobs: it opens replacement slots, and gives the process up in the end.

Prints::

    stuck jobs: 1; opening replacement worker slot
    stuck jobs: 2; opening replacement worker slot
    too many stuck jobs: 3; shutting down so the process can restart
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    Job,
    JobStuckHandlerParams,
    JobStuckHandlerResult,
    QueueConfig,
    Worker,
    Workers,
)

MAX_STUCK_JOBS = 2


@dataclass(frozen=True)
class StuckJobHandlerArgs:
    kind: ClassVar[str] = "stuck_job_handler"


class StuckJobHandlerWorker(Worker[StuckJobHandlerArgs]):
    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def work(self, job: Job[StuckJobHandlerArgs]) -> None:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue  # what no worker should do: it ignores its timeout


async def main(database_url: str) -> None:
    worker = StuckJobHandlerWorker()
    workers = Workers()
    workers.add(worker)
    restart_requested = asyncio.Event()

    def handle(params: JobStuckHandlerParams) -> JobStuckHandlerResult | None:
        if params.total_stuck_jobs <= MAX_STUCK_JOBS:
            print(f"stuck jobs: {params.total_stuck_jobs}; opening replacement worker slot")
            return JobStuckHandlerResult(add_worker_slot=True)
        print(
            f"too many stuck jobs: {params.total_stuck_jobs}; "
            "shutting down so the process can restart"
        )
        restart_requested.set()
        return None

    config = Config(
        job_stuck_handler=handle,
        job_stuck_threshold=timedelta(milliseconds=1),
        job_timeout=timedelta(milliseconds=10),
        queues={"default": QueueConfig(max_workers=1)},
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        for _ in range(MAX_STUCK_JOBS + 1):
            await client.insert(StuckJobHandlerArgs())
        async with asyncio.timeout(30):
            await restart_requested.wait()
        stopping = asyncio.create_task(client.stop())
        worker.released.set()
        await stopping


if __name__ == "__main__":
    run(main, __doc__)
