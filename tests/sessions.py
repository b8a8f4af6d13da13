"""What the sessions of a database are at, for the failures of tests that waited in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

_SESSIONS = """
    SELECT
        pid, application_name, state, wait_event_type, wait_event,
        clock_timestamp() - xact_start AS transaction, clock_timestamp() - state_change,
        pg_blocking_pids(pid), left(query, 200)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_LIMIT = 10.0


async def sessions(database_url: str) -> list[str]:
    """Who is at what in the database, and whom each one waits for; empty if it does not answer."""
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(database_url, timeout=_LIMIT)
        try:
            records = await connection.fetch(_SESSIONS, timeout=_LIMIT)
            return [" ".join(" ".join(map(str, record)).split()) for record in records]
        finally:
            connection.terminate()
    return []


@asynccontextmanager
async def within(seconds: float, pool: asyncpg.Pool) -> AsyncIterator[None]:
    """``asyncio.timeout`` whose error tells what the sessions of the pool's database were at."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        for session in await sessions(pool._connect_args[0]):
            error.add_note(session)
        raise
