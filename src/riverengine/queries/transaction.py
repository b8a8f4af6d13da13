"""Statements about the transaction they are in."""

from __future__ import annotations

import asyncpg

from riverengine.queries.statement import Executor, Statement, statement

_FILE = "transaction.sql"
_CHECK = statement(_FILE, "transaction_check")
_SYNC = statement(_FILE, "session_sync")
_LIMIT = statement(_FILE, "transaction_limit")
_IDLE_LIMIT = statement(_FILE, "transaction_idle_limit")

_LIMITS_TRANSACTIONS = (17,)
_MOST = 2**31 - 1
"""Milliseconds; PostgreSQL takes no longer limit."""


async def transaction_check(tx: Executor) -> None:
    """Raises the driver's error when an error aborted the transaction."""
    await tx.fetchval(_CHECK.sql(None))


async def session_sync(conn: Executor) -> None:
    """End the implicit transaction of a statement that the driver announced and did not run."""
    await conn.execute(_SYNC.sql(None))


async def transaction_limit(tx: asyncpg.Connection, seconds: float) -> None:
    """Let the server end the transaction, and its session, when it is open ``seconds`` from here.

    Otherwise the locks of a client that is frozen, or whose machine is, last as long as that.
    Before PostgreSQL 17 the limit is for each wait for the client, and one that was frozen after it
    announced a statement, and before it ran it, is not noticed: a session is not idle then. ``tx``
    must not be in a savepoint: the limit would outlive it.
    """
    if tx.get_server_version() >= _LIMITS_TRANSACTIONS:
        await tx.execute(f"{_limited(_LIMIT, 0)}; {_limited(_LIMIT, seconds)}")
    else:
        await transaction_idle_limit(tx, seconds)


async def transaction_idle_limit(tx: Executor, seconds: float) -> None:
    """As :func:`transaction_limit`, for each wait for the client only, on every release."""
    await tx.execute(_limited(_IDLE_LIMIT, seconds))


def _limited(setting: Statement, seconds: float) -> str:
    milliseconds = int(min(seconds * 1000, _MOST))
    return setting.sql(None).replace("/* MILLISECONDS */0", str(milliseconds))
