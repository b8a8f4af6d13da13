"""Statements on ``river_leader``.

Every time is the database's, so that the hosts' clocks do not matter.
"""

from __future__ import annotations

from datetime import timedelta

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.queue import Leader

TOPIC_LEADERSHIP = "river_leadership"
"""Channel of resignations and of requests to resign."""

_FILE = "leader.sql"
_ELECT = statement(_FILE, "leader_attempt_elect")
_REELECT = statement(_FILE, "leader_reelect")
_RESIGN = statement(_FILE, "leader_resign")
_GET = statement(_FILE, "leader_get")
_HOLD = statement(_FILE, "leader_hold")


async def leader_attempt_elect(
    db: Executor, *, schema: str | None, leader_id: str, ttl: timedelta
) -> Leader | None:
    """Become the leader if nobody is; None when somebody else is."""
    return _leader(await db.fetchrow(_ELECT.sql(schema), leader_id, ttl))


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


async def leader_hold(conn: Executor, *, schema: str | None, term: Leader) -> bool:
    """Whether ``term`` still runs, and keep it from being taken over until the transaction ends.

    The lock lets the term's own prolongation through, but no deletion. Nobody leads while a client
    that was frozen keeps it: ask last, right before COMMIT, in a transaction with a limit
    (``transaction_limit``).
    """
    return await conn.fetchval(_HOLD.sql(schema), term.leader_id, term.elected_at) is not None


def _leader(row: Record | None) -> Leader | None:
    if row is None:
        return None
    return Leader(
        leader_id=row["leader_id"], elected_at=row["elected_at"], expires_at=row["expires_at"]
    )
