"""Hooks that belong to one type of args, and are called for its jobs only.

Prints::

    JobWithHooksInsertAndWorkBeginHook.InsertBegin ran
    JobWithHooksInsertBeginHook.InsertBegin ran
    JobWithHooksInsertAndWorkBeginHook.WorkBegin ran
    JobWithHooksWorkBeginHook.WorkBegin ran
    JobWithHooksWorker.Work ran
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
    Hook,
    InsertPlan,
    Job,
    JobRow,
    QueueConfig,
    Worker,
    Workers,
)


class InsertAndWorkBeginHook:
    async def insert_begin(self, params: InsertPlan) -> InsertPlan | None:
        print("JobWithHooksInsertAndWorkBeginHook.InsertBegin ran")
        return None

    async def work_begin(self, job: JobRow) -> None:
        print("JobWithHooksInsertAndWorkBeginHook.WorkBegin ran")


class InsertBeginHook:
    async def insert_begin(self, params: InsertPlan) -> InsertPlan | None:
        print("JobWithHooksInsertBeginHook.InsertBegin ran")
        return None


class WorkBeginHook:
    async def work_begin(self, job: JobRow) -> None:
        print("JobWithHooksWorkBeginHook.WorkBegin ran")


@dataclass(frozen=True)
class JobWithHooksArgs:
    kind: ClassVar[str] = "job_with_hooks"
    hooks: ClassVar[Sequence[Hook]] = (
        InsertAndWorkBeginHook(),
        InsertBeginHook(),
        WorkBeginHook(),
    )


class JobWithHooksWorker(Worker[JobWithHooksArgs]):
    async def work(self, job: Job[JobWithHooksArgs]) -> None:
        print("JobWithHooksWorker.Work ran")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(JobWithHooksWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(JobWithHooksArgs())
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
