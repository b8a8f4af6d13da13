"""A step recorded as done in the transaction of its own changes, which outlives a failed attempt.

Prints::

    Persisted resumable step: durable_step
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
    QueueConfig,
    Worker,
    Workers,
    resumable_set_step_tx,
    resumable_step,
)


@dataclass(frozen=True)
class ResumableStepTxArgs:
    kind: ClassVar[str] = "resumable_step_tx"


class ResumableStepTxWorker(Worker[ResumableStepTxArgs]):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def work(self, job: Job[ResumableStepTxArgs]) -> None:
        async def durable_step() -> None:
            async with self._pool.acquire() as tx, tx.transaction():
                await tx.fetchval("SELECT 1")  # stands for the step's own changes
                await resumable_set_step_tx(tx, job)
            raise RuntimeError("simulated failure after persisting step")

        await resumable_step("durable_step", durable_step)


async def main(database_url: str) -> None:
    async with asyncpg.create_pool(database_url) as pool:
        workers = Workers()
        workers.add(ResumableStepTxWorker(pool))
        config = Config(queues={"default": QueueConfig(max_workers=100)})
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_FAILED) as failed:
            inserted = await client.insert(ResumableStepTxArgs())
            await failed.next(timeout=30)
        job = await client.job_get(inserted.job.id)
        print(f"Persisted resumable step: {job.metadata['river:resumable_step']}")
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
