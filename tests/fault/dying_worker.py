"""A worker process that dies, hangs or works as its jobs tell it; for the tests of this folder."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg

from riverengine import Client, Config, Job, QueueConfig, Worker, Workers


@dataclass(frozen=True)
class DeadlyArgs:
    """What the job does to its process: ``kill`` it, ``hang``, or nothing."""

    kind: ClassVar[str] = "deadly"
    behavior: str = ""


class DeadlyWorker(Worker[DeadlyArgs]):
    """Does it."""

    async def work(self, job: Job[DeadlyArgs]) -> None:
        if job.args.behavior == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if job.args.behavior == "hang" and job.row.attempt == 1:
            await asyncio.Event().wait()


async def main(url: str, client_id: str | None, *, poll_only: bool) -> None:
    """Work until killed."""
    workers = Workers()
    workers.add(DeadlyWorker())
    async with asyncpg.create_pool(url, min_size=1, max_size=4) as pool:
        config = Config(
            id=client_id,
            queues={"default": QueueConfig(max_workers=5)},
            fetch_poll_interval=timedelta(milliseconds=100),
            poll_only=poll_only,
        )
        client = Client(pool, config, workers=workers)
        await client.start()
        print(client.id, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] or None, poll_only=sys.argv[3] == "poll_only"))
