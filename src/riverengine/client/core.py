"""What every part of the client's interface works with."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import asyncpg

from riverengine.config import Config
from riverengine.drivers import AsyncTransaction, Database
from riverengine.drivers.recognise import async_transaction
from riverengine.queries.conflicts import is_deadlock
from riverengine.queries.statement import Executor
from riverengine.queries.transaction import transaction_check
from riverengine.run.clock import Clock
from riverengine.types.errors import ConfigError
from riverengine.work.extensions import Extensions

_TRIES_OF_A_RACE = 3

_Result = TypeVar("_Result")


class ClientCore:
    """A database, the settings, and the rule for transactions."""

    def __init__(
        self, database: Database, config: Config, *, clock: Clock, logger: logging.Logger
    ) -> None:
        given: object = config
        if not isinstance(given, Config):
            raise ConfigError("config", f"must be a Config, not {type(given).__name__}")
        self.database = database
        self.config = config
        self.extensions: Extensions = config.extensions
        self.clock = clock
        self.logger = logger

    async def executor(self, tx: AsyncTransaction | None) -> Executor:
        """For a single statement: the caller's transaction, or one of its own when None."""
        return self.database if tx is None else await async_transaction(tx)

    @asynccontextmanager
    async def transaction(
        self, tx: AsyncTransaction | None = None, *, timeout: timedelta | float | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """A connection inside a transaction.

        tx: the caller's, used as it is, without a savepoint: an error aborts the caller's
        transaction. None opens one, committed when the block ends well.  timeout: how long the
        client's own transaction may last, numbers are seconds; None for 10.  Raises
        ``NoTransactionError`` for a connection that is in none, ``TimeoutError`` when it lasts
        longer, ``AmbiguousCommitError`` when the connection broke while COMMIT was under way, and
        ``asyncpg.InFailedSQLTransactionError`` when the block ends well although an error in it
        aborted the transaction: PostgreSQL would answer COMMIT by rolling back, without an error.

        The connection is asyncpg's, or what stands for another driver's: ``fetch``, ``fetchrow``,
        ``fetchval`` and ``execute`` work on all.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        async with self._transaction(tx, timeout=seconds) as connection:
            yield connection
            if tx is None:
                await transaction_check(connection)

    @asynccontextmanager
    async def _transaction(
        self, tx: AsyncTransaction | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """As :meth:`transaction`, for blocks that let every error of the database out."""
        if tx is not None:
            yield await async_transaction(tx)
            return
        async with self.database.transaction(timeout=timeout) as connection:
            yield connection

    async def _again(
        self,
        call: Callable[[], Awaitable[_Result]],
        tx: AsyncTransaction | None,
        lost: Callable[[Exception], bool] = is_deadlock,
    ) -> _Result:
        """The result of a call that is a transaction by itself, unless ``tx`` is given.

        lost: whether its error says that it lost a race. What won is visible to the next try. A
        caller's transaction is aborted by then, and not tried again.
        """
        tries = 0
        while True:
            try:
                return await call()
            except Exception as error:
                tries += 1
                if tx is not None or tries == _TRIES_OF_A_RACE or not lost(error):
                    raise
