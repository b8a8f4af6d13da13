"""Methods that open, end and break transactions."""

from __future__ import annotations

from riverengine.conformance.job_params import HANDLE
from riverengine.conformance.method import NOTHING, Method
from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import Members
from riverengine.queries import conformance as queries
from riverengine.types.job import Json

_BY_HANDLE = Members({"handle": HANDLE}, ("handle",))


async def _begin(session: Session, call: Call) -> Json:
    await session.begin(call["handle"])
    return NOTHING


async def _commit(session: Session, call: Call) -> Json:
    await session.end(call["handle"], commit=True)
    return NOTHING


async def _rollback(session: Session, call: Call) -> Json:
    await session.end(call["handle"], commit=False)
    return NOTHING


async def _fail(session: Session, call: Call) -> Json:
    await queries.fail(session.transaction(call["handle"]))
    return NOTHING


METHODS = (
    Method("tx_begin", _BY_HANDLE, _begin),
    Method("tx_commit", _BY_HANDLE, _commit),
    Method("tx_fail", _BY_HANDLE, _fail),
    Method("tx_rollback", _BY_HANDLE, _rollback),
)
"""The methods of this group."""
