"""Statements on ``river_queue``."""

from __future__ import annotations

from collections.abc import Sequence

from riverengine.queries.job_filter import check_limit, check_texts
from riverengine.queries.notification import (
    TOPIC_CONTROL,
    metadata_changed_payload,
    notify_many,
    pause_payload,
    resume_payload,
)
from riverengine.queries.statement import Executor, Record, Statement, statement
from riverengine.types.errors import QueueNotFoundError
from riverengine.types.queue import Queue

_FILE = "queue.sql"
_UPSERT = statement(_FILE, "queue_upsert")
_GET = statement(_FILE, "queue_get")
_LIST = statement(_FILE, "queue_list")
_NAME_LIST = statement(_FILE, "queue_name_list")
_PAUSE = statement(_FILE, "queue_pause")
_RESUME = statement(_FILE, "queue_resume")
_UPDATE = statement(_FILE, "queue_update")

ALL_QUEUES = "*"
"""Stands for every queue where one can be named to pause or resume."""


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


async def queue_list(db: Executor, *, schema: str | None, limit: int) -> list[Queue]:
    """Queues by name. limit: 1 to 10,000."""
    check_limit(limit)
    return [_queue(record) for record in await db.fetch(_LIST.sql(schema), limit)]


async def queue_name_list(
    db: Executor, *, schema: str | None, after: str, match: str, exclude: Sequence[str], limit: int
) -> list[str]:
    """Names of queues: behind ``after``, containing ``match``, not in ``exclude``."""
    check_limit(limit)
    check_texts("exclude", exclude)
    check_texts("match", (after, match))
    records = await db.fetch(_NAME_LIST.sql(schema), after, match, list(exclude), limit)
    return [record["name"] for record in records]


async def queue_pause(db: Executor, *, schema: str | None, name: str) -> None:
    """Pause a queue, or all with ``*``, and tell its producers; raises ``QueueNotFoundError``.

    Two statements: the caller opens a transaction around them.
    """
    await _toggle(db, _PAUSE, schema, name, pause_payload(name))


async def queue_resume(db: Executor, *, schema: str | None, name: str) -> None:
    """Resume a queue, or all with ``*``, and tell its producers; raises ``QueueNotFoundError``.

    Two statements: the caller opens a transaction around them.
    """
    await _toggle(db, _RESUME, schema, name, resume_payload(name))


async def queue_update(
    db: Executor, *, schema: str | None, name: str, metadata_json: str | None
) -> Queue:
    """Replace a queue's metadata, if given, and tell; raises ``QueueNotFoundError``.

    Two statements: the caller opens a transaction around them.
    """
    record = await db.fetchrow(_UPDATE.sql(schema), name, metadata_json)
    if record is None:
        raise QueueNotFoundError(name)
    if metadata_json is not None:
        payload = metadata_changed_payload(name, metadata_json)
        await notify_many(db, schema=schema, topic=TOPIC_CONTROL, payloads=[payload])
    return _queue(record)


async def _toggle(
    db: Executor, query: Statement, schema: str | None, name: str, payload: str
) -> None:
    changed = await db.fetch(query.sql(schema), name)
    if not changed and name != ALL_QUEUES:
        raise QueueNotFoundError(name)
    await notify_many(db, schema=schema, topic=TOPIC_CONTROL, payloads=[payload])


def _queue(record: Record) -> Queue:
    return Queue(
        name=record["name"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        paused_at=record["paused_at"],
        metadata_json=record["metadata"],
    )
