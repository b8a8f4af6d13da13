"""Django's connections, on psycopg 3.

Statements go through Django's cursors, so its query log, execute wrappers and error classes see
them. Django ships no types; the few parts used are named here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Protocol, cast

import psycopg
from django.db import DatabaseError, InterfaceError, connections, transaction

from riverengine.drivers.executor import DriverDatabase, DriverExecutor, DriverRecord
from riverengine.drivers.placeholders import named_arguments, named_placeholders
from riverengine.drivers.psycopg_driver import cursor_records, plain_arguments, read_as_asyncpg
from riverengine.queries.conflicts import commit_is_ambiguous
from riverengine.types.errors import (
    AmbiguousCommitError,
    NoTransactionError,
    UnsupportedDriverError,
)


class DjangoCursor(Protocol):
    """Django's wrapper around psycopg's cursor."""

    cursor: psycopg.Cursor[Any]

    def execute(self, sql: str, params: object = None) -> object:
        """Run a statement."""
        ...

    def fetchall(self) -> list[tuple[object, ...]]:
        """The rows left."""
        ...

    def copy(self, statement: str) -> AbstractContextManager[psycopg.Copy]:
        """Start a COPY."""
        ...


class DjangoConnection(Protocol):
    """``django.db.connection``, or one of ``django.db.connections``."""

    alias: str
    vendor: str
    in_atomic_block: bool

    def cursor(self) -> AbstractContextManager[DjangoCursor]:
        """A cursor."""
        ...

    def get_autocommit(self) -> bool:
        """Whether Django commits each statement by itself; False in atomic blocks."""
        ...


class DjangoExecutor(DriverExecutor):
    """The calling thread's connection of an alias."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        with _connection(self._alias).cursor() as cursor:
            read_as_asyncpg(cursor.cursor)
            cursor.execute(named_placeholders(sql), named_arguments(plain_arguments(args)))
            rows = cursor.fetchall() if cursor.cursor.description else []
            return cursor_records(cursor.cursor, rows)

    async def require_transaction(self) -> None:
        """The thread must be in an atomic block, or have switched autocommit off."""
        if _connection(self._alias).get_autocommit():
            raise NoTransactionError("call this inside of `with transaction.atomic()`")

    async def copy(self, sql: str, data: bytes) -> None:
        """Send rows to a ``COPY ... FROM STDIN``, in its text form."""
        with _connection(self._alias).cursor() as cursor, cursor.copy(sql) as copy:
            copy.write(data)


class DjangoDatabase(DriverDatabase):
    """``transaction.atomic`` blocks on an alias; one that is open already is joined.

    Joining, without a savepoint, is what Django's own calls do: the connection belongs to the
    thread, so the block around the call decides.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[DriverExecutor]:
        """An atomic block."""
        joined, committing = _connection(self._alias).in_atomic_block, False
        try:
            with transaction.atomic(using=self._alias, savepoint=False):
                yield DjangoExecutor(self._alias)
                committing = not joined
        except (DatabaseError, InterfaceError) as error:
            if committing and commit_is_ambiguous(error):
                raise AmbiguousCommitError from error
            raise


def alias_of(tx: object) -> str:
    """The alias of a connection, or the alias itself."""
    return tx if isinstance(tx, str) else cast("DjangoConnection", tx).alias


def _connection(alias: str) -> DjangoConnection:
    """The thread's connection; ``UnsupportedDriverError`` unless it is psycopg 3's."""
    connection = cast("DjangoConnection", connections[alias])
    if connection.vendor != "postgresql":
        raise UnsupportedDriverError(f"Django database {alias!r} ({connection.vendor})")
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        raise UnsupportedDriverError(f"Django database {alias!r} on psycopg2")
    return connection
