"""Killed processes, cut connections, held locks, failing statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.adapter import Adapter
from tests.conformance.conftest import Pair
from tests.conformance.fleet import Fleet
from tests.conformance.observer import Observer
from tests.conformance.proxy import FaultProxy
from tests.conformance.waiting import (
    in_state,
    instant,
    leader_other_than,
    listed,
    listening,
    saw,
    term,
    until,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

RESCUE_AFTER_MS = 4_000
RESCUED = "Stuck job rescued by JobRescuer"
FAST = {"elect_interval_ms": 20, "rescuer_interval_ms": 20, "scheduler_interval_ms": 20}
RARELY = {"fetch_poll_interval_ms": 60_000}
PERIODIC: dict[str, Any] = {"metadata": {"river:periodic_job_id": "conformance-periodic"}}


# Killed processes


async def _rescue_of_the_killed(
    fleet: Fleet,
    crashing_name: str,
    recovery: Adapter,
    observer: Adapter,
    *,
    leading: bool = False,
) -> None:
    """Kill a worker in the middle of a job; another process has to rescue and complete it."""
    await observer.call("reset")
    queue = f"killed_{crashing_name}"
    crashing_id = f"{crashing_name}-killed"
    crashing = await fleet.disposable(crashing_name.split("-")[0], crashing_id)
    await crashing.start(crashing_id, max_workers=1, queue=queue, elect_interval_ms=20)
    if leading:
        assert await leader_other_than(observer) == crashing_id
    job = await observer.insert("rescue me", behavior="sleep", duration_ms=1_000, queue=queue)
    job = await in_state(observer, job["id"], "running")
    assert job["attempted_by"] == [crashing_id]
    await crashing.kill()
    # The dead cannot resign; this stands for its lease running out.
    await observer.call("fault_expire_leader")
    stuck_at = instant(job["attempted_at"]) + timedelta(milliseconds=RESCUE_AFTER_MS + 100)
    await asyncio.sleep(max(0.0, (stuck_at - datetime.now(UTC)).total_seconds()))

    recovery_id = f"{recovery.name}-rescuer"
    await recovery.start(
        recovery_id,
        job_timeout_ms=RESCUE_AFTER_MS,
        rescue_after_ms=RESCUE_AFTER_MS,
        max_workers=1,
        queue=queue,
        **FAST,
    )
    assert await leader_other_than(observer, crashing_id) == recovery_id
    job = await in_state(observer, job["id"], "cancelled", "completed", "discarded")
    assert (job["state"], job["attempt"]) == ("completed", 2), job
    assert job["attempted_by"] == [crashing_id, recovery_id]
    assert [error["error"] for error in job["errors"]] == [RESCUED]
    assert job["metadata"]["river:rescue_count"] == 1
    await recovery.stop()


async def test_candidate_process_kill_reference_rescue(fleet: Fleet, go: Adapter) -> None:
    await _rescue_of_the_killed(fleet, "python", go, go)


async def test_reference_process_kill_candidate_rescue(fleet: Fleet, python: Adapter) -> None:
    await _rescue_of_the_killed(fleet, "go", python, python)


async def test_process_kill_restart_and_rescue(fleet: Fleet, go: Adapter) -> None:
    await _rescue_of_the_killed(
        fleet, "python", await fleet.disposable("python", "python-restarted"), go
    )


async def test_multi_engine_process_kill_rescue_failover(
    fleet: Fleet, candidates: Pair, go: Adapter
) -> None:
    crashing, recovery = candidates
    await _rescue_of_the_killed(fleet, crashing.name, recovery, go, leading=True)


async def test_mixed_leader_death_failover_both_directions(fleet: Fleet, pair: Pair) -> None:
    follower = pair.second
    leader_id, follower_id = f"{pair.first.name}-dies", f"{follower.name}-survives"
    periodic = {"instrumented": True, "max_workers": 1, "periodic_run_on_start": True}
    await follower.call("reset")
    leader = await fleet.disposable(pair.first.implementation, leader_id)
    await leader.start(leader_id, **periodic)
    assert await leader_other_than(follower) == leader_id
    await saw(leader, lambda seen: seen["periodic_starts"] == 1)
    await listed(follower, 1, **PERIODIC)

    await follower.start(follower_id, **periodic)
    # A job's way gives a follower time to show that it wrongly runs a leader's services.
    marker = await follower.insert("follower runs")
    await follower.wait(marker["id"])
    assert (await follower.stats())["periodic_starts"] == 0
    seen = await term(follower)
    assert seen is not None
    assert seen.leader_id == leader_id
    await listed(follower, 1, **PERIODIC)

    await leader.kill()
    await follower.call("fault_expire_leader")
    assert await leader_other_than(follower, leader_id) == follower_id
    await saw(follower, lambda seen: seen["periodic_starts"] == 1)
    for job in await listed(follower, 2, **PERIODIC):
        assert job["metadata"]["periodic"] is True
    marker = await follower.insert("after the takeover")
    await follower.wait(marker["id"])
    await listed(follower, 2, **PERIODIC)
    seen = await term(follower)
    assert seen is not None
    assert seen.leader_id == follower_id
    await follower.stop()


async def test_ignored_cancellation_hard_abort(fleet: Fleet, go: Adapter) -> None:
    await go.call("reset")
    stuck = await fleet.disposable("python", "python-stuck")
    await stuck.start("python-stuck", max_workers=1, queue="ignored")
    job = await go.insert("ignores it", behavior="ignored_cancel", queue="ignored")
    await go.wait(job["id"], "running")
    await stuck.call("stop", cancel=True)
    job = await go.get(job["id"])
    assert (job["state"], job["attempt"]) == ("available", 0)


# Faults of the database


@asynccontextmanager
async def _behind_proxy(
    fleet: Fleet, implementation: str
) -> AsyncIterator[tuple[Adapter, FaultProxy]]:
    """A worker that reaches the database through a proxy of its own."""
    async with FaultProxy(fleet.database_url) as proxy:
        name = f"{implementation}-proxied"
        worker = await fleet.disposable(implementation, name, proxy.url)
        yield worker, proxy
        await worker.close()


async def test_database_unavailable_reconnect(fleet: Fleet, engine: Adapter, go: Adapter) -> None:
    async with _behind_proxy(fleet, engine.implementation) as (worker, proxy):
        await go.call("reset")
        await worker.start(worker.name)
        await worker.call("barrier_create", name="outage")
        in_flight = await go.insert("outage", behavior="barrier_wait")
        await go.wait(in_flight["id"], "running")

        proxy.take_down()
        await worker.call("barrier_release", name="outage")
        # A fetch that the server already has would still claim the next job, and nobody would know.
        await until(
            lambda: fleet.observer.connections(worker.application_name),
            lambda count: count == 0,
            what="the end of the worker's sessions",
        )
        meanwhile = await go.insert("inserted during the outage")
        await proxy.rejections(proxy.rejected + 3)
        proxy.restore()
        for job in (in_flight, meanwhile):
            done = await in_state(go, job["id"], "completed")
            assert (done["attempt"], done["errors"]) == (1, []), "rescued or retried"
        await worker.stop()


async def test_completion_transient_failure_retry(
    engine: Adapter, go: Adapter, observer: Observer
) -> None:
    await go.call("reset")
    # A sequence counts on when its statement is rolled back: the first completion fails, once.
    await observer.execute(
        """
        CREATE SEQUENCE completion_fault;
        CREATE FUNCTION fail_first_completion() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF OLD.state = 'running' AND NEW.state = 'completed'
                AND nextval('completion_fault') = 1 THEN
                RAISE EXCEPTION 'injected failure' USING ERRCODE = '40001';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fail_first_completion BEFORE UPDATE ON river_job
            FOR EACH ROW EXECUTE FUNCTION fail_first_completion();
        """
    )
    try:
        await engine.start(f"{engine.name}-completes")
        job = await go.insert("completed at the second try")
        done = await in_state(go, job["id"], "completed")
        assert (done["attempt"], done["errors"]) == (1, [])
        assert await observer.value("SELECT last_value FROM completion_fault") >= 2
        await engine.stop()
    finally:
        await observer.execute(
            "DROP TRIGGER fail_first_completion ON river_job;"
            "DROP FUNCTION fail_first_completion();"
            "DROP SEQUENCE completion_fault"
        )


async def test_completion_row_lock_wait(engine: Adapter, go: Adapter, observer: Observer) -> None:
    await go.call("reset")
    await engine.start(f"{engine.name}-waits")
    await engine.call("barrier_create", name="lock")
    job = await go.insert("lock", behavior="barrier_wait")
    await go.wait(job["id"], "running")
    async with observer.held_rows("river_job", job["id"]):
        await engine.call("barrier_release", name="lock")
        await until(
            lambda: observer.lock_waiters(engine.application_name),
            lambda waiters: waiters > 0,
            what="the completion waiting for the row",
        )
    done = await in_state(go, job["id"], "completed")
    assert (done["attempt"], done["errors"]) == (1, [])
    await engine.stop()


# Lost connections and notifications


async def _round_trip(controller: Adapter, worker: Adapter, label: str) -> None:
    """An insert wakes the worker; repeated, since one just before LISTEN is lost."""

    async def completed() -> bool:
        await controller.insert(label, tags=[label])
        for _ in range(20):
            # Asked of the other side: the worker's pool may still hold a dead connection.
            if await controller.jobs("list", states=["completed"], tags_all=[label]):
                return True
            await asyncio.sleep(0.025)
        return False

    await until(completed, bool, what=f"{worker.name} woken {label}")


async def test_listener_backend_disconnect_reconnect(pair: Pair) -> None:
    worker, controller = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-reconnects", max_workers=1, **RARELY)
    await listening(worker)
    await _round_trip(controller, worker, "before")
    cut = await worker.call("fault_disconnect_listeners")
    assert cut["count"] >= 1
    await listening(worker)
    await _round_trip(controller, worker, "after_listener")
    cut = await controller.call(
        "fault_disconnect_application", application_name=worker.application_name
    )
    assert cut["count"] >= 1
    await listening(worker)
    await _round_trip(controller, worker, "after_all")
    await worker.stop()


async def test_lost_notification_poll_recovery(pair: Pair) -> None:
    inserter, worker = pair
    await worker.call("reset")
    client_id = f"{worker.name}-polls"
    await worker.start(client_id, fetch_poll_interval_ms=250, max_workers=1)
    job = await inserter.job("raw_insert_no_notify", message="nobody is told")
    job = await worker.wait(job["id"])
    assert (job["state"], job["attempted_by"]) == ("completed", [client_id])
    await worker.stop()


async def test_multi_engine_fault_recovery(engines: list[Adapter]) -> None:
    go = engines[0]
    await go.call("reset")
    for engine in engines:
        await engine.start(f"{engine.name}-recovers", max_workers=1)
    for target in engines:
        await listening(target)
        cut = await go.call(
            "fault_disconnect_application", application_name=target.application_name
        )
        assert cut["count"] > 0
        await listening(target)
    for inserter in engines:
        job = await inserter.insert(f"from {inserter.name}")
        done = await go.wait(job["id"])
        assert (done["state"], done["attempt"]) == ("completed", 1)
    for engine in engines:
        await engine.stop()
