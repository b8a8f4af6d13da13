"""A worker, a client, and a job that is inserted together with other data.

Prints::

    Sorted strings: [bear tiger whale]
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client, Config, EventKind, Job, QueueConfig, Worker, Workers


@dataclass(frozen=True)
class SortArgs:
    kind: ClassVar[str] = "sort"
    strings: list[str]


class SortWorker(Worker[SortArgs]):
    async def work(self, job: Job[SortArgs]) -> None:
        print(f"Sorted strings: [{' '.join(sorted(job.args.strings))}]")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(SortWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            # Inserted in the transaction that writes the data it needs, a job is worked only once
            # that data is there, and never if the transaction is rolled back.
            async with pool.acquire() as tx, tx.transaction():
                await client.insert(SortArgs(strings=["whale", "tiger", "bear"]), tx=tx)
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
