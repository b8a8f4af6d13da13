"""A worker process with a periodic job for every second of the calendar; for tests of leaders."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import asyncpg

from riverengine import Client, Config, Job, PeriodicJob, QueueConfig, Worker, Workers
from riverengine.run.elector import ElectorTimings


@dataclass(frozen=True)
class TickArgs:
    """Nothing to say."""

    kind: ClassVar[str] = "tick"


class TickWorker(Worker[TickArgs]):
    """Nothing to do."""

    async def work(self, job: Job[TickArgs]) -> None:
        pass


TERMS = ElectorTimings(
    interval=timedelta(seconds=2), ttl=timedelta(seconds=5), timeout=timedelta(seconds=2)
)
"""A third of River's: a leader's death costs the test seconds, and several slots as ever."""


class EverySecond:
    """The full seconds of the calendar."""

    def next(self, current: datetime) -> datetime:
        return current.replace(microsecond=0) + timedelta(seconds=1)


def river_s(scale: float) -> ElectorTimings:
    """River's timings, all of them that much longer."""
    given = ElectorTimings()
    return ElectorTimings(
        interval=given.interval * scale,
        jitter=given.jitter * scale,
        ttl=given.ttl * scale,
        safety_margin=given.safety_margin * scale,
        retry_scale=scale,
    )


async def main(url: str, timings: ElectorTimings) -> None:
    """Work until killed."""
    workers = Workers()
    workers.add(TickWorker())
    tick = PeriodicJob(
        EverySecond(), lambda: (TickArgs(), None), id="tick", catch_up=timedelta(minutes=3)
    )
    async with asyncpg.create_pool(url, min_size=1, max_size=5) as pool:
        config = Config(queues={"default": QueueConfig(max_workers=5)})
        client = Client(
            pool, config, workers=workers, periodic_jobs=[tick], elector_timings=timings
        )
        await client.start()
        print(client.id, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        asyncio.run(main(sys.argv[1], river_s(float(sys.argv[2]))))
    else:
        asyncio.run(main(sys.argv[1], TERMS))
