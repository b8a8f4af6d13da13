"""A running job cancelled from outside, by any client of the database.

Prints::

    JobCancelError: job cancelled remotely

Go's example prints its client's log record of the cancellation; here it is the error stored with
the job, which says the same.
"""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client, Config, EventKind, Job, QueueConfig, Worker, Workers


@dataclass(frozen=True)
class SleepingArgs:
    kind: ClassVar[str] = "SleepingWorker"


class SleepingWorker(Worker[SleepingArgs]):
    def __init__(self) -> None:
        self.started = asyncio.Event()

    async def work(self, job: Job[SleepingArgs]) -> None:
        self.started.set()
        await asyncio.sleep(30)
        raise TimeoutError("nobody cancelled this job")


async def main(database_url: str) -> None:
    worker = SleepingWorker()
    workers = Workers()
    workers.add(worker)
    config = Config(queues={"default": QueueConfig(max_workers=10)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_CANCELLED) as cancelled:
            inserted = await client.insert(SleepingArgs())
            await worker.started.wait()
            await client.job_cancel(inserted.job.id)
            event = await cancelled.next(timeout=30)
        await client.stop()
    assert event.job is not None
    print(event.job.errors[-1].error)


if __name__ == "__main__":
    run(main, __doc__)
