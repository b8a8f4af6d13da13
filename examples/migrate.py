"""River's migrations from a program, up and down.

Prints::

    Migrated [UP] version 1
    Migrated [UP] version 2
    Migrated [UP] version 3
    Migrated [DOWN] version 3
    Migrated [DOWN] version 2
    Migrated [DOWN] version 1
"""

from collections.abc import Sequence

import asyncpg
from _database import run

from riverengine import Migrator
from riverengine.schema import AppliedMigration


def tell(applied: Sequence[AppliedMigration]) -> None:
    for migration in applied:
        print(f"Migrated [{migration.direction.upper()}] version {migration.version}")


async def main(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        migrator = Migrator(connection)
        # Without a target, everything that is missing.
        tell(await migrator.migrate_up(target_version=3))
        # Without a number of steps, one.
        tell(await migrator.migrate_down(max_steps=3))
    finally:
        await connection.close()


if __name__ == "__main__":
    run(main, __doc__, lines=())
