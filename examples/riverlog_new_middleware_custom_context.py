"""Logs kept with the job, written by a logger of one's own instead of the standard library's.

Prints::

    Raw log from worker
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar, TextIO

import asyncpg
from _database import run

from riverengine import Client, Config, EventKind, Job, QueueConfig, Worker, Workers, riverlog


class RawLogger:
    """Stands for the logger of another library: all it needs is a stream to write to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def log(self, text: str) -> None:
        self._stream.write(f"{text}\n")


LOGGER: ContextVar[RawLogger] = ContextVar("LOGGER")


@dataclass(frozen=True)
class CustomContextLoggingArgs:
    kind: ClassVar[str] = "logging"


class CustomContextLoggingWorker(Worker[CustomContextLoggingArgs]):
    async def work(self, job: Job[CustomContextLoggingArgs]) -> None:
        LOGGER.get().log("Raw log from worker")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(CustomContextLoggingWorker())
    config = Config(
        queues={"default": QueueConfig(max_workers=100)},
        middleware=[riverlog.Middleware.custom(lambda stream: LOGGER.set(RawLogger(stream)))],
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(CustomContextLoggingArgs())
            event = await completed.next(timeout=30)
        await client.stop()
    assert event.job is not None
    for attempt in event.job.metadata[riverlog.LOG_KEY]:
        print(attempt["log"], end="")


if __name__ == "__main__":
    run(main, __doc__)
