"""What a worker, its client and the leader's services do with jobs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.conformance.adapter import Adapter, JobJson
from tests.conformance.arranged import ARGS, Arranged, Lease
from tests.conformance.conftest import Pair
from tests.conformance.fleet import Fleet
from tests.conformance.goldens import RETRY_BOUNDS
from tests.conformance.observer import Observer
from tests.conformance.waiting import (
    MAINTENANCE_WITHIN,
    in_order,
    in_state,
    instant,
    leader_other_than,
    listed,
    listening,
    saw,
    until,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PERIODIC: dict[str, Any] = {"metadata": {"river:periodic_job_id": "conformance-periodic"}}
"""Filter of the jobs that the scenarios' periodic job inserted."""
CANCELLED_REMOTELY = "JobCancelError: job cancelled remotely"
SECOND = timedelta(seconds=1)


# Outcomes of one job


async def test_barrier_wait_and_release(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-barrier", max_workers=2)
    await engine.call("barrier_create", name="runtime")
    job = await engine.insert("runtime", behavior="barrier_wait")
    running = await engine.wait(job["id"], "running")
    assert (running["state"], running["attempt"]) == ("running", 1)
    await engine.call("barrier_release", name="runtime")
    worked = await engine.wait(job["id"])
    assert worked["state"] == "completed"
    assert worked["attempted_at"] == running["attempted_at"]
    await engine.stop()


async def test_single_implementation_worker_outcomes(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-outcomes", max_workers=2)

    async def worked(behavior: str, **opts: Any) -> JobJson:
        job = await engine.insert(behavior, behavior=behavior, **opts)
        return await engine.wait(job["id"])

    for behavior, state, opts in (
        ("cancel", "cancelled", {}),
        ("discard", "discarded", {"max_attempts": 1}),
        ("error", "discarded", {"max_attempts": 1}),
    ):
        job = await worked(behavior, **opts)
        assert (job["state"], job["attempt"]) == (state, 1), behavior
        assert job["finalized_at"] is not None
        assert [error["attempt"] for error in job["errors"]] == [1]
        if behavior == "error":
            assert job["errors"][0]["error"] == "conformance retryable error"
    job = await worked("output")
    assert (job["state"], job["errors"]) == ("completed", [])
    assert job["metadata"]["output"] == {"message": "output"}
    await engine.stop()


async def test_panic_attempt_trace(pair: Pair) -> None:
    worker, observer = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-panic", max_workers=1)
    job = await worker.insert("panic", behavior="panic", max_attempts=1)
    worked = await worker.wait(job["id"])
    assert (worked["state"], worked["attempt"]) == ("discarded", 1)
    [error] = worked["errors"]
    assert error["attempt"] == 1
    assert "conformance worker panic" in error["error"]
    assert error["trace"] != ""
    assert await observer.get(job["id"]) == worked
    await worker.stop()


async def test_snooze_once_metadata_transition(pair: Pair) -> None:
    worker, observer = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-snooze", max_workers=1)
    short = await worker.insert("short", behavior="snooze_once", duration_ms=5)
    short = await worker.wait(short["id"])
    assert (short["state"], short["attempt"], short["errors"]) == ("completed", 1, [])
    assert short["metadata"]["snoozes"] == 1

    # Longer than the scheduler's interval, so it waits in the state scheduled.
    long = await worker.insert("long", behavior="snooze_once", duration_ms=10_000)
    long = await worker.wait(long["id"], "scheduled")
    assert (long["attempt"], long["errors"], long["finalized_at"]) == (0, [], None)
    assert long["metadata"]["snoozes"] == 1
    delay = instant(long["scheduled_at"]) - instant(long["attempted_at"])
    assert 9.9 * SECOND <= delay < 14 * SECOND
    assert await observer.get(long["id"]) == long
    await worker.stop()


async def test_timeout_cancellation(pair: Pair) -> None:
    worker, observer = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-timeout", job_timeout_ms=20, max_workers=1)
    job = await worker.insert("timeout", behavior="cooperative_cancel", max_attempts=1)
    job = await worker.wait(job["id"])
    assert (job["state"], job["attempt"]) == ("discarded", 1)
    [error] = job["errors"]
    assert error["error"] != ""
    took = instant(job["finalized_at"]) - instant(job["attempted_at"])
    assert took >= timedelta(milliseconds=20)
    assert await observer.get(job["id"]) == job
    await worker.stop()


async def test_default_retry_policy_schedule(pair: Pair) -> None:
    worker, observer = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-retries", max_workers=1)
    job = await observer.insert("default retry policy", behavior="error", max_attempts=5)
    # The first delay is shorter than the scheduler's interval, so the job stays available.
    job = await in_state(observer, job["id"], "retryable")
    assert (job["attempt"], len(job["errors"])) == (2, 2)
    slack = SECOND / 4
    shortest, longest = (timedelta(microseconds=bound / 1000) for bound in RETRY_BOUNDS[1])
    waited = instant(job["attempted_at"]) - instant(job["errors"][0]["at"])
    assert shortest - slack <= waited < longest + 5 * SECOND
    shortest, longest = (timedelta(microseconds=bound / 1000) for bound in RETRY_BOUNDS[2])
    planned = instant(job["scheduled_at"]) - instant(job["errors"][1]["at"])
    assert shortest - slack <= planned <= longest + slack
    await worker.stop()


async def test_stuck_job_detection(fleet: Fleet, engine: Adapter) -> None:
    stuck = await fleet.disposable(engine.implementation, f"{engine.name}-stuck")
    await stuck.call("reset")
    await stuck.start(
        f"{engine.name}-stuck", job_stuck_threshold_ms=100, job_timeout_ms=50, max_workers=1
    )
    job = await stuck.insert("stuck", behavior="ignored_cancel")
    job = await in_state(stuck, job["id"], "running")
    assert job["attempted_at"] is not None
    stats = await saw(stuck, lambda seen: seen["stuck_jobs"] > 0)
    assert stats["stuck_jobs"] == 1
    await stuck.kill()


# Cancellation


async def test_cooperative_remote_cancellation(pair: Pair) -> None:
    controller, worker = pair
    await worker.call("reset")
    await worker.start(
        f"{worker.name}-cancelled",
        fetch_poll_interval_ms=60_000,
        instrumented=True,
        max_workers=1,
    )
    job = await controller.insert("cooperative", behavior="cooperative_cancel")
    await worker.wait(job["id"], "running")
    await controller.call("cancel", id=job["id"])
    job = await worker.wait(job["id"])
    assert (job["state"], job["attempt"]) == ("cancelled", 1)
    assert job["finalized_at"] is not None
    assert [error["error"] for error in job["errors"]] == [CANCELLED_REMOTELY]
    stats = await saw(worker, lambda seen: "job_cancelled" in seen["events"])
    assert "job_failed" not in stats["events"]
    await worker.stop()


async def test_claim_time_cancellation(pair: Pair) -> None:
    canceller, claimer = pair
    await claimer.call("reset")
    await claimer.call("barrier_create", name="claim")
    client_id = f"{claimer.name}-claims"
    await claimer.start(client_id, claim_barrier="claim", max_workers=1)
    await listening(claimer)
    job = await canceller.insert("claimed", behavior="cooperative_cancel")
    job = await canceller.wait(job["id"], "running")
    assert job["attempted_by"] == [client_id]
    requested = await canceller.job("cancel", id=job["id"])
    assert requested["state"] == "running"
    # The claimer hears of it while it still holds its claim; nothing tells when it has.
    await asyncio.sleep(3)
    await claimer.call("barrier_release", name="claim")
    job = await canceller.wait(job["id"])
    assert (job["state"], job["attempt"]) == ("cancelled", 1)
    assert [error["error"] for error in job["errors"]] == [CANCELLED_REMOTELY]
    assert (await claimer.stats())["cancelled_at_start"] == 1
    await claimer.stop()


async def test_refetched_attempt_cancellation(pair: Pair) -> None:
    worker, canceller = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-refetches", max_workers=1)
    job = await canceller.insert("again", behavior="snooze_then_cancel", duration_ms=1)
    await until(
        lambda: worker.get(job["id"]),
        lambda seen: seen["state"] == "running" and "snoozes" in seen["metadata"],
        what="the second run of the snoozed job",
    )
    await canceller.call("cancel", id=job["id"])
    assert (await worker.wait(job["id"]))["state"] == "cancelled"
    await worker.stop()


# Stop


async def _stopped_hard(fleet: Fleet, worker: Adapter, go: Adapter) -> dict[str, JobJson]:
    """Jobs by what they did when the client was stopped and cancelled, as stored then."""
    await go.call("reset")
    await worker.start(f"{worker.name}-stops", max_workers=4)
    jobs: dict[str, JobJson] = {}
    for name in ("cooperative_cancel", "cancel_attempted", "cancel_error", "cancel_panic"):
        behavior = "cooperative_cancel" if name == "cancel_attempted" else name
        jobs[name] = await go.insert(name, behavior=behavior)
        await go.wait(jobs[name]["id"], "running")
    # A cancellation whose notification never reached the worker.
    await fleet.observer.execute(
        'UPDATE river_job SET metadata = metadata || \'{"cancel_attempted_at":'
        ' "2026-01-02T03:04:05Z"}\' WHERE id = $1',
        jobs["cancel_attempted"]["id"],
    )
    await worker.call("stop", cancel=True)
    return {name: await go.get(job["id"]) for name, job in jobs.items()}


async def test_hard_shutdown_soft_stop_classification(
    fleet: Fleet, engine: Adapter, go: Adapter
) -> None:
    reader = go if engine is not go else await fleet.role("python")
    jobs = await _stopped_hard(fleet, engine, reader)
    interrupted = jobs["cooperative_cancel"]
    assert (interrupted["state"], interrupted["attempt"]) == ("available", 0)
    assert interrupted["attempted_at"] is not None
    assert interrupted["errors"] == []
    for name in ("cancel_error", "cancel_panic"):
        assert jobs[name]["state"] in {"available", "retryable"}, name
        assert (jobs[name]["attempt"], len(jobs[name]["errors"])) == (1, 1), name


async def test_shutdown_after_cancel_attempt(fleet: Fleet, engine: Adapter, go: Adapter) -> None:
    reader = go if engine is not go else await fleet.role("python")
    job = (await _stopped_hard(fleet, engine, reader))["cancel_attempted"]
    assert job["state"] == "cancelled"
    assert job["finalized_at"] is not None


# Extensions, queues, resumable jobs


async def test_error_handler_cancel_override(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(
        f"{engine.name}-handler", error_handler_cancel=True, instrumented=True, max_workers=1
    )
    job = await engine.insert("handled", behavior="error", max_attempts=3)
    job = await engine.wait(job["id"])
    assert (job["state"], job["attempt"]) == ("cancelled", 1)
    assert [error["error"] for error in job["errors"]] == ["conformance retryable error"]
    stats = await saw(
        engine,
        lambda seen: seen["error_handler_calls"] > 0 and "job_cancelled" in seen["events"],
    )
    assert stats["error_handler_calls"] == 1
    await engine.stop()


async def test_extension_hook_middleware_order(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-extended", instrumented=True, max_workers=1)
    job = await engine.insert("extended")
    assert (await engine.wait(job["id"]))["state"] == "completed"
    trace = (await saw(engine, lambda seen: "job_completed" in seen["events"]))["trace"]
    inserted = ("middleware:insert_before", "hook:insert_begin", "middleware:insert_after")
    assert in_order(trace, *inserted), trace
    worked = ("middleware:work_before", "hook:work_begin", "hook:work_end")
    assert in_order(trace, *worked, "middleware:work_after"), trace
    assert in_order(trace, "middleware:insert_after", "hook:work_begin"), trace
    await engine.stop()


async def test_dynamic_queue_add_reconfigure_remove(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-dynamic", max_workers=1)
    await engine.call("queue_add", name="dynamic", max_workers=1)
    await engine.call("queue_add", name="dynamic", max_workers=2)
    await engine.call("barrier_create", name="two at once")
    blocked = [
        await engine.insert("two at once", behavior="barrier_wait", queue="dynamic")
        for _ in range(2)
    ]
    for job in blocked:
        await engine.wait(job["id"], "running")
    await engine.call("barrier_release", name="two at once")
    for job in blocked:
        worked = await engine.wait(job["id"])
        assert (worked["state"], worked["queue"]) == ("completed", "dynamic")

    await engine.call("queue_remove", name="dynamic")
    orphan = await engine.insert("nobody works it", queue="dynamic")
    marker = await engine.insert("marker")
    assert (await engine.wait(marker["id"]))["state"] == "completed"
    assert (await engine.get(orphan["id"]))["state"] == "available"
    await engine.stop()


async def test_resumable_retry(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-resumes", instrumented=True, max_workers=1, retry_delay_ms=5)
    job = await engine.insert("resumable", behavior="resumable", max_attempts=2)
    job = await engine.wait(job["id"])
    assert (job["state"], job["attempt"], len(job["errors"])) == ("completed", 2, 1)
    assert job["metadata"]["river:resumable_step"] == "first"
    stats = await saw(engine, lambda seen: {"job_completed", "job_failed"} <= set(seen["events"]))
    assert (stats["resumable_first_runs"], stats["resumable_second_runs"]) == (1, 2)
    await engine.stop()


async def test_resumable_validation(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-validates", max_workers=1)
    step, cursor = "river:resumable_step", "river:resumable_cursor"
    for behavior, metadata, step_after in (
        ("resumable_duplicate", {}, "first"),
        ("resumable_duplicate", {step: "later"}, "later"),
        ("resumable", {step: ""}, "first"),
        ("output", {cursor: []}, None),
    ):
        job = await engine.insert(
            "validation", behavior=behavior, max_attempts=1, metadata=metadata
        )
        job = await engine.wait(job["id"])
        assert (job["state"], len(job["errors"])) == ("discarded", 1), (behavior, metadata)
        assert job["metadata"].get(step) == step_after
        assert "output" not in job["metadata"]
        if behavior == "resumable_duplicate":
            assert "duplicate resumable step" in job["errors"][0]["error"]
    await engine.stop()


# Periodic jobs


async def test_periodic_run_on_start(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(
        f"{engine.name}-periodic", instrumented=True, max_workers=1, periodic_run_on_start=True
    )
    [job] = await listed(engine, 1, **PERIODIC)
    job = await engine.wait(job["id"])
    assert job["state"] == "completed"
    assert job["metadata"]["periodic"] is True
    await saw(engine, lambda seen: seen["periodic_starts"] == 1)
    assert len(await engine.jobs("list", **PERIODIC)) == 1
    await engine.stop()


async def test_periodic_unique_cross_engine(pair: Pair) -> None:
    await pair.first.call("reset")

    async def lead(leader: Adapter) -> None:
        client_id = f"{leader.name}-unique"
        await leader.start(
            client_id,
            instrumented=True,
            max_workers=1,
            periodic_run_on_start=True,
            periodic_unique=True,
        )
        assert await leader_other_than(leader) == client_id
        await saw(leader, lambda seen: seen["periodic_starts"] == 1)

    await lead(pair.first)
    [job] = await listed(pair.first, 1, **PERIODIC)
    assert (await pair.first.wait(job["id"]))["state"] == "completed"
    await pair.first.stop()
    await lead(pair.second)
    # Each leader inserts a marker behind its unique job: two markers prove two tries.
    marker = {"river:periodic_job_id": "conformance-periodic-marker"}
    await listed(pair.second, 2, metadata=marker)
    [same] = await pair.second.jobs("list", **PERIODIC)
    assert same["id"] == job["id"]
    await pair.second.stop()


async def test_periodic_due_job_available(engine: Adapter, observer: Observer, go: Adapter) -> None:
    arranged = await Arranged.migrated(observer, go, f"periodic_due_{engine.name}")
    # The scheduler might make a scheduled job available before anyone could look.
    states, note = arranged.table("inserted_state"), arranged.table("note_inserted_state")
    await observer.execute(
        f"CREATE TABLE {states} (id bigint PRIMARY KEY, state text NOT NULL);"
        f"CREATE FUNCTION {note}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" INSERT INTO {states} VALUES (NEW.id, NEW.state::text); RETURN NEW; END $$;"
        f"CREATE TRIGGER note_inserted_state AFTER INSERT ON {arranged.jobs}"
        f" FOR EACH ROW EXECUTE FUNCTION {note}()"
    )
    of_periodic = "metadata ->> 'river:periodic_job_id' = 'conformance-periodic'"
    await arranged.start(engine, f"{engine.name}-due", periodic_run_on_start=True)
    await until(
        lambda: arranged.count(of_periodic),
        lambda number: number == 1,
        within=MAINTENANCE_WITHIN,
        what="the periodic job",
    )
    await engine.stop()
    state = await observer.value(
        f"SELECT state FROM {states} WHERE id = (SELECT id FROM {arranged.jobs}"
        f" WHERE {of_periodic})"
    )
    assert state == "available"


# Maintenance


async def test_maintenance_job_cleaner_retention(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"job_cleaner_{engine.name}")
    hours = timedelta(hours=2)
    expired = {
        state: await arranged.job(state, finalized_ago=hours)
        for state in ("cancelled", "completed", "discarded")
    }
    kept = {
        expired.pop("completed"),
        await arranged.job("cancelled", finalized_ago=timedelta(minutes=1)),
        await arranged.job("running", attempted_ago=SECOND),
    }
    await arranged.start(
        engine,
        f"{engine.name}-cleans",
        queue="idle",
        cancelled_job_retention_ms=3_600_000,
        completed_job_retention_ms=-1,
        discarded_job_retention_ms=3_600_000,
    )
    await until(
        lambda: arranged.count("id = ANY($1)", list(expired.values())),
        lambda left: left == 0,
        within=MAINTENANCE_WITHIN,
        what="deletion of the expired jobs",
    )
    await engine.stop()
    assert await arranged.count("id = ANY($1)", list(kept)) == len(kept)


async def test_maintenance_queue_cleaner_keeps_active_queues(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"queue_cleaner_{engine.name}")
    await observer.execute(
        f"INSERT INTO {arranged.queues} (name, created_at, metadata, updated_at) VALUES"
        " ('stale', now(), '{}', now() - interval '25 hours'),"
        " ('recent', now(), '{}', now() - interval '1 hour')"
    )

    async def names() -> set[str]:
        rows = await observer.pool.fetch(f"SELECT name FROM {arranged.queues}")
        return {row["name"] for row in rows}

    await arranged.start(engine, f"{engine.name}-cleans", queue="active")
    await until(
        names,
        lambda left: "stale" not in left and "active" in left,
        within=MAINTENANCE_WITHIN,
        what="deletion of the stale queue",
    )
    await engine.stop()
    assert await names() == {"recent", "active"}


async def test_maintenance_reindexer_skips_artifacts(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"reindexer_{engine.name}")
    for index in ("with_artifact", "with_artifact_ccnew1", "rebuilt"):
        await observer.execute(f"CREATE INDEX {index} ON {arranged.jobs} (kind)")
    untouched = await arranged.file_of_index("with_artifact")
    before = await arranged.file_of_index("rebuilt")
    # They are taken in this order, so the last one proves that the others were passed over.
    await arranged.start(
        engine,
        f"{engine.name}-reindexes",
        queue="idle",
        reindexer_index_names=["missing", "with_artifact", "rebuilt"],
        reindexer_interval_ms=200,
    )
    await until(
        lambda: arranged.file_of_index("rebuilt"),
        lambda file: file != before,
        within=MAINTENANCE_WITHIN,
        what="the rebuilt index",
    )
    await engine.stop()
    assert await arranged.file_of_index("with_artifact") == untouched
    assert await arranged.file_of_index("with_artifact_ccnew1") is not None


async def test_maintenance_rescuer_full_batch_of_unexpired_jobs(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"rescue_batch_{engine.name}")
    await observer.execute(
        f"INSERT INTO {arranged.jobs}"
        " (args, attempt, attempted_at, attempted_by, kind, max_attempts, state)"
        " SELECT $1::text::jsonb, 1, now() - interval '2 hours', ARRAY['dead-client'],"
        " 'conformance_echo', 25, 'running' FROM generate_series(1, 10000)",
        ARGS,
    )
    eligible = await arranged.job(
        "running", kind="unregistered_kind", attempted_ago=timedelta(hours=2)
    )
    await arranged.start(
        engine,
        f"{engine.name}-rescues",
        queue="idle",
        job_timeout_disabled=True,
        rescue_after_ms=60_000,
    )
    await until(
        lambda: arranged.count("id = $1 AND state = 'discarded'", eligible),
        lambda number: number == 1,
        within=MAINTENANCE_WITHIN,
        what="the rescue behind a full batch",
    )
    await engine.stop()
    untouched = "kind = 'conformance_echo' AND state = 'running' AND errors IS NULL"
    assert await arranged.count(untouched) == 10_000


async def test_maintenance_rescuer_stale_selection(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"rescue_stale_{engine.name}")
    completed, reclaimed, eligible = [
        await arranged.job("running", kind="unregistered_kind", attempted_ago=timedelta(hours=2))
        for _ in range(3)
    ]

    async def rescued() -> bool:
        return await arranged.count("id = $1 AND state = 'discarded'", eligible) == 1

    async def reached() -> bool:
        waiting = await observer.lock_waiters(engine.application_name) > 0
        return waiting or await rescued()

    async with observer.held_rows(arranged.jobs, completed, reclaimed) as holder:
        await arranged.start(engine, f"{engine.name}-rescues", queue="idle", rescue_after_ms=60_000)
        await until(reached, bool, within=MAINTENANCE_WITHIN, what="the rescuer at the held rows")
        await holder.execute(
            f"UPDATE {arranged.jobs} SET state = 'completed', finalized_at = now() WHERE id = $1",
            completed,
        )
        await holder.execute(
            f"UPDATE {arranged.jobs} SET attempt = attempt + 1, attempted_at = now() WHERE id = $1",
            reclaimed,
        )
    await until(rescued, bool, within=MAINTENANCE_WITHIN, what="the rescue of the other job")
    await engine.stop()
    untouched = "id = $1 AND errors IS NULL AND NOT metadata ? 'river:rescue_count'"
    assert await arranged.count(f"{untouched} AND state = 'completed'", completed) == 1
    assert (
        await arranged.count(f"{untouched} AND state = 'running' AND attempt = 2", reclaimed) == 1
    )


# Leadership


async def test_leadership_same_client_id_term_replacement(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"term_replaced_{engine.name}")
    client_id = f"{engine.name}-shared"
    of_periodic = "metadata ->> 'river:periodic_job_id' = 'conformance-periodic'"

    async def state() -> tuple[Lease | None, int]:
        return await arranged.lease(), await arranged.count(of_periodic)

    await arranged.start(engine, client_id, queue="idle", periodic_run_on_start=True)
    first, _ = await until(
        state,
        lambda seen: seen[0] is not None and seen[0].leader_id == client_id and seen[1] == 1,
        within=MAINTENANCE_WITHIN,
        what="the first term",
    )
    assert first is not None
    # As if another process of the same id had taken over.
    replaced = await observer.value(
        f"UPDATE {arranged.leader} SET elected_at = elected_at + interval '1 second',"
        " expires_at = now() + interval '3 seconds' RETURNING elected_at"
    )
    later, _ = await until(
        state,
        lambda seen: (
            seen[0] is not None
            and seen[0].elected_at not in {first.elected_at, replaced}
            and seen[1] == 2
        ),
        within=MAINTENANCE_WITHIN,
        what="a term of its own after the other's",
    )
    assert later is not None
    assert later.leader_id == client_id
    await engine.stop()
    assert await arranged.count(of_periodic) == 2


async def test_leadership_renewal_under_slow_maintenance(
    engine: Adapter, observer: Observer, go: Adapter
) -> None:
    arranged = await Arranged.migrated(observer, go, f"slow_renewal_{engine.name}")
    expired = await arranged.job("completed", finalized_ago=timedelta(hours=48))
    async with observer.held_rows(arranged.jobs, expired):
        await arranged.start(engine, f"{engine.name}-renews", queue="idle")
        await until(
            lambda: observer.lock_waiters(engine.application_name),
            lambda waiters: waiters > 0,
            within=MAINTENANCE_WITHIN,
            what="the cleaner waiting for the row",
        )
        initial = await arranged.lease()
        assert initial is not None
        expires_at = initial.expires_at
        for renewal in range(2):
            lease = await until(
                arranged.lease,
                lambda seen, before=expires_at: seen is None or seen.expires_at > before,  # type: ignore[misc]
                within=MAINTENANCE_WITHIN,
                what="a renewal",
            )
            assert lease is not None
            assert lease.elected_at == initial.elected_at
            expires_at = lease.expires_at
            if renewal == 0:
                assert await observer.lock_waiters(engine.application_name) > 0
    await engine.stop()
