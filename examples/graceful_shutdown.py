"""A process told to end: jobs may finish, those that do not within a while are cancelled.

Prints::

    Working job that doesn't finish until cancelled
    Received SIGINT/SIGTERM; initiating soft stop (waiting for cancelled jobs to finish)
    Job cancelled
"""

import asyncio
import os
import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client, Config, Job, QueueConfig, Worker, Workers


@dataclass(frozen=True)
class WaitsForCancelOnlyArgs:
    kind: ClassVar[str] = "waits_for_cancel_only"


class WaitsForCancelOnlyWorker(Worker[WaitsForCancelOnlyArgs]):
    def __init__(self) -> None:
        self.started = asyncio.Event()

    async def work(self, job: Job[WaitsForCancelOnlyArgs]) -> None:
        print("Working job that doesn't finish until cancelled")
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("Job cancelled")
            # Raised again, it lets the job go back to its queue; its attempt does not count.
            raise


async def main(database_url: str) -> None:
    worker = WaitsForCancelOnlyWorker()
    workers = Workers()
    workers.add(worker)
    config = Config(
        queues={"default": QueueConfig(max_workers=100)},
        soft_stop_timeout=timedelta(milliseconds=100),
    )
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.insert(WaitsForCancelOnlyArgs())
        await client.start()
        await worker.started.wait()

        # What a service manager does, or somebody who presses Ctrl-C.
        os.kill(os.getpid(), signal.SIGTERM)

        await told_to_end.wait()
        print(
            "Received SIGINT/SIGTERM; initiating soft stop (waiting for cancelled jobs to finish)"
        )
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
