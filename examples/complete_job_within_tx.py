"""A job completed in the transaction that writes its results: both are stored, or neither.

Prints::

    Transitioned TransactionalWorker job from "running" to "completed"
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Completed,
    Config,
    EventKind,
    Job,
    QueueConfig,
    Worker,
    Workers,
    client_from_context,
)


@dataclass(frozen=True)
class TransactionalArgs:
    kind: ClassVar[str] = "transactional_worker"


class TransactionalWorker(Worker[TransactionalArgs]):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def work(self, job: Job[TransactionalArgs]) -> None:
        async with self._pool.acquire() as tx, tx.transaction():
            await tx.fetchval("SELECT 1")  # stands for the work's own changes
            after = await client_from_context().job_finish_tx(tx, job, Completed())
        print(f'Transitioned TransactionalWorker job from "{job.row.state}" to "{after.state}"')


async def main(database_url: str) -> None:
    async with asyncpg.create_pool(database_url) as pool:
        workers = Workers()
        workers.add(TransactionalWorker(pool))
        config = Config(queues={"default": QueueConfig(max_workers=100)})
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(TransactionalArgs())
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
