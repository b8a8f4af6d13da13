"""What the runner sees of the database by itself: locks, transactions, notifications, rows."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

OWN_APPLICATION_NAME = "river-conformance-runner"
CHANNELS = ("river_control", "river_insert", "river_leadership")
_markers = itertools.count(1)


class Listener:
    """Receives the payloads of one channel."""

    def __init__(self, observer: Observer, channel: str) -> None:
        self.channel = channel
        self._observer = observer
        self._payloads: asyncio.Queue[str] = asyncio.Queue()

    def hear(self, connection: object, pid: int, channel: str, payload: str) -> None:
        """asyncpg's callback."""
        self._payloads.put_nowait(payload)

    async def until_marker(self) -> list[str]:
        """Payloads committed before this call: a marker sent behind them proves completeness."""
        marker = json.dumps({"conformance_marker": next(_markers)})
        await self._observer.execute("SELECT pg_notify($1, $2)", self.channel, marker)
        payloads: list[str] = []
        async with asyncio.timeout(20):
            while (payload := await self._payloads.get()) != marker:
                payloads.append(payload)
        return payloads


class Observer:
    """Reads, and arranges rows, on connections that no fault reaches."""

    def __init__(self, pool: asyncpg.Pool, database_url: str) -> None:
        self.pool = pool
        self.database_url = database_url

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> AsyncIterator[Observer]:
        """An observer of one database."""
        async with asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=4,
            statement_cache_size=0,
            server_settings={"application_name": OWN_APPLICATION_NAME},
        ) as pool:
            yield cls(pool, database_url)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Run statements."""
        await self.pool.execute(statement, *arguments)

    async def value(self, statement: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return await self.pool.fetchval(statement, *arguments)

    async def row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row."""
        return await self.pool.fetchrow(statement, *arguments)

    async def next_transaction_id(self) -> int:
        """The next transaction id; only writing transactions use one up."""
        number: int = await self.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8")
        return number

    async def lock_waiters(self, application_name: str) -> int:
        """Statements of an application that wait for a lock."""
        count: int = await self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = $1 AND state = 'active' AND wait_event_type = 'Lock'",
            application_name,
        )
        return count

    async def connections(self, application_name: str) -> int:
        """Connections of an application."""
        count: int = await self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = $1",
            application_name,
        )
        return count

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[Listener]:
        """Hear one of River's topics in the default schema."""
        connection = await asyncpg.connect(
            self.database_url, server_settings={"application_name": OWN_APPLICATION_NAME}
        )
        try:
            schema = await connection.fetchval("SELECT current_schema()")
            listener = Listener(self, f"{schema}.{topic}")
            await connection.add_listener(listener.channel, listener.hear)
            yield listener
        finally:
            await connection.close()

    @asynccontextmanager
    async def held_rows(self, table: str, *ids: int) -> AsyncIterator[asyncpg.Connection]:
        """Hold row locks in an open transaction; the caller commits it by leaving."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.fetch(f"SELECT id FROM {table} WHERE id = ANY($1) FOR UPDATE", ids)
            yield connection
