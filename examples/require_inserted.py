"""An assertion for tests: exactly one job of a kind was inserted.

Prints::

    Test passed with message: Hello.
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import Client
from riverengine.testing import RequireInsertedOpts, require_inserted


@dataclass(frozen=True)
class RequiredArgs:
    kind: ClassVar[str] = "required"
    message: str


async def main(database_url: str) -> None:
    async with asyncpg.create_pool(database_url) as pool, pool.acquire() as tx:
        client = Client(pool)
        transaction = tx.transaction()
        await transaction.start()
        await client.insert(RequiredArgs(message="Hello."), tx=tx)
        job = await require_inserted(tx, RequiredArgs)
        print(f"Test passed with message: {job.args.message}")

        # Its options are looked at when they are given.
        opts = RequireInsertedOpts(priority=1, queue="default")
        await require_inserted(tx, RequiredArgs, opts)
        await transaction.rollback()

        # A pool sees what is committed.
        await client.insert(RequiredArgs(message="Hello from pool."))
        await require_inserted(pool, RequiredArgs)


if __name__ == "__main__":
    run(main, __doc__)
