"""What an adapter gives the engine: statements run on another library's connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg

from riverengine.queries.statement import Executor

OID_BIT = 1560
OID_BYTEA = 17
OID_TIMESTAMPTZ = 1184


class DriverRecord:
    """A result row, read by column name or position as asyncpg's records are."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: Sequence[object]) -> None:
        self._places = places
        self._values = values

    @classmethod
    def of(cls, row: Mapping[str, object]) -> DriverRecord:
        """A record of columns by name, in their order."""
        return cls({name: place for place, name in enumerate(row)}, tuple(row.values()))

    def __getitem__(self, key: str | int | slice, /) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str, default: Any = None) -> Any:
        """The column's value, or ``default`` when there is no such column."""
        place = self._places.get(key)
        return default if place is None else self._values[place]

    def keys(self) -> Iterator[str]:
        """The columns' names."""
        return iter(self._places)

    def values(self) -> Iterator[Any]:
        """The columns' values."""
        return iter(self._values)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names with values."""
        return zip(self._places, self._values, strict=True)


class DriverExecutor(ABC):
    """Runs the engine's statements on another library's connection.

    An adapter implements :meth:`run`; its instances may be given as ``tx`` themselves, so a library
    not known here needs no more than such a class. An adapter of a synchronous library has the same
    ``async`` methods, which never suspend: :class:`riverengine.SyncClient` runs them to their end.
    """

    @abstractmethod
    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        """Run one statement with ``$1`` placeholders in the connection's transaction.

        Values come as asyncpg reads them: times in UTC, ``bit`` as ``asyncpg.BitString``.
        """

    async def require_transaction(self) -> None:
        """Raise ``NoTransactionError`` where each statement would be committed by itself.

        Called before the first statement of every call with ``tx``. An adapter that cannot tell
        leaves it to its callers, as this one does.
        """
        return

    async def fetch(
        self, query: str, *args: object, timeout: float | None = None
    ) -> list[DriverRecord]:
        """All rows. timeout: seconds, then ``TimeoutError``; asynchronous libraries only."""
        if timeout is None:
            return await self.run(query, args)
        # The library cancels its statement when its task is cancelled.
        async with asyncio.timeout(timeout):
            return await self.run(query, args)

    async def fetchrow(
        self, query: str, *args: object, timeout: float | None = None
    ) -> DriverRecord | None:
        """The first row; None when there is none."""
        rows = await self.fetch(query, *args, timeout=timeout)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """The first row's first value; None when there is no row."""
        row = await self.fetchrow(query, *args, timeout=timeout)
        return None if row is None else row[0]

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run a statement whose rows do not matter; the result is empty."""
        await self.fetch(query, *args, timeout=timeout)
        return ""


class Database(Executor, Protocol):
    """Where a client takes transactions of its own from; asyncpg's pools, in effect.

    Statements run on it directly are transactions of their own.
    """

    def transaction(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Executor]:
        """A transaction, committed when the block ends well and rolled back otherwise.

        timeout: seconds it may last, where the library offers no limit of its own.  Raises
        ``AmbiguousCommitError`` when the connection breaks while COMMIT is under way.
        """
        ...

    async def write(self, query: str, *args: object, timeout: float | None = None) -> Sequence[Any]:
        """The rows of a statement that changes something, as a transaction by itself.

        Raises ``AmbiguousCommitError`` when the connection breaks before the answer comes.
        """
        ...


class DriverDatabase(DriverExecutor):
    """A :class:`Database` on another library, whose own settings limit how long things take."""

    @abstractmethod
    def transaction(
        self, *, timeout: float | None = None
    ) -> AbstractAsyncContextManager[DriverExecutor]:
        """A transaction of its own."""

    async def write(
        self, query: str, *args: object, timeout: float | None = None
    ) -> list[DriverRecord]:
        """The rows of a statement in a transaction of its own. timeout: not used."""
        return await self.run(query, args)

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        async with self.transaction() as executor:
            return await executor.run(sql, args)


def records(
    names: Sequence[str], types: Sequence[int], rows: Sequence[Sequence[object]]
) -> list[DriverRecord]:
    """Rows as asyncpg would have read them. types: the columns' type OIDs."""
    places = {name: place for place, name in enumerate(names)}
    reads = [(place, _READ[oid]) for place, oid in enumerate(types) if oid in _READ]
    found = []
    for row in rows:
        values = list(row)
        for place, read in reads:
            if values[place] is not None:
                values[place] = read(values[place])
        found.append(DriverRecord(places, values))
    return found


def _utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def _bits(value: object) -> object:
    return asyncpg.BitString(value) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


_READ = {OID_BIT: _bits, OID_BYTEA: _bytes, OID_TIMESTAMPTZ: _utc}
