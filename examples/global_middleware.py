"""Middleware of a client: code wrapped around inserts and around the work of jobs.

Prints::

    JobBothInsertAndWorkMiddleware.InsertMany ran
    JobInsertMiddleware.InsertMany ran
    JobBothInsertAndWorkMiddleware.Work ran
    WorkerMiddleware.Work ran
    NoOpWorker.Work ran
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertNext,
    InsertPlan,
    InsertResults,
    Job,
    JobRow,
    QueueConfig,
    Worker,
    Workers,
    WorkNext,
)


class BothMiddleware:
    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        print("JobBothInsertAndWorkMiddleware.InsertMany ran")
        return await next_(plans)

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        print("JobBothInsertAndWorkMiddleware.Work ran")
        await next_()


class InsertMiddleware:
    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        print("JobInsertMiddleware.InsertMany ran")
        return await next_(plans)


class WorkMiddleware:
    async def work(self, job: JobRow, next_: WorkNext) -> None:
        print("WorkerMiddleware.Work ran")
        await next_()


@dataclass(frozen=True)
class NoOpArgs:
    kind: ClassVar[str] = "no_op"


class NoOpWorker(Worker[NoOpArgs]):
    async def work(self, job: Job[NoOpArgs]) -> None:
        print("NoOpWorker.Work ran")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(NoOpWorker())
    config = Config(
        plugins=[BothMiddleware(), InsertMiddleware(), WorkMiddleware()],  # the first outermost
        queues={"default": QueueConfig(max_workers=100)},
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(NoOpArgs())
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
