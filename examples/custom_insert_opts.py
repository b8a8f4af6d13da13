"""Options of inserts: those every job of a type has, and those of one insert.

Prints::

    Ran in queue: high_priority
    Ran in queue: high_priority
"""

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


@dataclass(frozen=True)
class AlwaysHighPriorityArgs:
    kind: ClassVar[str] = "always_high_priority"

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="high_priority")


class AlwaysHighPriorityWorker(Worker[AlwaysHighPriorityArgs]):
    async def work(self, job: Job[AlwaysHighPriorityArgs]) -> None:
        print(f"Ran in queue: {job.row.queue}")


@dataclass(frozen=True)
class SometimesHighPriorityArgs:
    kind: ClassVar[str] = "sometimes_high_priority"


class SometimesHighPriorityWorker(Worker[SometimesHighPriorityArgs]):
    async def work(self, job: Job[SometimesHighPriorityArgs]) -> None:
        print(f"Ran in queue: {job.row.queue}")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(AlwaysHighPriorityWorker())
    workers.add(SometimesHighPriorityWorker())
    config = Config(
        queues={
            "default": QueueConfig(max_workers=100),
            "high_priority": QueueConfig(max_workers=100),
        }
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(AlwaysHighPriorityArgs())
            await client.insert(SometimesHighPriorityArgs(), InsertOpts(queue="high_priority"))
            for _ in range(2):
                await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
