"""A queue that is paused while the service its jobs need is down, and resumed later.

Prints::

    Pausing unreliable_external_service queue
    Inserting one job each into unreliable and reliable queues
    Job worked on reliable_jobs queue
    Resuming unreliable_external_service queue
    Job worked on unreliable_external_service queue
"""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertOpts,
    Job,
    QueueConfig,
    Worker,
    Workers,
)

RELIABLE = "reliable_jobs"
UNRELIABLE = "unreliable_external_service"


@dataclass(frozen=True)
class ReportingArgs:
    kind: ClassVar[str] = "Reporting"


class ReportingWorker(Worker[ReportingArgs]):
    def __init__(self) -> None:
        self.worked: asyncio.Queue[str] = asyncio.Queue()

    async def work(self, job: Job[ReportingArgs]) -> None:
        await self.worked.put(job.row.queue)


async def main(database_url: str) -> None:
    worker = ReportingWorker()
    workers = Workers()
    workers.add(worker)
    config = Config(
        queues={UNRELIABLE: QueueConfig(max_workers=10), RELIABLE: QueueConfig(max_workers=10)}
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with asyncio.timeout(30), client.subscribe(EventKind.QUEUE_PAUSED) as paused:
            print(f"Pausing {UNRELIABLE} queue")
            await client.queue_pause(UNRELIABLE)
            await paused.next()

            print("Inserting one job each into unreliable and reliable queues")
            await client.insert(ReportingArgs(), InsertOpts(queue=UNRELIABLE))
            await client.insert(ReportingArgs(), InsertOpts(queue=RELIABLE))
            print(f"Job worked on {await worker.worked.get()} queue")

            print(f"Resuming {UNRELIABLE} queue")
            await client.queue_resume(UNRELIABLE)
            print(f"Job worked on {await worker.worked.get()} queue")
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
