"""Logs kept with the job: what its worker logs is stored in its metadata.

Prints::

    msg="Logged from worker"
    msg="Another line logged from worker"
"""

import logging
from dataclasses import dataclass
from typing import ClassVar, TextIO

import asyncpg
from _database import run

from riverengine import Client, Config, EventKind, Job, QueueConfig, Worker, Workers, riverlog


@dataclass(frozen=True)
class LoggingArgs:
    kind: ClassVar[str] = "logging"


class LoggingWorker(Worker[LoggingArgs]):
    async def work(self, job: Job[LoggingArgs]) -> None:
        riverlog.logger().info("Logged from worker")
        riverlog.logger().info("Another line logged from worker")


def new_handler(stream: TextIO) -> logging.Handler:
    # Lines without time and level, so that they are the same in every run; without a function of
    # one's own they have both.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter('msg="%(message)s"'))
    return handler


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(LoggingWorker())
    config = Config(
        queues={"default": QueueConfig(max_workers=100)},
        middleware=[riverlog.Middleware(new_handler)],
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(LoggingArgs())
            event = await completed.next(timeout=30)
        await client.stop()
    assert event.job is not None
    for attempt in event.job.metadata[riverlog.LOG_KEY]:
        print(attempt["log"], end="")


if __name__ == "__main__":
    run(main, __doc__)
