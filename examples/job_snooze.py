"""A worker that puts its job off, as often as it likes: a snooze uses up no attempt.

Prints::

    snoozing job for 5 minutes
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
    JobSnooze,
    QueueConfig,
    Worker,
    Workers,
)


@dataclass(frozen=True)
class SnoozingArgs:
    kind: ClassVar[str] = "Snoozing"
    should_snooze: bool


class SnoozingWorker(Worker[SnoozingArgs]):
    async def work(self, job: Job[SnoozingArgs]) -> None:
        if job.args.should_snooze:
            print("snoozing job for 5 minutes")
            raise JobSnooze(timedelta(minutes=5))


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(SnoozingWorker())
    config = Config(queues={"default": QueueConfig(max_workers=10)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_SNOOZED) as snoozed:
            await client.insert(SnoozingArgs(should_snooze=True))
            await snoozed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
