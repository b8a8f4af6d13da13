"""Opens connections beside a pool, with the pool's own settings."""

from __future__ import annotations

import asyncpg


async def connect_beside(pool: asyncpg.Pool) -> asyncpg.Connection:
    """A connection to the pool's database that takes none of the pool's places.

    The caller closes it. asyncpg offers no public way to read a pool's settings.
    """
    return await asyncpg.connect(*pool._connect_args, **pool._connect_kwargs)
