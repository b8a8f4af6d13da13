"""psycopg connections, synchronous and asynchronous.

Their raw cursors take the engine's SQL as it is. How values are read is set on our cursors only:
the connection's own adapters stay the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, TypeAlias

import psycopg
from psycopg.abc import Buffer
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.datetime import TimestamptzLoader

from riverengine.drivers.executor import DriverDatabase, DriverExecutor, DriverRecord, records
from riverengine.queries.conflicts import commit_is_ambiguous
from riverengine.types.errors import AmbiguousCommitError, NoTransactionError, OpenTransactionError

SyncConnect: TypeAlias = Callable[[], AbstractContextManager["psycopg.Connection[Any]"]]
"""Opens a connection, or lends a pool's: ``pool.connection``, ``lambda: psycopg.connect(url)``."""

AsyncConnect: TypeAlias = Callable[
    [],
    AbstractAsyncContextManager["psycopg.AsyncConnection[Any]"]
    | Awaitable["psycopg.AsyncConnection[Any]"],
]
"""As :data:`SyncConnect`; ``psycopg.AsyncConnection.connect`` fits too."""


_REMEDY = "use it inside of `{} connection.transaction()`, or open it without autocommit"


class PsycopgExecutor(DriverExecutor):
    """A ``psycopg.Connection``."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        with psycopg.RawCursor(self._connection, row_factory=tuple_row) as cursor:
            read_as_asyncpg(cursor)
            cursor.execute(sql.encode(), plain_arguments(args))
            rows = cursor.fetchall() if _may_have_rows(cursor) else []
            return cursor_records(cursor, rows)

    async def require_transaction(self) -> None:
        """An autocommitting connection must be inside of ``connection.transaction()``."""
        if _is_busy_autocommitting(self._connection):
            with self._connection.pipeline():
                pass  # Synchronised at its end, the connection knows whether a transaction is open.
        if _autocommits(self._connection):
            raise NoTransactionError(_REMEDY.format("with"))

    async def copy(self, sql: str, data: bytes) -> None:
        """Send rows to a ``COPY ... FROM STDIN``, in its text form."""
        with psycopg.RawCursor(self._connection) as cursor, cursor.copy(sql.encode()) as copy:
            copy.write(data)


class PsycopgAsyncExecutor(DriverExecutor):
    """A ``psycopg.AsyncConnection``."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        async with psycopg.AsyncRawCursor(self._connection, row_factory=tuple_row) as cursor:
            read_as_asyncpg(cursor)
            await cursor.execute(sql.encode(), plain_arguments(args))
            rows = await cursor.fetchall() if _may_have_rows(cursor) else []
            return cursor_records(cursor, rows)

    async def require_transaction(self) -> None:
        """As :meth:`PsycopgExecutor.require_transaction`."""
        if _is_busy_autocommitting(self._connection):
            async with self._connection.pipeline():
                pass  # Synchronised at its end, the connection knows whether a transaction is open.
        if _autocommits(self._connection):
            raise NoTransactionError(_REMEDY.format("async with"))

    async def copy(self, sql: str, data: bytes) -> None:
        """Send rows to a ``COPY ... FROM STDIN``, in its text form."""
        async with (
            psycopg.AsyncRawCursor(self._connection) as cursor,
            cursor.copy(sql.encode()) as copy,
        ):
            await copy.write(data)


class PsycopgDatabase(DriverDatabase):
    """Transactions on connections opened, or lent by a pool, for each."""

    def __init__(self, connect: SyncConnect) -> None:
        self._connect = connect

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[DriverExecutor]:
        """A transaction on a connection of its own."""
        committing = False
        with self._connect() as connection:
            _refuse_open(connection)
            try:
                with connection.transaction():
                    yield PsycopgExecutor(connection)
                    committing = True
            except psycopg.Error as error:
                if committing and commit_is_ambiguous(error):
                    raise AmbiguousCommitError from error
                raise


class PsycopgAsyncDatabase(DriverDatabase):
    """As :class:`PsycopgDatabase`, for asyncio."""

    def __init__(self, connect: AsyncConnect) -> None:
        self._connect = connect

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[DriverExecutor]:
        """A transaction on a connection of its own."""
        committing = False
        opened = self._connect()
        lent: AbstractAsyncContextManager[psycopg.AsyncConnection[Any]] = (
            await opened if isawaitable(opened) else opened
        )
        async with lent as connection:
            _refuse_open(connection)
            try:
                async with connection.transaction():
                    yield PsycopgAsyncExecutor(connection)
                    committing = True
            except psycopg.Error as error:
                if committing and commit_is_ambiguous(error):
                    raise AmbiguousCommitError from error
                raise


def keeping_open(connection: psycopg.Connection[Any]) -> SyncConnect:
    """Lends one connection again and again, without closing it."""
    return lambda: nullcontext(connection)


def keeping_open_async(connection: psycopg.AsyncConnection[Any]) -> AsyncConnect:
    """As :func:`keeping_open`."""
    return lambda: nullcontext(connection)


def _autocommits(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    # Without autocommit psycopg begins a transaction with the first statement.
    return connection.autocommit and (connection.info.transaction_status is TransactionStatus.IDLE)


def _is_busy_autocommitting(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
) -> bool:
    # In a pipeline the answer that tells of the transaction may not be there yet.
    pipelined = connection.info.pipeline_status is not PipelineStatus.OFF
    status = connection.info.transaction_status
    return connection.autocommit and pipelined and status is TransactionStatus.ACTIVE


def _may_have_rows(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> bool:
    # In a pipeline the answer is not there yet: fetching waits for it.
    pipelined = cursor.connection.info.pipeline_status is not PipelineStatus.OFF
    return pipelined or cursor.description is not None


def _refuse_open(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    # psycopg's transaction() would be a savepoint there, and nothing committed at its end.
    status = connection.info.transaction_status
    if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        raise OpenTransactionError


def plain_arguments(args: Sequence[object]) -> list[object]:
    """Arguments as psycopg reads them: its tuples are composite values, its lists arrays."""
    return [list(value) if isinstance(value, tuple) else value for value in args]


def read_as_asyncpg(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Let a cursor read times in UTC, whatever its connection's zone, and infinite ones too."""
    cursor.adapters.register_loader("timestamptz", _UtcLoader)


def cursor_records(
    cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any], rows: Sequence[Sequence[object]]
) -> list[DriverRecord]:
    """A cursor's rows as the engine reads them."""
    columns = cursor.description or []
    return records(
        [column.name for column in columns], [column.type_code for column in columns], rows
    )


class _UtcLoader(TimestamptzLoader):
    """PostgreSQL's infinities become the times asyncpg gives for them."""

    def load(self, data: Buffer) -> datetime:
        if bytes(data) == b"infinity":
            return datetime.max  # noqa: DTZ901 - without a zone, as asyncpg's
        if bytes(data) == b"-infinity":
            return datetime.min  # noqa: DTZ901 - without a zone, as asyncpg's
        return super().load(data).astimezone(UTC)
