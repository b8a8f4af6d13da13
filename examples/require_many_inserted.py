"""An assertion for tests: jobs of several kinds were inserted, in an order.

Prints::

    Job 0 args: {"message": "Hello from first."}
    Job 1 args: {"message": "Hello from second."}
    Job 2 args: {"message": "Hello from first (again)."}
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client
from riverengine.testing import ExpectedJob, RequireInsertedOpts, require_many_inserted


@dataclass(frozen=True)
class FirstRequiredArgs:
    kind: ClassVar[str] = "first_required"
    message: str


@dataclass(frozen=True)
class SecondRequiredArgs:
    kind: ClassVar[str] = "second_required"
    message: str


async def main(database_url: str) -> None:
    async with asyncpg.create_pool(database_url) as pool, pool.acquire() as tx:
        client = Client(pool)
        transaction = tx.transaction()
        await transaction.start()
        await client.insert(FirstRequiredArgs(message="Hello from first."), tx=tx)
        await client.insert(SecondRequiredArgs(message="Hello from second."), tx=tx)
        await client.insert(FirstRequiredArgs(message="Hello from first (again)."), tx=tx)
        jobs = await require_many_inserted(
            tx, [FirstRequiredArgs, SecondRequiredArgs, FirstRequiredArgs]
        )
        for place, job in enumerate(jobs):
            print(f"Job {place} args: {job.encoded_args}")

        # Jobs of kinds that are not expected do not matter; options do, where they are given.
        opts = RequireInsertedOpts(priority=1, queue="default")
        await require_many_inserted(tx, [ExpectedJob(SecondRequiredArgs, opts)])
        await transaction.rollback()

        # A pool sees what is committed.
        await client.insert(FirstRequiredArgs(message="Hello from pool."))
        await require_many_inserted(pool, [FirstRequiredArgs])


if __name__ == "__main__":
    run(main, __doc__)
