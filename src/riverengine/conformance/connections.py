"""The adapter's connections: named for the harness, listening ones known, one claim held back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from riverengine.conformance.barriers import ClaimGate

MAX_CONNECTIONS = 10
"""Of the pool; listening connections and the reindexer's come on top."""

_CLAIM = "FOR UPDATE SKIP LOCKED"
"""What only the statement that claims jobs says."""


class Connections:
    """A pool and the listening connections beside it, all with one application name."""

    def __init__(self, url: str, application_name: str, gate: ClaimGate) -> None:
        self._url = url
        self._settings = {"application_name": application_name}
        self._listening: list[Any] = []
        self.pool: asyncpg.Pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            server_settings=self._settings,
            connection_class=_claiming(gate),
            reset=_leave,
        )

    async def connect(self) -> asyncpg.Connection:
        """A connection beside the pool, as a client listens on one; its user closes it."""
        connection = await asyncpg.connect(
            self._url, server_settings=self._settings, connection_class=_ListeningConnection
        )
        self._listening = [each for each in self._listening if not each.is_closed()]
        self._listening.append(connection)
        return connection

    def listener_pids(self) -> list[int]:
        """Backends of the connections that listen at the moment."""
        return [
            each.get_server_pid()
            for each in self._listening
            if each.listens and not each.is_closed()
        ]


async def _leave(connection: asyncpg.Connection) -> None:
    """No connection of the pool is left with anything to reset: it saves a round trip each time."""


class _ListeningConnection(asyncpg.Connection):  # type: ignore[misc]
    """Knows whether it listens to anything."""

    listens = False

    async def add_listener(self, channel: str, callback: Callable[..., object]) -> None:
        """As asyncpg's."""
        await super().add_listener(channel, callback)
        self.listens = True


def _claiming(gate: ClaimGate) -> type:
    class ClaimingConnection(asyncpg.Connection):  # type: ignore[misc]
        """Shows the gate every claim of jobs before the client sees it."""

        async def fetch(self, query: str, *args: object, **options: Any) -> Any:
            """As asyncpg's."""
            fetch: Callable[..., Awaitable[Any]] = super().fetch
            records = await fetch(query, *args, **options)
            if gate.is_armed and records and _CLAIM in query:
                await gate.hold()
            return records

    return ClaimingConnection
