"""Statements about the transaction they are in."""

from __future__ import annotations

from datetime import timedelta

from riverengine.queries.statement import Executor, statement

_FILE = "transaction.sql"
_CHECK = statement(_FILE, "transaction_check")
_SYNC = statement(_FILE, "session_sync")
_LIMIT = statement(_FILE, "transaction_limit")


async def transaction_check(tx: Executor) -> None:
    """Raises the driver's error when an error aborted the transaction."""
    await tx.fetchval(_CHECK.sql(None))


async def session_sync(conn: Executor) -> None:
    """End the implicit transaction of a statement that the driver announced and did not run."""
    await conn.execute(_SYNC.sql(None))


async def transaction_limit(tx: Executor, limit: timedelta) -> None:
    """Let the server end the transaction, and its session, when it waits ``limit`` for the client.

    Otherwise the locks of a client that is frozen, or whose machine is, last as long as that. From
    PostgreSQL 17 on ``limit`` is for the transaction as a whole; before, a client frozen after it
    announced a statement, and before it ran it, is not noticed.
    """
    await tx.execute(_LIMIT.sql(None), f"{limit // timedelta(milliseconds=1)}ms")
