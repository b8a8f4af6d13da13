"""Subscriptions that tell what became of the jobs a client works.

Prints::

    Got job with state: completed
    Got job with state: discarded
    Got job with state: cancelled
    Client stopped
    Channel is closed
    Channel is closed
    Channel is closed
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertOpts,
    Job,
    JobCancel,
    QueueConfig,
    Subscription,
    Worker,
    Workers,
)


@dataclass(frozen=True)
class SubscriptionArgs:
    kind: ClassVar[str] = "subscription"
    cancel: bool = False
    fail: bool = False


class SubscriptionWorker(Worker[SubscriptionArgs]):
    async def work(self, job: Job[SubscriptionArgs]) -> None:
        if job.args.cancel:
            raise JobCancel("cancelling job")
        if job.args.fail:
            raise RuntimeError("failing job")


async def tell_next(subscription: Subscription) -> None:
    try:
        event = await subscription.next(timeout=30)
    except StopAsyncIteration:
        print("Channel is closed")
        return
    assert event.job is not None
    print(f"Got job with state: {event.job.state}")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(SubscriptionWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        completed = client.subscribe(EventKind.JOB_COMPLETED)
        failed = client.subscribe(EventKind.JOB_FAILED)
        other = client.subscribe(EventKind.JOB_CANCELLED, EventKind.JOB_SNOOZED)
        await client.start()

        await client.insert(SubscriptionArgs())
        # Without retries, so that one event is all there is.
        await client.insert(SubscriptionArgs(fail=True), InsertOpts(max_attempts=1))
        await client.insert(SubscriptionArgs(cancel=True))
        for subscription in (completed, failed, other):
            await tell_next(subscription)

        # Stopping the client ends every subscription.
        await client.stop()
        print("Client stopped")
        for subscription in (completed, failed, other):
            await tell_next(subscription)


if __name__ == "__main__":
    run(main, __doc__)
