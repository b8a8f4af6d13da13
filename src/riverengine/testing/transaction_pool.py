"""A pool whose every connection is one open transaction."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any

import asyncpg


class TransactionPool:
    """Stands in for an ``asyncpg.Pool`` in a test that keeps everything in one transaction.

    What workers, clients and application code do with it happens in the transaction, in savepoints
    where they open transactions of their own, and is gone when the test rolls back.  tx: a
    connection inside a transaction; it serves one statement at a time, as any connection.
    """

    def __init__(self, tx: asyncpg.Connection) -> None:
        self._tx = tx

    def acquire(self, *, timeout: float | None = None) -> Acquired:
        """The transaction's connection, by ``await`` or ``async with``; timeout is ignored."""
        return Acquired(self._tx)

    async def release(
        self, connection: asyncpg.Connection, *, timeout: float | None = None
    ) -> None:
        """Nothing: the transaction stays the test's."""

    async def fetch(
        self, query: str, *args: object, timeout: float | None = None
    ) -> Sequence[asyncpg.Record]:
        """As ``asyncpg.Pool.fetch``."""
        records: Sequence[asyncpg.Record] = await self._tx.fetch(query, *args, timeout=timeout)
        return records

    async def fetchrow(
        self, query: str, *args: object, timeout: float | None = None
    ) -> asyncpg.Record | None:
        """As ``asyncpg.Pool.fetchrow``."""
        return await self._tx.fetchrow(query, *args, timeout=timeout)

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """As ``asyncpg.Pool.fetchval``."""
        return await self._tx.fetchval(query, *args, timeout=timeout)

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """As ``asyncpg.Pool.execute``."""
        status: str = await self._tx.execute(query, *args, timeout=timeout)
        return status

    async def executemany(
        self, command: str, args: Sequence[Sequence[object]], *, timeout: float | None = None
    ) -> None:
        """As ``asyncpg.Pool.executemany``."""
        await self._tx.executemany(command, args, timeout=timeout)

    def get_size(self) -> int:
        """One: the transaction's."""
        return 1

    def get_max_size(self) -> int:
        """One: the transaction's."""
        return 1

    def get_idle_size(self) -> int:
        """None: the test has it."""
        return 0

    async def expire_connections(self) -> None:
        """Nothing: the transaction cannot be replaced."""


class Acquired:
    """What ``asyncpg.Pool.acquire`` returns: awaited or entered, it is a connection."""

    def __init__(self, tx: asyncpg.Connection) -> None:
        self._tx = tx

    def __await__(self) -> Generator[None, None, asyncpg.Connection]:
        yield from ()
        return self._tx

    async def __aenter__(self) -> asyncpg.Connection:
        return self._tx

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is given back."""
