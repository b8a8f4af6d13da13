"""What every part of the client's interface works with."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from riverengine.config import Config
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock


class ClientCore:
    """A pool, the settings, and the rule for transactions."""

    def __init__(
        self, pool: asyncpg.Pool, config: Config, *, clock: Clock, logger: logging.Logger
    ) -> None:
        self.pool = pool
        self.database = BoundedPool(pool, logger=logger)
        self.config = config
        self.extensions = config.extensions
        self.clock = clock
        self.logger = logger

    @asynccontextmanager
    async def transaction(
        self, tx: asyncpg.Connection | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """A connection inside a transaction.

        tx: the caller's, used as it is, without a savepoint: an error aborts the caller's
        transaction. None opens one, committed when the block ends well.  timeout: seconds that the
        client's own transaction may last, 10 for None.  Raises ``TimeoutError`` when it lasts
        longer, ``AmbiguousCommitError`` when the connection broke while COMMIT was under way.
        """
        if tx is not None:
            yield tx
            return
        async with self.database.transaction(timeout=timeout) as connection:
            yield connection
