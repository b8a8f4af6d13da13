"""Migrated schemas that tests use one after the other, and throw away in the end.

Source of the idea: River's riverdbtest. Emptying a schema is far quicker than migrating one.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from riverengine.queries import testing as queries
from riverengine.schema import Migrator

T = TypeVar("T")

PREFIX = "riverengine_test_"
"""How the names of all such schemas start."""

_STAMP = "%Y%m%dt%H%M%S"
_NAME = re.compile(rf"{PREFIX}\d{{8}}t\d{{6}}_[0-9a-f]{{6}}_\d+", re.ASCII)
"""The names made here, and no other: what fits is dropped when it is old."""
_KEPT = timedelta(days=1)

_SETTINGS = {"lock_timeout": "30s"}
"""A test that leaves a transaction open must fail the run, not hold it up for ever."""


class TestSchemas:
    """Lends migrated schemas of one database, each to one test at a time.

    url: a database in which schemas may be made.  lines: of migrations, in their order.  Works in a
    thread of its own, so that it can be used while any event loop runs, or none.
    """

    __test__ = False

    def __init__(self, url: str, lines: Sequence[str]) -> None:
        self._url = url
        self._lines = lines
        self._stem = f"{PREFIX}{datetime.now(UTC).strftime(_STAMP)}_{secrets.token_hex(3)}"
        self._made: list[str] = []
        self._idle: list[str] = []
        self._connection: asyncpg.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="riverengine-test-schemas")
        self._runner = asyncio.Runner()

    def take(self) -> str:
        """The name of an empty schema at the newest version of every line."""
        if self._idle:
            return self._idle.pop()
        return self._run(self._make())

    def give_back(self, name: str) -> None:
        """Empty the schema and let another test have it."""
        # Also after a test that rolled everything back: its ids would go on where it ended.
        self._run(self._empty(name))
        self._idle.append(name)

    def close(self) -> None:
        """Drop the schemas."""
        try:
            self._run(self._drop_all())
        finally:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return self._thread.submit(self._runner.run, work).result()

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url, server_settings=_SETTINGS)
            await self._drop_expired(self._connection)
        return self._connection

    async def _make(self) -> str:
        connection = await self._connected()
        name = f"{self._stem}_{len(self._made) + 1}"
        await queries.schema_create(connection, name)
        self._made.append(name)
        for line in self._lines:
            await Migrator(connection, schema=name, line=line).migrate_up()
        return name

    async def _empty(self, name: str) -> None:
        await queries.schema_empty(await self._connected(), name)

    async def _drop_expired(self, connection: asyncpg.Connection) -> None:
        # Runs that were killed leave theirs behind, in a database that outlives them.
        before = f"{PREFIX}{(datetime.now(UTC) - _KEPT).strftime(_STAMP)}"
        for name in await queries.schema_names(connection, prefix=PREFIX):
            if _NAME.fullmatch(name) and name < before:
                with suppress(asyncpg.InvalidSchemaNameError):
                    await queries.schema_drop(connection, name)

    async def _drop_all(self) -> None:
        if self._made:
            connection = await self._connected()
            for name in self._made:
                await queries.schema_drop(connection, name)
        if self._connection is not None:
            await self._connection.close()
