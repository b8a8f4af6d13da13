"""A client that inserts and administers jobs and works none, on any driver."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

from riverengine.client.admin import AdminApi
from riverengine.config import Config
from riverengine.drivers import AsyncSource, Database, DriverDatabase, DriverExecutor, DriverRecord
from riverengine.drivers.recognise import async_database
from riverengine.run.clock import Clock, SystemClock
from riverengine.run.insert_limiter import InsertLimiter
from riverengine.types.errors import ConfigError


class AdminClient(AdminApi):
    """What :class:`InsertClient` and the synchronous client share: all that needs no worker."""

    def __init__(
        self,
        database: Database | None,
        config: Config | None,
        *,
        logger: logging.Logger | None,
        clock: Clock | None,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(
            database or NoDatabase(),
            config or Config(),
            clock=clock,
            logger=logger or logging.getLogger("riverengine"),
        )
        self._insert_limiter = InsertLimiter(self.config.fetch_cooldown, clock)


class InsertClient(AdminClient):
    """Inserts and administers jobs, for programs that have no asyncpg pool.

    A ``timeout`` limits each statement here, not the whole of a transaction.

    Example::

        client = InsertClient()
        async with AsyncSession(engine) as session, session.begin():
            session.add(user)
            await client.insert(WelcomeArgs(email=user.email), tx=session)
    """

    def __init__(
        self,
        source: AsyncSource | None = None,
        config: Config | None = None,
        *,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        """source: where calls without ``tx`` take their transactions from: a SQLAlchemy
        ``AsyncEngine``, an asyncpg pool, or a function that gives a psycopg ``AsyncConnection`` as
        an asynchronous context manager (``pool.connection``); None: only callers' transactions.

        Raises ``UnsupportedDriverError``.
        """
        super().__init__(
            None if source is None else async_database(source), config, logger=logger, clock=clock
        )


class NoDatabase(DriverDatabase):
    """Stands for the database of a client that works in callers' transactions only."""

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        """Raises ``ConfigError``."""
        self._refuse()

    def transaction(
        self, *, timeout: float | None = None
    ) -> AbstractAsyncContextManager[DriverExecutor]:
        """Raises ``ConfigError``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigError("source", "this client has none: pass tx, or give the client a source")
