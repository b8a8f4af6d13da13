"""A worker process with a periodic job for every second of the calendar; for tests of leaders."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import asyncpg

from riverengine import (
    Client,
    Config,
    InsertResult,
    Job,
    PeriodicJob,
    QueueConfig,
    Worker,
    Workers,
)
from riverengine.insert.plan import InsertPlan
from riverengine.queries.maintenance import periodic_slot_claim
from riverengine.queries.statement import Executor
from riverengine.run.elector import ElectorTimings
from riverengine.run.maintenance import periodic


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


def die_at(point: str, *, slots: int) -> None:
    """Kill the process at its so many-th slot, once the slot is ``claimed`` or ``inserted``.

    The production code has no such points: they are put around it here.
    """
    claim, insert = periodic_slot_claim, Client.insert_plans
    left = slots

    async def claiming(conn: Executor, **options: Any) -> bool:
        nonlocal left
        left -= 1
        claimed = await claim(conn, **options)
        if left == 0 and point == "claimed":
            os.kill(os.getpid(), signal.SIGKILL)
        return claimed

    async def inserting(
        self: Any, connection: Executor, plans: Sequence[InsertPlan]
    ) -> list[InsertResult]:
        results = await insert(self, connection, plans)
        if left == 0 and point == "inserted":
            os.kill(os.getpid(), signal.SIGKILL)
        return results

    periodic.periodic_slot_claim = claiming  # type: ignore[attr-defined]
    Client.insert_plans = inserting  # type: ignore[method-assign]


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
    match sys.argv[1:]:
        case [url]:
            asyncio.run(main(url, TERMS))
        case [url, scale]:
            logging.basicConfig(level=logging.INFO, format="%(message)s")
            asyncio.run(main(url, river_s(float(scale))))
        case [url, point, slots]:
            die_at(point, slots=int(slots))
            asyncio.run(main(url, TERMS))
