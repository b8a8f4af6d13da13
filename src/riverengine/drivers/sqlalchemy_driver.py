"""SQLAlchemy's synchronous sessions and connections, and what their asynchronous twins share.

Always through SQLAlchemy's own API. The driver's connection beneath is a trap: SQLAlchemy begins
transactions lazily, so what is sent to a fresh connection directly survives the rollback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection, CursorResult, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from riverengine.drivers.executor import DriverDatabase, DriverExecutor, DriverRecord, records
from riverengine.drivers.placeholders import named_arguments, named_placeholders
from riverengine.queries.conflicts import commit_is_ambiguous
from riverengine.types.errors import (
    AmbiguousCommitError,
    NoTransactionError,
    OpenTransactionError,
    UnsupportedDriverError,
)

SyncOrigin: TypeAlias = Engine | sessionmaker[Any] | Connection | Session | scoped_session[Any]


class SqlAlchemyExecutor(DriverExecutor):
    """A ``Session``, ``scoped_session`` or ``Connection``."""

    def __init__(self, origin: Session | scoped_session[Any] | Connection) -> None:
        self._origin = origin

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        connection = self._connection()
        statement, arguments = in_dialect(connection.dialect, sql, args)
        with hiding_arguments():
            return result_records(connection.exec_driver_sql(statement, arguments))

    async def require_transaction(self) -> None:
        """Refuse the mode ``AUTOCOMMIT``, in which SQLAlchemy's ``begin()`` begins nothing."""
        connection = self._connection()
        refuse_autocommit(connection.dialect, connection.connection.dbapi_connection)

    def _connection(self) -> Connection:
        origin = self._origin
        return origin if isinstance(origin, Connection) else origin.connection()


class SqlAlchemyDatabase(DriverDatabase):
    """Transactions that an ``Engine``, ``sessionmaker``, ``Connection`` or ``Session`` begins."""

    def __init__(self, origin: SyncOrigin) -> None:
        self._origin = origin

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[DriverExecutor]:
        """A transaction; ``OpenTransactionError`` when the origin has one open already."""
        given, committing = self._origin, False
        origin = given() if isinstance(given, scoped_session) else given
        if isinstance(origin, (Connection, Session)) and origin.in_transaction():
            raise OpenTransactionError
        try:
            if isinstance(origin, (Engine, sessionmaker)):
                with origin.begin() as begun:
                    yield SqlAlchemyExecutor(begun)
                    committing = True
            else:
                with origin.begin():
                    yield SqlAlchemyExecutor(origin)
                    committing = True
        except DBAPIError as error:
            if committing and commit_is_ambiguous(error):
                raise AmbiguousCommitError from error
            raise


@contextmanager
def hiding_arguments() -> Iterator[None]:
    """Keep the arguments, which hold the jobs' args, out of SQLAlchemy's error texts."""
    try:
        yield
    except StatementError as error:
        error.hide_parameters = True
        raise


def in_dialect(
    dialect: Dialect, sql: str, args: Sequence[object]
) -> tuple[str, tuple[object, ...] | dict[str, object]]:
    """Statement and arguments as the dialect's driver reads them.

    Raises ``UnsupportedDriverError`` for a dialect that is not PostgreSQL's, or reads others.
    """
    _refuse_unknown(dialect)
    given = [list(value) if isinstance(value, tuple) else value for value in args]
    if dialect.paramstyle == "numeric_dollar":
        return sql, tuple(given)
    return named_placeholders(sql), named_arguments(given)


def refuse_autocommit(dialect: Dialect, connection: object) -> None:
    """Raise ``NoTransactionError`` for a driver's connection that is in autocommit.

    The mode is read from the connection itself: it may come from the engine, an option of the
    session's or the driver's own arguments.  Raises ``UnsupportedDriverError`` as
    :func:`in_dialect`.
    """
    _refuse_unknown(dialect)
    if getattr(connection, "autocommit", False):
        raise NoTransactionError(
            "take it from an engine, or with execution_options, of another isolation_level than "
            "AUTOCOMMIT"
        )


def _refuse_unknown(dialect: Dialect) -> None:
    if dialect.name != "postgresql" or dialect.paramstyle not in ("numeric_dollar", "pyformat"):
        raise UnsupportedDriverError(f"SQLAlchemy dialect {dialect.name}+{dialect.driver}")


def result_records(result: CursorResult[Any]) -> list[DriverRecord]:
    """A result's rows as the engine reads them."""
    if not result.returns_rows:
        return []
    types = [cast("int", column[1]) for column in result.cursor.description or ()]
    return records(list(result.keys()), types, result.fetchall())
