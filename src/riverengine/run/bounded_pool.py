"""The caller's pool, on which nothing waits for ever.

A link can fall silent without an error: a firewall forgets it, a machine vanishes, a proxy still
acknowledges what it no longer delivers. asyncpg's own ``timeout`` then asks the server, over a new
connection on the same dead path, to cancel the statement, and giving the connection back waits for
that. Here every wait ends: a connection that does not answer in time is terminated, and the pool's
other connections, which lead the same way, are replaced at their next use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import asyncpg

from riverengine.queries.transaction import session_sync, transaction_limit
from riverengine.types.errors import AmbiguousCommitError, UnsupportedDriverError

TIMEOUT = 10.0
"""Seconds a statement may take unless its caller says otherwise."""

_GRACE = 2.0
"""Seconds for the server to confirm that a statement is cancelled, or a connection reset."""

_KEPT = 2
_LINGER = 0.01
"""How many connections are kept for the next statement, and for how many seconds."""

_BROKEN = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    # The server went down, by command or by a crash, around the statement.
    asyncpg.OperatorInterventionError,
)


class BoundedPool:
    """Takes the place of an ``asyncpg.Pool``; every call has a limit.

    ``timeout`` arguments are seconds, ``TIMEOUT`` for None. What takes longer raises
    ``TimeoutError``.
    """

    def __init__(self, pool: asyncpg.Pool, *, logger: logging.Logger | None = None) -> None:
        """pool: stays the caller's to close.  Raises ``UnsupportedDriverError``."""
        if not callable(getattr(pool, "acquire", None)):
            name = f"{type(pool).__module__}.{type(pool).__qualname__}"
            raise UnsupportedDriverError(name, "a Client's pool", "await asyncpg.create_pool(url)")
        self._pool = pool
        self._logger = logger or logging.getLogger("riverengine")
        self._kept: list[tuple[asyncpg.Connection, float]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._giving_back: set[asyncio.Task[bool]] = set()
        self.lost: int = 0
        """Connections given up because they did not answer, for metrics."""

    @property
    def is_closed(self) -> bool:
        """Whether its owner closed the pool: no statement will ever run on it."""
        return bool(self._pool.is_closing())

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> Sequence[Any]:
        """The rows of a statement."""
        limit = TIMEOUT if timeout is None else timeout
        async with self.statements(timeout=limit) as connection:
            rows: Sequence[Any] = await connection.fetch(query, *args, timeout=limit)
            return rows

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """The first row of a statement, or None."""
        limit = TIMEOUT if timeout is None else timeout
        async with self.statements(timeout=limit) as connection:
            return await connection.fetchrow(query, *args, timeout=limit)

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """The first value of a statement's first row, or None."""
        limit = TIMEOUT if timeout is None else timeout
        async with self.statements(timeout=limit) as connection:
            return await connection.fetchval(query, *args, timeout=limit)

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run a statement; returns its command tag."""
        limit = TIMEOUT if timeout is None else timeout
        async with self.statements(timeout=limit) as connection:
            tag: str = await connection.execute(query, *args, timeout=limit)
            return tag

    async def write(self, query: str, *args: object, timeout: float | None = None) -> Sequence[Any]:
        """The rows of a statement that is a transaction by itself.

        Raises ``AmbiguousCommitError`` when the connection broke before the answer came.
        """
        limit = TIMEOUT if timeout is None else timeout
        async with self.statements(timeout=limit) as connection:
            try:
                rows: Sequence[Any] = await connection.fetch(query, *args, timeout=limit)
            except _BROKEN as error:
                # An argument refused by the driver never left; an error told by the server, on a
                # connection that goes on, undid everything.
                told = isinstance(error, asyncpg.PostgresError) and _is_open(connection)
                if told or isinstance(error, ValueError):
                    raise
                _terminate(connection)
                raise AmbiguousCommitError(
                    "the connection broke while a statement was under way: its changes may be "
                    "stored"
                ) from error
            return rows

    def acquire(self, *, timeout: float | None = None, keep: bool = False) -> Borrowed:
        """A connection for a block that lasts at most ``timeout``, once one is free.

        Statements of the block need no timeout of their own, but one of exactly ``timeout`` lets
        the server know that it should stop.  keep: for blocks that leave nothing behind in the
        session; the next such block gets the connection without a reset.
        """
        return Borrowed(self, TIMEOUT if timeout is None else timeout, keep=keep)

    @asynccontextmanager
    async def transaction(
        self, *, timeout: float | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """A connection in a transaction of at most ``timeout``, committed if the block ends well.

        Its locks last no longer when the process, or its machine, is frozen meanwhile: the server
        has the same limit.  Raises ``AmbiguousCommitError`` when the connection broke while COMMIT
        was under way.
        """
        limit = TIMEOUT if timeout is None else timeout
        async with self.acquire(timeout=limit) as connection:
            is_savepoint = connection.is_in_transaction()
            transaction = connection.transaction()
            await _begin(connection, transaction)
            try:
                if not is_savepoint:
                    await transaction_limit(connection, limit + _GRACE)
                yield connection
            except BaseException:
                await _roll_back(connection, transaction)
                raise
            try:
                await transaction.commit()
            except _BROKEN as error:
                _terminate(connection)
                raise AmbiguousCommitError(
                    "the connection broke while COMMIT was under way: the changes may be stored"
                ) from error
            except asyncio.CancelledError:
                _terminate(connection)
                raise

    def statements(
        self, *, timeout: float | None = None
    ) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A connection for statements that leave nothing behind in the session."""
        return self.acquire(timeout=timeout, keep=True)

    # Giving a connection back costs a round trip, which resets its session.

    @property
    def _has_spare(self) -> bool:
        """Whether others can have a connection while one is kept."""
        pool = self._pool
        return len(self._kept) < _KEPT and (
            pool.get_size() < pool.get_max_size() or pool.get_idle_size() > 0
        )

    def _keep(self, connection: asyncpg.Connection) -> None:
        loop = asyncio.get_running_loop()
        self._kept.append((connection, loop.time()))
        if self._sweep is None:
            self._sweep = loop.call_later(_LINGER, self._sweep_kept)

    def _take_kept(self) -> asyncpg.Connection | None:
        while self._kept:
            connection, _ = self._kept.pop()
            if _is_open(connection):
                return connection
        return None

    def _sweep_kept(self) -> None:
        loop = asyncio.get_running_loop()
        idle = loop.time() - _LINGER
        for connection, since in [*self._kept]:
            if since <= idle:
                self._kept.remove((connection, since))
                task = loop.create_task(self._give_back(connection), name="give-back")
                self._giving_back.add(task)
                task.add_done_callback(self._giving_back.discard)
        self._sweep = loop.call_later(_LINGER, self._sweep_kept) if self._kept else None

    async def _give_back(self, connection: asyncpg.Connection, *, failed: bool = False) -> bool:
        """Return the connection to the pool; False when it did not answer."""
        try:
            if failed:
                await _end_announced(connection)
            await self._pool.release(connection, timeout=_GRACE)
        except TimeoutError:
            return False
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # asyncpg terminated it: the pool opens another when one is needed.
            self._logger.debug("a connection broke when given back: %s", type(error).__name__)
        return True

    async def _replace_others(self) -> None:
        self.lost += 1
        while (kept := self._take_kept()) is not None:
            _terminate(kept)
        self._logger.warning("PostgreSQL did not answer; the pool's connections are replaced")
        await self._pool.expire_connections()


class Borrowed:
    """A connection of a :class:`BoundedPool` for one block, made by :meth:`BoundedPool.acquire`.

    Every statement enters one: written as a generator it would cost half as much again.
    """

    __slots__ = ("_bounded", "_connection", "_ends", "_keep", "_limit")

    _connection: asyncpg.Connection
    _ends: asyncio.TimerHandle

    def __init__(self, bounded: BoundedPool, limit: float, *, keep: bool) -> None:
        self._bounded = bounded
        self._limit = limit
        self._keep = keep

    async def __aenter__(self) -> asyncpg.Connection:
        bounded, limit = self._bounded, self._limit
        kept = bounded._take_kept() if self._keep else None
        connection = kept or await bounded._pool.acquire(timeout=limit)
        # Cancelling the block instead would let it wait for a rollback that never comes.
        ends = asyncio.get_running_loop().call_later(limit + _GRACE, _terminate, connection)
        self._connection, self._ends = connection, ends
        return connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        bounded, connection = self._bounded, self._connection
        failed = error is not None
        silent = isinstance(error, Exception) and self._is_silent(error)
        self._ends.cancel()
        if self._keep and not failed and bounded._has_spare and _is_open(connection):
            bounded._keep(connection)
        elif not await bounded._give_back(connection, failed=failed) or silent:
            await bounded._replace_others()
        if silent and isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
            raise TimeoutError(f"PostgreSQL did not answer within {self._limit:.0f} s") from error

    def _is_silent(self, error: Exception) -> bool:
        """Whether the block failed because the connection did not answer."""
        if _is_open(self._connection):
            return False
        cause = error.__cause__ if isinstance(error, AmbiguousCommitError) else error
        is_late = asyncio.get_running_loop().time() >= self._ends.when()
        return isinstance(cause, TimeoutError) or is_late


async def _begin(connection: asyncpg.Connection, transaction: Any) -> None:
    """Start the transaction, or leave none behind."""
    # Were BEGIN itself cancelled, asyncpg would take the transaction for open for ever.
    begun = asyncio.ensure_future(transaction.start())
    try:
        await asyncio.shield(begun)
    except asyncio.CancelledError:
        await asyncio.wait({begun}, timeout=_GRACE)
        if begun.done() and begun.exception() is None:
            await _roll_back(connection, transaction)
        else:
            begun.cancel()
            _terminate(connection)
        raise


async def _roll_back(connection: asyncpg.Connection, transaction: Any) -> None:
    """End the transaction; by force when the server does not confirm it soon.

    A statement that is being cancelled is waited for: left to itself it would keep its locks.
    """
    if not _is_open(connection):
        return
    try:
        async with asyncio.timeout(_GRACE):
            await transaction.rollback()
    except _BROKEN:
        _terminate(connection)
    except asyncio.CancelledError:
        _terminate(connection)
        raise


async def _end_announced(connection: asyncpg.Connection) -> None:
    """Free the tables of a statement that was announced, but not run.

    asyncpg lets the server parse a statement and sends what ends the implicit transaction only with
    the arguments. When they are refused, or the task is cancelled between, the locks last until the
    connection's next message; a pool whose owner gave it a ``reset`` of his own sends none.
    """
    if not _is_open(connection):
        return
    try:
        async with asyncio.timeout(_GRACE):
            await session_sync(connection)
    except BaseException:
        _terminate(connection)
        raise


def _is_open(connection: asyncpg.Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        # A pool takes a terminated connection back at once.
        return False


def _terminate(connection: asyncpg.Connection) -> None:
    if _is_open(connection):
        connection.terminate()
