"""A job inserted again and again at an interval.

Prints::

    This job will run once immediately then approximately once every 15 minutes
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    Job,
    PeriodicInterval,
    PeriodicJob,
    QueueConfig,
    Worker,
    Workers,
)


@dataclass(frozen=True)
class PeriodicJobArgs:
    kind: ClassVar[str] = "periodic"


class PeriodicJobWorker(Worker[PeriodicJobArgs]):
    async def work(self, job: Job[PeriodicJobArgs]) -> None:
        print("This job will run once immediately then approximately once every 15 minutes")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(PeriodicJobWorker())
    every_quarter = PeriodicInterval(timedelta(minutes=15))
    at_once_too = PeriodicJob(every_quarter, lambda: (PeriodicJobArgs(), None), run_on_start=True)
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers, periodic_jobs=[at_once_too])
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            # Nothing is inserted by hand: the client does it once it leads.
            await client.start()
            await completed.next(timeout=30)

        # A started client's periodic jobs may be changed at any time.
        client.periodic_jobs.clear()
        client.periodic_jobs.add(PeriodicJob(every_quarter, lambda: (PeriodicJobArgs(), None)))
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
