"""SQLAlchemy's asynchronous sessions and connections, on the asyncpg and psycopg dialects.

Always through SQLAlchemy's own API: see :mod:`riverengine.drivers.sqlalchemy_driver`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)

from riverengine.drivers.executor import DriverDatabase, DriverExecutor, DriverRecord
from riverengine.drivers.sqlalchemy_driver import (
    hiding_arguments,
    in_dialect,
    refuse_autocommit,
    result_records,
)
from riverengine.queries.conflicts import commit_is_ambiguous
from riverengine.types.errors import AmbiguousCommitError, OpenTransactionError

AsyncOrigin: TypeAlias = (
    AsyncEngine
    | async_sessionmaker[Any]
    | AsyncConnection
    | AsyncSession
    | async_scoped_session[Any]
)


class SqlAlchemyAsyncExecutor(DriverExecutor):
    """An ``AsyncSession``, ``async_scoped_session`` or ``AsyncConnection``."""

    def __init__(self, origin: AsyncSession | async_scoped_session[Any] | AsyncConnection) -> None:
        self._origin = origin

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        connection = await self._connection()
        statement, arguments = in_dialect(connection.dialect, sql, args)
        with hiding_arguments():
            return result_records(await connection.exec_driver_sql(statement, arguments))

    async def require_transaction(self) -> None:
        """As the synchronous executor's."""
        connection = await self._connection()
        driver_s = (await connection.get_raw_connection()).dbapi_connection
        refuse_autocommit(connection.dialect, driver_s)

    async def _connection(self) -> AsyncConnection:
        origin = self._origin
        return origin if isinstance(origin, AsyncConnection) else await origin.connection()


class SqlAlchemyAsyncDatabase(DriverDatabase):
    """Transactions that an ``AsyncEngine``, ``AsyncConnection`` or ``AsyncSession`` begins."""

    def __init__(self, origin: AsyncOrigin) -> None:
        self._origin = origin

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[DriverExecutor]:
        """A transaction; ``OpenTransactionError`` when the origin has one open already."""
        given, committing = self._origin, False
        origin = given() if isinstance(given, async_scoped_session) else given
        if isinstance(origin, (AsyncConnection, AsyncSession)) and origin.in_transaction():
            raise OpenTransactionError
        try:
            if isinstance(origin, (AsyncEngine, async_sessionmaker)):
                async with origin.begin() as begun:
                    yield SqlAlchemyAsyncExecutor(begun)
                    committing = True
            else:
                async with origin.begin():
                    yield SqlAlchemyAsyncExecutor(origin)
                    committing = True
        except DBAPIError as error:
            if committing and commit_is_ambiguous(error):
                raise AmbiguousCommitError from error
            raise
