"""Hooks of a client: code called when a job is inserted and when its work begins.

Prints::

    BothInsertAndWorkBeginHook.InsertBegin ran
    InsertBeginHook.InsertBegin ran
    BothInsertAndWorkBeginHook.WorkBegin ran
    WorkBeginHook.WorkBegin ran
    NoOpWorker.Work ran
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertPlan,
    Job,
    JobRow,
    QueueConfig,
    Worker,
    Workers,
)


class BothInsertAndWorkBeginHook:
    async def insert_begin(self, params: InsertPlan) -> InsertPlan | None:
        print("BothInsertAndWorkBeginHook.InsertBegin ran")
        return None

    async def work_begin(self, job: JobRow) -> None:
        print("BothInsertAndWorkBeginHook.WorkBegin ran")


class InsertBeginHook:
    async def insert_begin(self, params: InsertPlan) -> InsertPlan | None:
        print("InsertBeginHook.InsertBegin ran")
        return None


class WorkBeginHook:
    async def work_begin(self, job: JobRow) -> None:
        print("WorkBeginHook.WorkBegin ran")


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
        plugins=[BothInsertAndWorkBeginHook(), InsertBeginHook(), WorkBeginHook()],  # called so
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
