"""Statements that claim jobs and look after the claimed ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.job import JobId

_FILE = "job_fetch.sql"
_GET_AVAILABLE = statement(_FILE, "job_get_available")
_GET_CLAIMED = statement(_FILE, "job_get_claimed")
_GET_CANCEL_REQUESTED = statement(_FILE, "job_get_cancel_requested")
_GET_HELD = statement(_FILE, "job_get_held")


async def job_get_available(
    db: Executor,
    *,
    schema: str | None,
    queue: str,
    kinds: Sequence[str] | None,
    limit: int,
    client_id: str,
    timeout: float,
) -> Sequence[Record]:
    """Claim up to ``limit`` due jobs of a queue: they are running when this returns.

    kinds: None for all.  Returns records, not rows: a record that cannot be decoded has been
    claimed all the same and must get an execution.  The order is that of the claims' update: see
    :func:`in_order`.  Source: riverpgxv5 JobGetAvailable at v0.51.1; the clock is the database's.
    """
    records: Sequence[Record] = await db.fetch(
        _GET_AVAILABLE.sql(schema),
        queue,
        None if kinds is None else list(kinds),
        limit,
        client_id,
        timeout=timeout,
    )
    return records


async def job_get_claimed(
    db: Executor,
    *,
    schema: str | None,
    queue: str,
    client_id: str,
    known: Sequence[int],
    limit: int,
    timeout: float,
) -> Sequence[Record]:
    """Up to ``limit`` running jobs of a queue under this client's id, but for the ``known`` ones.

    They are claims whose answer was lost with its connection.
    """
    records: Sequence[Record] = await db.fetch(
        _GET_CLAIMED.sql(schema), queue, client_id, list(known), limit, timeout=timeout
    )
    return records


async def job_get_cancel_requested(
    db: Executor, *, schema: str | None, ids: Sequence[int], timeout: float
) -> list[JobId]:
    """Those of the running jobs ``ids`` that somebody asked to cancel."""
    records = await db.fetch(_GET_CANCEL_REQUESTED.sql(schema), list(ids), timeout=timeout)
    return [JobId(record["id"]) for record in records]


async def job_get_held(
    db: Executor,
    *,
    schema: str | None,
    ids: Sequence[int],
    attempted_at: Sequence[datetime],
    timeout: float,
) -> set[JobId]:
    """Those of the jobs ``ids`` that still run under the claims made at these times."""
    records = await db.fetch(_GET_HELD.sql(schema), list(ids), list(attempted_at), timeout=timeout)
    return {JobId(record["id"]) for record in records}


_urgency = itemgetter("priority", "scheduled_at", "id")


def in_order(records: Sequence[Record]) -> Sequence[Record]:
    """Claimed rows in the order of their urgency."""
    try:
        return sorted(records, key=_urgency)
    except TypeError:
        # A time of plus or minus infinity cannot be compared with others.
        return records
