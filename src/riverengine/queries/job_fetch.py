"""Statements that claim jobs and look after the claimed ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.job import JobId
from riverengine.work.go_json import format_time

_FILE = "job_fetch.sql"
_GET_AVAILABLE = statement(_FILE, "job_get_available")
_GET_CLAIMED = statement(_FILE, "job_get_claimed")
_GET_CANCEL_REQUESTED = statement(_FILE, "job_get_cancel_requested")
_CLIENT_ID_LOCK = statement(_FILE, "client_id_lock")
_CLIENT_IDS_WITHOUT_SESSION = statement(_FILE, "client_ids_without_session")
_TAKE_BACK = statement(_FILE, "job_take_back")

TAKEN_BACK_ERROR = "Job taken back: its client's process died"
"""Text of the error that taking back appends to the job."""


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
    timeout: float,
) -> Sequence[Record]:
    """Running jobs of a queue under this client's id, but for the ``known`` ones.

    They are claims whose answer was lost with its connection.
    """
    records: Sequence[Record] = await db.fetch(
        _GET_CLAIMED.sql(schema), queue, client_id, list(known), timeout=timeout
    )
    return records


async def job_get_cancel_requested(
    db: Executor, *, schema: str | None, ids: Sequence[int], timeout: float
) -> list[JobId]:
    """Those of the running jobs ``ids`` that somebody asked to cancel."""
    records = await db.fetch(_GET_CANCEL_REQUESTED.sql(schema), list(ids), timeout=timeout)
    return [JobId(record["id"]) for record in records]


async def client_id_lock(connection: Executor, *, schema: str | None, client_id: str) -> bool:
    """Claim a client id for the connection's session; False when another session holds it."""
    held: bool = await connection.fetchval(_CLIENT_ID_LOCK.sql(schema), client_id, schema)
    return held


async def client_ids_without_session(db: Executor, *, schema: str | None, mark: str) -> list[str]:
    """Ids of clients that hold running jobs, should be held by a lock, and are not.

    mark: the end of the ids that are locked.  Once is no proof: a living client is without its
    session while it reconnects.
    """
    records = await db.fetch(_CLIENT_IDS_WITHOUT_SESSION.sql(schema), mark, schema)
    return [record["id"] for record in records]


async def job_take_back(
    db: Executor, *, schema: str | None, client_id: str, at: datetime
) -> list[JobId]:
    """End the attempts of a dead process with this client id: available again, or discarded.

    at: the process's clock, for the error entry.  The caller has made sure the process is gone.
    """
    records = await db.fetch(_TAKE_BACK.sql(schema), client_id, format_time(at), TAKEN_BACK_ERROR)
    return [JobId(record["id"]) for record in records]


_urgency = itemgetter("priority", "scheduled_at", "id")


def in_order(records: Sequence[Record]) -> Sequence[Record]:
    """Claimed rows in the order of their urgency."""
    try:
        return sorted(records, key=_urgency)
    except TypeError:
        # A time of plus or minus infinity cannot be compared with others.
        return records
