"""Statements on ``river_queue``."""

from __future__ import annotations

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.errors import QueueNotFoundError
from riverengine.types.queue import Queue

_FILE = "queue.sql"
_UPSERT = statement(_FILE, "queue_upsert")
_GET = statement(_FILE, "queue_get")


async def queue_upsert(
    db: Executor, *, schema: str | None, name: str, timeout: float | None = None
) -> Queue:
    """Make the queue's row, or refresh its time: metadata and pause are kept."""
    return _queue(await db.fetchrow(_UPSERT.sql(schema), name, timeout=timeout))


async def queue_get(db: Executor, *, schema: str | None, name: str) -> Queue:
    """The queue's row; raises ``QueueNotFoundError``."""
    record = await db.fetchrow(_GET.sql(schema), name)
    if record is None:
        raise QueueNotFoundError(name)
    return _queue(record)


def _queue(record: Record) -> Queue:
    return Queue(
        name=record["name"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        paused_at=record["paused_at"],
        metadata_json=record["metadata"],
    )
