"""A job that is unique by its args for a day: inserting it again is skipped.

Prints::

    Reconciled account 1; new total: 900
    Reconciled account 2; new total: 1
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
    InsertOpts,
    Job,
    QueueConfig,
    UniqueOpts,
    Worker,
    Workers,
)


@dataclass
class Account:
    recent_expenditures: int
    total: int


ACCOUNTS = {
    1: Account(recent_expenditures=100, total=1_000),
    2: Account(recent_expenditures=999, total=1_000),
}


@dataclass(frozen=True)
class ReconcileAccountArgs:
    kind: ClassVar[str] = "reconcile_account"
    account_id: int

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(unique_opts=UniqueOpts(by_args=True, by_period=timedelta(days=1)))


class ReconcileAccountWorker(Worker[ReconcileAccountArgs]):
    async def work(self, job: Job[ReconcileAccountArgs]) -> None:
        account = ACCOUNTS[job.args.account_id]
        account.total -= account.recent_expenditures
        account.recent_expenditures = 0
        print(f"Reconciled account {job.args.account_id}; new total: {account.total}")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(ReconcileAccountWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(ReconcileAccountArgs(account_id=1))
            # Skipped: the account has its job for today. The result tells which one.
            again = await client.insert(ReconcileAccountArgs(account_id=1))
            assert again.unique_skipped_as_duplicate
            await completed.next(timeout=30)

            # Other args, another job.
            await client.insert(ReconcileAccountArgs(account_id=2))
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
