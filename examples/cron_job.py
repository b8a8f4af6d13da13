"""A periodic job whose schedule is a crontab expression.

Prints::

    This job will run once immediately then every hour on the half hour
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
    PeriodicJob,
    QueueConfig,
    Worker,
    Workers,
    parse_cron,
)


@dataclass(frozen=True)
class CronJobArgs:
    kind: ClassVar[str] = "cron"


class CronJobWorker(Worker[CronJobArgs]):
    async def work(self, job: Job[CronJobArgs]) -> None:
        print("This job will run once immediately then every hour on the half hour")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(CronJobWorker())
    half_past = PeriodicJob(
        parse_cron("30 * * * *"), lambda: (CronJobArgs(), None), run_on_start=True
    )
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers, periodic_jobs=[half_past])
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            # Nothing is inserted by hand: the client does it once it leads.
            await client.start()
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
