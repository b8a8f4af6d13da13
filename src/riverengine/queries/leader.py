"""Statements on ``river_leader``.

Every time is the database's, so that the hosts' clocks do not matter.
"""

from __future__ import annotations

from datetime import timedelta

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.queue import Leader

TOPIC_LEADERSHIP = "river_leadership"
"""Channel of resignations and of requests to resign."""

IDLE_LIMIT = timedelta(seconds=10)
"""How long a transaction that locks the row may wait for its client."""

_FILE = "leader.sql"
_DELETE_EXPIRED = statement(_FILE, "leader_delete_expired")
_INSERT = statement(_FILE, "leader_insert")
_REELECT = statement(_FILE, "leader_reelect")
_RESIGN = statement(_FILE, "leader_resign")
_GET = statement(_FILE, "leader_get")
_HOLD = statement(_FILE, "leader_hold")


async def leader_attempt_elect(
    conn: Executor,
    *,
    schema: str | None,
    leader_id: str,
    ttl: timedelta,
    idle_limit: timedelta = IDLE_LIMIT,
) -> Leader | None:
    """Become the leader if nobody is; None when somebody else is.

    Two statements: the caller opens a transaction around them, which ends with its session when the
    client keeps it waiting for ``idle_limit``.
    """
    limit = _milliseconds(idle_limit)
    await conn.execute(_DELETE_EXPIRED.sql(schema), limit)
    return _leader(await conn.fetchrow(_INSERT.sql(schema), leader_id, ttl, limit))


async def leader_attempt_reelect(
    db: Executor, *, schema: str | None, term: Leader, ttl: timedelta
) -> Leader | None:
    """Prolong ``term``; None when it is over, whoever leads now."""
    return _leader(
        await db.fetchrow(_REELECT.sql(schema), term.leader_id, term.elected_at, ttl),
    )


async def leader_resign(db: Executor, *, schema: str | None, term: Leader) -> bool:
    """End ``term`` and tell the other clients; False when it was over already."""
    row = await db.fetchrow(
        _RESIGN.sql(schema), term.leader_id, term.elected_at, schema, TOPIC_LEADERSHIP
    )
    return row is not None


async def leader_get(db: Executor, *, schema: str | None) -> Leader | None:
    """The current row, expired or not."""
    return _leader(await db.fetchrow(_GET.sql(schema)))


async def leader_hold(
    conn: Executor, *, schema: str | None, term: Leader, idle_limit: timedelta = IDLE_LIMIT
) -> bool:
    """Whether ``term`` still runs, and keep it from being taken over until the transaction ends.

    The lock lets the term's own prolongation through, but no deletion. The transaction ends with
    its session when the client keeps it waiting for ``idle_limit``.
    """
    limit = _milliseconds(idle_limit)
    held = await conn.fetchval(_HOLD.sql(schema), term.leader_id, term.elected_at, limit)
    return held is not None


def _milliseconds(limit: timedelta) -> str:
    return f"{limit // timedelta(milliseconds=1)}ms"


def _leader(row: Record | None) -> Leader | None:
    if row is None:
        return None
    return Leader(
        leader_id=row["leader_id"], elected_at=row["elected_at"], expires_at=row["expires_at"]
    )
