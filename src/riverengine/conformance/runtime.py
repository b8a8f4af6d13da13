"""Methods that start, watch and stop a client, and tell what the server shows of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta

from riverengine.client import Client
from riverengine.conformance.echo import EchoWorker
from riverengine.conformance.errors import InvalidParamsError, RejectedError
from riverengine.conformance.job_params import HANDLE, JOB_ID, NAME, SCHEMA, STATE_LIST
from riverengine.conformance.method import NOTHING, Method
from riverengine.conformance.observations import Observations
from riverengine.conformance.rows import job_json, time_json
from riverengine.conformance.session import Call, Running, Session
from riverengine.conformance.shapes import Flag, Members
from riverengine.conformance.start_params import (
    START,
    config_of,
    elector_timings_of,
    maintenance_timings_of,
    periodic_jobs_of,
)
from riverengine.queries import conformance as queries
from riverengine.queries.leader import leader_get
from riverengine.run.events import Subscription
from riverengine.types.event import EventKind
from riverengine.types.job import FINAL_STATES, JobRow, JobState, Json
from riverengine.work.registry import Workers

_WAIT = timedelta(seconds=15)
_POLL_SECONDS = 0.005
_STOP_TIMEOUT = timedelta(seconds=60)
_OUTCOMES = (
    EventKind.JOB_CANCELLED,
    EventKind.JOB_COMPLETED,
    EventKind.JOB_FAILED,
    EventKind.JOB_INTERRUPTED,
    EventKind.JOB_SNOOZED,
)
_LOGGER = logging.getLogger("riverengine")


async def _start(session: Session, call: Call) -> Json:
    if session.running is not None:
        raise RejectedError("a client is started already")
    barrier = call.get("claim_barrier")
    if barrier is not None and not session.barriers.is_up(barrier):
        raise InvalidParamsError(f"params.claim_barrier names no barrier: {barrier!r}")
    running = _build(session, call.params)
    if barrier is not None:
        session.gate.arm(barrier)
    try:
        await running.client.start()
    except BaseException:
        session.gate.open()
        await _forget(running)
        raise
    session.run(running)
    return NOTHING


def _build(session: Session, params: Mapping[str, Json]) -> Running:
    observations = Observations()
    workers = Workers()
    workers.add(EchoWorker(session.barriers, observations))
    client = Client(
        session.pool,
        config_of(params, observations),
        workers=workers,
        periodic_jobs=periodic_jobs_of(params),
        connect=session.connections.connect,
        logger=_LOGGER,
        elector_timings=elector_timings_of(params),
        maintenance_timings=maintenance_timings_of(params),
    )
    events = asyncio.create_task(
        observations.collect(client.subscribe(buffer=100_000)),
        name="riverengine:conformance:events",
    )
    return Running(client, observations, events)


async def _forget(running: Running) -> None:
    running.events.cancel()
    await asyncio.wait({running.events})


async def _stop(session: Session, call: Call) -> Json:
    await session.stop(cancel=call.get("cancel", False), timeout=_STOP_TIMEOUT)
    return NOTHING


async def _wait(session: Session, call: Call) -> Json:
    wanted = frozenset(map(JobState, call["states"])) if "states" in call.params else FINAL_STATES
    return job_json(await _wait_for(session.client(), call["id"], wanted))


async def _work(session: Session, call: Call) -> Json:
    client = session.client(call.get("schema"))
    job = await client.job_get(call["id"])
    if job.state in FINAL_STATES:
        raise RejectedError(f"job {job.id} is {job.state} already")
    running = _build(
        session,
        {
            "client_id": call.get("client_id", "python-conformance-adapter"),
            "max_workers": 1,
            "queue": job.queue,
            "schema": call.get("schema", ""),
        },
    )
    try:
        async with running.client.subscribe(*_OUTCOMES) as outcomes:
            await running.client.start()
            try:
                await _first_outcome(outcomes, job.id)
            finally:
                await running.client.stop_and_cancel(timeout=_STOP_TIMEOUT)
    finally:
        await _forget(running)
    return job_json(await client.job_get(job.id))


async def _first_outcome(outcomes: Subscription, job_id: int) -> None:
    try:
        async with asyncio.timeout(_WAIT.total_seconds()):
            async for event in outcomes:
                if event.job is not None and event.job.id == job_id:
                    return
    except TimeoutError:
        raise RejectedError(f"job {job_id} was not worked") from None


async def _wait_for(client: Client, job_id: int, wanted: frozenset[JobState]) -> JobRow:
    deadline = asyncio.get_running_loop().time() + _WAIT.total_seconds()
    while True:
        job = await client.job_get(job_id)
        if job.state in wanted:
            return job
        if asyncio.get_running_loop().time() > deadline:
            names = ", ".join(sorted(wanted))
            raise RejectedError(f"job {job_id} is {job.state} and did not become {names}")
        await asyncio.sleep(_POLL_SECONDS)


async def _runtime_stats(session: Session, call: Call) -> Json:
    running = session.require_running()
    return running.observations.as_json(stuck_jobs=running.client.stuck_jobs)


async def _leader(session: Session, call: Call) -> Json:
    leader = await leader_get(session.pool, schema=None)
    if leader is None:
        return {"elected_at": None, "leader_id": None}
    return {"elected_at": time_json(leader.elected_at), "leader_id": leader.leader_id}


async def _request_resign(session: Session, call: Call) -> Json:
    await session.client().notify.request_resign(tx=session.transaction_of(call))
    return NOTHING


async def _listener_count(session: Session, call: Call) -> Json:
    return {"count": len(session.connections.listener_pids())}


async def _connection_count(session: Session, call: Call) -> Json:
    count = await queries.connection_count(session.pool, application_name=session.application_name)
    return {"count": count}


async def _barrier_create(session: Session, call: Call) -> Json:
    session.barriers.create(call["name"])
    return NOTHING


async def _barrier_release(session: Session, call: Call) -> Json:
    session.barriers.release(call["name"])
    return NOTHING


METHODS = (
    Method("barrier_create", Members({"name": NAME}, ("name",)), _barrier_create),
    Method("barrier_release", Members({"name": NAME}, ("name",)), _barrier_release),
    Method("connection_count", Members(), _connection_count, reads=True),
    Method("leader", Members(), _leader, reads=True),
    Method("listener_count", Members(), _listener_count),
    Method("request_resign", Members({"handle": HANDLE}), _request_resign),
    Method("runtime_stats", Members(), _runtime_stats),
    Method("start", START, _start),
    Method("stop", Members({"cancel": Flag()}), _stop),
    Method("wait", Members({"id": JOB_ID, "states": STATE_LIST}, ("id",)), _wait, reads=True),
    Method("work", Members({"client_id": NAME, "id": JOB_ID, "schema": SCHEMA}, ("id",)), _work),
)
"""The methods of this group."""
