"""Messages between clients: channels, and payloads with the bytes Go River sends.

Source: protocol section 6; messages are part of the transaction they are sent in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from riverengine.queries.statement import Executor, statement
from riverengine.work.go_json import compact_json, encode_json

TOPIC_INSERT = "river_insert"
"""Jobs became available: a queue's producers fetch."""

TOPIC_CONTROL = "river_control"
"""A job was cancelled, a queue paused, resumed or changed."""

MAX_PAYLOAD_BYTES = 7_999
"""Longest message PostgreSQL sends."""

_FILE = "notification.sql"
_NOTIFY_MANY = statement(_FILE, "notify_many")
_CURRENT_SCHEMA = statement(_FILE, "current_schema")


async def notify_many(
    db: Executor, *, schema: str | None, topic: str, payloads: Sequence[str]
) -> None:
    """Send the payloads on a topic; delivered when the transaction commits."""
    if payloads:
        await db.execute(_NOTIFY_MANY.sql(schema), schema, topic, list(payloads))


async def current_schema(db: Executor) -> str | None:
    """The schema unqualified names resolve to; None when the search path holds none."""
    found: str | None = await db.fetchval(_CURRENT_SCHEMA.sql(None))
    return found


def request_resign_payload() -> str:
    """Asks the leader, whoever it is, to resign; the empty member is Go's."""
    return '{"action":"request_resign","leader_id":""}'


def insert_payload(queue: str) -> str:
    """Tells a queue's producers about new jobs; the space is Go's."""
    return f'{{"queue": {json.dumps(queue)}}}'


def pause_payload(queue: str) -> str:
    """Pauses a queue, or all with ``*``."""
    return f'{{"action":"pause","queue":{encode_json(queue)}}}'


def resume_payload(queue: str) -> str:
    """Resumes a queue, or all with ``*``."""
    return f'{{"action":"resume","queue":{encode_json(queue)}}}'


def metadata_changed_payload(queue: str, metadata_json: str) -> str:
    """Tells that a queue's metadata was replaced; ``metadata_json`` is the caller's own text."""
    metadata = compact_json(metadata_json)
    return f'{{"action":"metadata_changed","metadata":{metadata},"queue":{encode_json(queue)}}}'
