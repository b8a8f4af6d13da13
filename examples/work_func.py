"""A function as worker, where a class would say no more.

Prints::

    Message: hello from a function!
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client, Config, EventKind, Job, QueueConfig, Workers, work_func


@dataclass(frozen=True)
class WorkFuncArgs:
    kind: ClassVar[str] = "work_func"
    message: str


async def work(job: Job[WorkFuncArgs]) -> None:
    print(f"Message: {job.args.message}")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(work_func(WorkFuncArgs, work))
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(WorkFuncArgs(message="hello from a function!"))
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
