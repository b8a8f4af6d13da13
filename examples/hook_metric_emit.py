"""A hook that receives the client's measurements.

Prints::

    job_get_available_duration emitted for queue "default"
    job_get_available_count emitted with count 1 for queue "default"
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    HookMetricEmitFunc,
    Job,
    JobGetAvailableCountMetric,
    JobGetAvailableDurationMetric,
    Metric,
    QueueConfig,
    Worker,
    Workers,
)


@dataclass(frozen=True)
class NoOpArgs:
    kind: ClassVar[str] = "no_op"


class NoOpWorker(Worker[NoOpArgs]):
    async def work(self, job: Job[NoOpArgs]) -> None:
        pass


async def main(database_url: str) -> None:
    metrics: asyncio.Queue[Metric] = asyncio.Queue(maxsize=100)

    def emit(metric: Metric) -> None:
        # The hook runs in the fetch loop and must not wait: what finds no room is dropped.
        with suppress(asyncio.QueueFull):
            metrics.put_nowait(metric)

    workers = Workers()
    workers.add(NoOpWorker())
    config = Config(
        plugins=[HookMetricEmitFunc(emit)], queues={"default": QueueConfig(max_workers=100)}
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        await client.insert(NoOpArgs())
        duration: JobGetAvailableDurationMetric | None = None
        count: JobGetAvailableCountMetric | None = None
        async with asyncio.timeout(30):
            while duration is None or count is None:
                match await metrics.get():
                    case JobGetAvailableDurationMetric() as metric:
                        duration = metric
                    case JobGetAvailableCountMetric() as metric if metric.count > 0:
                        count = metric
        await client.stop()
    print(f'{duration.name} emitted for queue "{duration.queue}"')
    print(f'{count.name} emitted with count {count.count} for queue "{count.queue}"')


if __name__ == "__main__":
    run(main, __doc__)
