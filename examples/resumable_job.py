"""A job in steps: a later attempt skips those that an earlier one completed.

Prints::

    Step 1
    Step 2
    Step 3
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
    resumable_step,
)


@dataclass(frozen=True)
class ResumableArgs:
    kind: ClassVar[str] = "resumable"


class ResumableWorker(Worker[ResumableArgs]):
    async def work(self, job: Job[ResumableArgs]) -> None:
        # An attempt that ends between two steps, or within one, is continued behind the last
        # step it completed.
        await resumable_step("step1", self.first)
        await resumable_step("step2", self.second)
        await resumable_step("step3", self.third)

    async def first(self) -> None:
        print("Step 1")

    async def second(self) -> None:
        print("Step 2")

    async def third(self) -> None:
        print("Step 3")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(ResumableWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(ResumableArgs())
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
