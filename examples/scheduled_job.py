"""A job for later: it waits until its time has come.

Prints nothing.

The job's time is three hours from now, which nobody waits for here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client, Config, InsertOpts, Job, QueueConfig, Worker, Workers


@dataclass(frozen=True)
class ScheduledArgs:
    kind: ClassVar[str] = "scheduled"
    message: str


class ScheduledWorker(Worker[ScheduledArgs]):
    async def work(self, job: Job[ScheduledArgs]) -> None:
        print(f"Message: {job.args.message}")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(ScheduledWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        in_three_hours = datetime.now(UTC) + timedelta(hours=3)
        await client.insert(
            ScheduledArgs(message="hello from the future"),
            InsertOpts(scheduled_at=in_three_hours),
        )
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
