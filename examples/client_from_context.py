"""A worker that reaches the client it runs in, to insert further jobs for example.

Prints::

    client found in context, id=ClientFromContextClient
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
    client_from_context,
)


@dataclass(frozen=True)
class ContextClientArgs:
    kind: ClassVar[str] = "ContextClientWorker"


class ContextClientWorker(Worker[ContextClientArgs]):
    async def work(self, job: Job[ContextClientArgs]) -> None:
        client = client_from_context()
        print(f"client found in context, id={client.id}")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(ContextClientWorker())
    config = Config(id="ClientFromContextClient", queues={"default": QueueConfig(max_workers=10)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(ContextClientArgs())
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
