"""Methods on queues: their rows, and those the running client works."""

from __future__ import annotations

from riverengine.config import QueueConfig
from riverengine.conformance.job_params import HANDLE, LIMIT, NAME
from riverengine.conformance.method import NOTHING, Method
from riverengine.conformance.rows import queue_json
from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import AnyObject, Integer, Members
from riverengine.types.job import Json

DEFAULT_MAX_WORKERS = 4
"""Jobs at a time where the harness names no number."""

_BY_NAME = Members({"name": NAME}, ("name",))
_LIST = Members({"limit": LIMIT})
_UPDATE = _BY_NAME.with_fields({"metadata": AnyObject()})
_TX = {"handle": HANDLE}


async def _get(session: Session, call: Call) -> Json:
    return queue_json(
        await session.client().queue_get(call["name"], tx=session.transaction_of(call))
    )


async def _list(session: Session, call: Call) -> Json:
    queues = await session.client().queue_list(
        limit=call.get("limit", 100), tx=session.transaction_of(call)
    )
    return {"queues": [queue_json(queue) for queue in queues]}


async def _pause(session: Session, call: Call) -> Json:
    await session.client().queue_pause(call["name"], tx=session.transaction_of(call))
    return NOTHING


async def _resume(session: Session, call: Call) -> Json:
    await session.client().queue_resume(call["name"], tx=session.transaction_of(call))
    return NOTHING


async def _update(session: Session, call: Call) -> Json:
    # As the harness wrote it: the order of its members is announced.
    metadata = call.text("metadata") if "metadata" in call.params else None
    queue = await session.client().queue_update(
        call["name"], metadata=metadata, tx=session.transaction_of(call)
    )
    return queue_json(queue)


async def _add(session: Session, call: Call) -> Json:
    client = session.require_running().client
    settings = QueueConfig(max_workers=call.get("max_workers", DEFAULT_MAX_WORKERS))
    if call["name"] in client.producers:
        await client.remove_queue(call["name"])
    await client.add_queue(call["name"], settings)
    return NOTHING


async def _remove(session: Session, call: Call) -> Json:
    await session.require_running().client.remove_queue(call["name"])
    return NOTHING


METHODS = (
    Method("queue_add", _BY_NAME.with_fields({"max_workers": Integer(minimum=1)}), _add),
    Method("queue_get", _BY_NAME, _get, reads=True),
    Method("queue_list", _LIST, _list, reads=True),
    Method("queue_pause", _BY_NAME, _pause),
    Method("queue_remove", _BY_NAME, _remove),
    Method("queue_resume", _BY_NAME, _resume),
    Method("queue_update", _UPDATE, _update),
    Method("tx_queue_get", _BY_NAME.with_fields(_TX, "handle"), _get),
    Method("tx_queue_list", _LIST.with_fields(_TX, "handle"), _list),
    Method("tx_queue_pause", _BY_NAME.with_fields(_TX, "handle"), _pause),
    Method("tx_queue_resume", _BY_NAME.with_fields(_TX, "handle"), _resume),
    Method("tx_queue_update", _UPDATE.with_fields(_TX, "handle"), _update),
)
"""The methods of this group."""
