"""A worker that ends its job for good: it is cancelled, not retried.

Prints::

    cancelling job
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    Job,
    JobCancel,
    QueueConfig,
    Worker,
    Workers,
)


@dataclass(frozen=True)
class CancellingArgs:
    kind: ClassVar[str] = "Cancelling"
    should_cancel: bool


class CancellingWorker(Worker[CancellingArgs]):
    async def work(self, job: Job[CancellingArgs]) -> None:
        if job.args.should_cancel:
            print("cancelling job")
            raise JobCancel("this text is stored as the job's error")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(CancellingWorker())
    config = Config(queues={"default": QueueConfig(max_workers=10)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_CANCELLED) as cancelled:
            await client.insert(CancellingArgs(should_cancel=True))
            await cancelled.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
