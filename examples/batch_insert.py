"""Many jobs inserted by one call, some of them with options of their own.

Prints::

    Inserted 5 jobs
    Worked a job
    Worked a job
    Worked a job
    Worked a job
    Worked a job
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertManyParams,
    InsertOpts,
    Job,
    QueueConfig,
    Worker,
    Workers,
)


@dataclass(frozen=True)
class BatchInsertArgs:
    kind: ClassVar[str] = "batch_insert"


class BatchInsertWorker(Worker[BatchInsertArgs]):
    async def work(self, job: Job[BatchInsertArgs]) -> None:
        print("Worked a job")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(BatchInsertWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            results = await client.insert_many(
                [
                    BatchInsertArgs(),
                    BatchInsertArgs(),
                    BatchInsertArgs(),
                    InsertManyParams(BatchInsertArgs(), InsertOpts(priority=3)),
                    InsertManyParams(BatchInsertArgs(), InsertOpts(priority=4)),
                ]
            )
            print(f"Inserted {len(results)} jobs")
            # Started only here, so that this line comes before the workers'.
            await client.start()
            for _ in results:
                await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
