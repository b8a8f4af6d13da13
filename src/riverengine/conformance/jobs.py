"""Methods that insert, read and change jobs."""

from __future__ import annotations

import math
import time

from riverengine.client import Client
from riverengine.client.jobs import Unset
from riverengine.conformance.echo import EchoArgs
from riverengine.conformance.job_params import (
    DELETE_FIELDS,
    HANDLE,
    JOB,
    JOB_ID,
    LIST_FIELDS,
    SCHEMA,
    insert_params,
    states,
)
from riverengine.conformance.method import Method
from riverengine.conformance.rows import insert_result_json, job_json
from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import Anything, Integer, Items, Members
from riverengine.queries.job_list import JobListOrderBy, JobListParams, SortOrder
from riverengine.queries.job_list_cursor import JobListCursor
from riverengine.queries.job_many import JobDeleteManyParams
from riverengine.types.job import Json

_BY_ID = Members({"id": JOB_ID}, ("id",))
_UPDATE = _BY_ID.with_fields({"output": Anything()})
_TX = {"handle": HANDLE}


async def _insert(session: Session, call: Call) -> Json:
    result = await session.client(call.get("schema")).insert_many([insert_params(call.params)])
    return job_json(result[0].job)


async def _tx_insert(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    result = await session.client().insert_many([insert_params(call["job"])], tx=tx)
    return job_json(result[0].job)


async def _insert_many(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    jobs = [insert_params(job) for job in call["jobs"]]
    results = await session.client().insert_many(jobs, tx=tx)
    return {"results": [insert_result_json(result) for result in results]}


async def _benchmark_enqueue(session: Session, call: Call) -> Json:
    client = Client(session.pool)
    times = []
    started = time.perf_counter_ns()
    for number in range(call["jobs"]):
        before = time.perf_counter_ns()
        await client.insert(EchoArgs(message=f"enqueue-{number}"))
        times.append(time.perf_counter_ns() - before)
    duration = time.perf_counter_ns() - started
    times.sort()
    return {"duration_ns": duration, "p95_ns": times[max(math.ceil(len(times) * 0.95) - 1, 0)]}


async def _get(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    return job_json(await session.client(call.get("schema")).job_get(call["id"], tx=tx))


async def _cancel(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    return job_json(await session.client().job_cancel(call["id"], tx=tx))


async def _retry(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    return job_json(await session.client().job_retry(call["id"], tx=tx))


async def _delete(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    return job_json(await session.client().job_delete(call["id"], tx=tx))


async def _update(session: Session, call: Call) -> Json:
    client, tx = session.client(), session.transaction_of(call)
    output = call["output"] if "output" in call.params else Unset.UNSET
    return job_json(await client.job_update(call["id"], output=output, tx=tx))


async def _list(session: Session, call: Call) -> Json:
    after = call.get("after")
    params = JobListParams(
        after=None if after is None else JobListCursor.decode(after),
        direction=SortOrder(call.get("direction", "asc")),
        limit=call.get("limit", 100),
        metadata=call.text("metadata") if "metadata" in call.params else None,
        order_by=JobListOrderBy(call.get("order_by", "id")),
        states=states(call.get("states")),
        **_filters(call, "ids", "kinds", "priorities", "queues", "tags_all", "tags_any"),
    )
    page = await session.client().job_list(params, tx=session.transaction_of(call))
    cursor = None if page.last_cursor is None else page.last_cursor.encode()
    return {"cursor": cursor, "jobs": [job_json(row) for row in page.jobs]}


async def _delete_many(session: Session, call: Call) -> Json:
    tx = session.transaction_of(call)
    params = JobDeleteManyParams(
        limit=call.get("limit", 100),
        states=states(call.get("states")),
        unsafe_all=call.get("all", False),
        **_filters(call, "ids", "kinds", "queues"),
    )
    deleted = await session.client().job_delete_many(params, tx=tx)
    return {"jobs": [job_json(row) for row in deleted.jobs]}


def _filters(call: Call, *names: str) -> dict[str, Json]:
    """Filters by name. As in Go, an empty one is none."""
    return {name: call[name] for name in names if call.get(name)}


METHODS = (
    Method(
        "benchmark_enqueue", Members({"jobs": Integer(minimum=1)}, ("jobs",)), _benchmark_enqueue
    ),
    Method("cancel", _BY_ID, _cancel),
    Method("delete", _BY_ID, _delete),
    Method("delete_many", Members(DELETE_FIELDS), _delete_many),
    Method("get", _BY_ID.with_fields({"schema": SCHEMA}), _get, reads=True),
    Method("insert", JOB.with_fields({"schema": SCHEMA}), _insert),
    Method("insert_many", Members({"jobs": Items(JOB)}, ("jobs",)), _insert_many),
    Method("list", Members(LIST_FIELDS), _list, reads=True),
    Method("retry", _BY_ID, _retry),
    Method("tx_cancel", _BY_ID.with_fields(_TX, "handle"), _cancel),
    Method("tx_delete", _BY_ID.with_fields(_TX, "handle"), _delete),
    Method("tx_delete_many", Members(DELETE_FIELDS).with_fields(_TX, "handle"), _delete_many),
    Method("tx_get", _BY_ID.with_fields(_TX, "handle"), _get),
    Method("tx_insert", Members({"job": JOB, **_TX}, ("handle", "job")), _tx_insert),
    Method(
        "tx_insert_many", Members({"jobs": Items(JOB), **_TX}, ("handle", "jobs")), _insert_many
    ),
    Method("tx_list", Members(LIST_FIELDS).with_fields(_TX, "handle"), _list),
    Method("tx_retry", _BY_ID.with_fields(_TX, "handle"), _retry),
    Method("tx_update", _UPDATE.with_fields(_TX, "handle"), _update),
    Method("update", _UPDATE, _update),
)
"""The methods of this group."""
