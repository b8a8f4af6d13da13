"""Go and Python at work on the same tables at the same time."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.adapter import Adapter, InsertJson, JobJson
from tests.conformance.conftest import Pair
from tests.conformance.fleet import Fleet
from tests.conformance.observer import Observer
from tests.conformance.waiting import (
    in_state,
    instant,
    leader_other_than,
    listed,
    listening,
    next_term,
    saw,
    term,
    until,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PERIODIC_ID = "river:periodic_job_id"
CANCELLED_REMOTELY = "JobCancelError: job cancelled remotely"
PROMPTLY = 10.0
"""Seconds for what a notification brings about; the workers poll once a minute."""
RARELY = {"fetch_poll_interval_ms": 60_000}
RESERVED = {
    "cancel_attempted_at",
    "output",
    "periodic",
    "river:log",
    "river:periodic_job_id",
    "river:rescue_count",
    "river:resumable_cursor",
    "river:resumable_step",
    "river:unique_nonce",
    "snoozes",
    "unique_key_conflict",
}
"""Metadata keys that River itself writes."""


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin


# One inserts, another works


async def _insert_then_work(inserter: Adapter, worker: Adapter) -> None:
    await inserter.call("reset")
    job = await inserter.insert(f"{inserter.name} to {worker.name}")
    assert (job["state"], job["kind"], job["attempt"]) == ("available", "conformance_echo", 0)
    assert (job["attempted_by"], job["max_attempts"]) == ([], 25)
    assert await worker.get(job["id"]) == job
    client_id = f"{worker.name}-works"
    worked = await worker.job("work", id=job["id"], client_id=client_id)
    assert (worked["state"], worked["attempt"]) == ("completed", 1)
    assert worked["attempted_by"] == [client_id]
    assert worked["attempted_at"] is not None
    assert worked["finalized_at"] is not None
    assert await inserter.get(job["id"]) == worked


async def test_candidate_insert_reference_work(python: Adapter, go: Adapter) -> None:
    await _insert_then_work(python, go)


async def test_reference_insert_candidate_work(go: Adapter, python: Adapter) -> None:
    await _insert_then_work(go, python)


async def _work_in_custom_schema(migrator: Adapter, worker: Adapter) -> None:
    schema = f"migrated_by_{migrator.name}"
    await migrator.call("migrate", schema=schema)
    await migrator.call("reset", schema=schema)
    job = await worker.insert("custom schema", schema=schema)
    assert await migrator.get(job["id"], schema) == job
    worked = await worker.job("work", id=job["id"], schema=schema)
    assert worked["state"] == "completed"
    assert await migrator.get(job["id"], schema) == worked

    # A channel's name is schema, dot and topic, in the 63 bytes of an identifier.
    longest = migrator.name[0] * 46
    await migrator.call("migrate", schema=longest)
    assert (await worker.insert("longest name", schema=longest))["id"] > 0
    await worker.refused("insert", "rejected", message="too long", schema=f"{longest}x")


async def test_custom_schema_candidate_migrate_reference_work(python: Adapter, go: Adapter) -> None:
    await _work_in_custom_schema(python, go)


async def test_custom_schema_reference_migrate_candidate_work(go: Adapter, python: Adapter) -> None:
    await _work_in_custom_schema(go, python)


async def test_clock_boundary_scheduling(pair: Pair) -> None:
    inserter, worker = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-clock", max_workers=2)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    job = await inserter.insert("in the future", scheduled_at=soon.isoformat())
    assert job["state"] == "scheduled"
    job = await in_state(worker, job["id"], "completed")
    assert instant(job["attempted_at"]) >= instant(job["scheduled_at"])

    # Shorter than the scheduler's interval, so the job stays available.
    job = await inserter.insert("short snooze", behavior="snooze_once", duration_ms=2_000)
    snoozed = await until(
        lambda: inserter.get(job["id"]),
        lambda seen: "snoozes" in seen["metadata"],
        what="the snooze",
    )
    assert snoozed["metadata"]["snoozes"] == 1
    assert snoozed["state"] in {"available", "running", "completed"}
    done = await in_state(worker, job["id"], "completed")
    assert instant(done["attempted_at"]) >= instant(snoozed["scheduled_at"])
    await worker.stop()


async def test_mixed_unknown_kind_error(pair: Pair) -> None:
    inserter, worker = pair
    await inserter.call("reset")
    kind = "conformance_unregistered"
    once, often = [
        await inserter.job(
            "raw_insert_no_notify", kind=kind, message="unknown", opts={"max_attempts": attempts}
        )
        for attempts in (1, 5)
    ]
    client_id = f"{worker.name}-unknown"
    await worker.start(client_id, max_workers=1)
    known = await inserter.insert("known kind")
    assert (await worker.wait(known["id"]))["state"] == "completed"

    text = f"job kind is not registered in the client's Workers bundle: {kind}"
    discarded = await worker.wait(once["id"], "discarded")
    assert (discarded["attempt"], discarded["attempted_by"]) == (1, [client_id])
    assert [error["error"] for error in discarded["errors"]] == [text]
    # The first delay keeps the job available, the second does not.
    retryable = await in_state(worker, often["id"], "retryable")
    assert (retryable["attempt"], retryable["attempted_by"]) == (2, [client_id] * 2)
    assert [error["error"] for error in retryable["errors"]] == [text] * 2
    assert retryable["finalized_at"] is None
    await worker.stop()


async def test_claimed_row_decode_isolation(
    engine: Adapter, go: Adapter, observer: Observer
) -> None:
    async def arrange(job: JobJson, change: str) -> int:
        await observer.execute(f"UPDATE river_job SET {change} WHERE id = $1", job["id"])
        return job["id"]

    odd = (
        'ARRAY[\'{"at": "2024-01-02 03:04:05+00", "attempt": "1",'
        ' "error": {"message": "boom"}, "trace": ["frame"]}\'::jsonb, \'42\'::jsonb]'
    )
    unreadable = "metadata = '[1]'"
    await go.call("reset")
    readable = [
        (await go.insert("ordinary"))["id"],
        await arrange(
            await go.insert("sparse errors"),
            'errors = ARRAY[\'{"error": "sparse", "extra": true}\'::jsonb]',
        ),
        await arrange(await go.insert("odd errors"), f"errors = {odd}"),
    ]
    retried = await arrange(await go.insert("retried"), unreadable)
    discarded = await arrange(await go.insert("discarded", max_attempts=1), unreadable)
    await engine.start(f"{engine.name}-decodes", retry_delay_ms=3_600_000, instrumented=True)

    for job_id in readable:
        row = await until(
            lambda job_id=job_id: observer.row(  # type: ignore[misc]
                "SELECT state::text AS state, attempt FROM river_job WHERE id = $1", job_id
            ),
            lambda seen: seen is not None and seen["state"] == "completed",
            within=30,
            what="a readable row completed",
        )
        assert row is not None
        assert row["attempt"] == 1
    zero = "0001-01-01T00:00:00Z"
    assert (await engine.get(readable[2]))["errors"] == [
        {"at": zero, "attempt": 1, "error": '{"message":"boom"}', "trace": '["frame"]'},
        {"at": zero, "attempt": 0, "error": "42", "trace": ""},
    ]
    assert await observer.value(
        f"SELECT errors = {odd} FROM river_job WHERE id = $1", readable[2]
    ), "elements that were only read were rewritten"

    failed = [
        await _failed_undecoded(observer, job_id, state)
        for job_id, state in ((retried, "retryable"), (discarded, "discarded"))
    ].count(True)
    stats = await saw(
        engine,
        lambda seen: (
            Counter(seen["events"])
            == Counter({"job_completed": 5 - failed, "job_failed": failed}) + Counter()
        ),
    )
    assert stats["error_handler_calls"] == 0
    await engine.stop()

    # The error handler hears of the failed attempt, and its decision holds.
    handled = await arrange(await go.insert("handled"), unreadable)
    after = await go.insert("after the handler")
    await engine.start(f"{engine.name}-handles", error_handler_cancel=True, instrumented=True)
    await in_state(go, after["id"], "completed")
    calls = int(await _failed_undecoded(observer, handled, "cancelled"))
    await saw(engine, lambda seen: seen["error_handler_calls"] == calls)
    await engine.stop()


async def _failed_undecoded(observer: Observer, job_id: int, state: str) -> bool:
    """Whether the row failed for its array metadata; an engine that reads it completes it."""
    row = await until(
        lambda: observer.row(
            "SELECT state::text AS state, attempt, metadata::text AS metadata,"
            " coalesce(array_length(errors, 1), 0) AS failures, errors[1] ->> 'error' AS error,"
            " errors[1] ->> 'attempt' AS failed_attempt, finalized_at,"
            " scheduled_at > now() + interval '30 minutes' AS later"
            " FROM river_job WHERE id = $1",
            job_id,
        ),
        lambda seen: seen is not None and seen["state"] not in {"available", "running"},
        within=30,
        what="the unreadable row finished",
    )
    assert row is not None
    assert (row["attempt"], row["metadata"]) == (1, "[1]")
    if row["state"] == "completed":
        assert row["failures"] == 0
        return False
    assert (row["state"], row["failures"], row["failed_attempt"]) == (state, 1, "1")
    assert row["error"].startswith("job row couldn't be decoded: "), row["error"]
    if state == "retryable":
        assert row["later"], "retried by another policy than the client's"
    else:
        assert row["finalized_at"] is not None
    return True


async def test_external_terminal_completion_race(pair: Pair) -> None:
    worker, outsider = pair
    await outsider.call("reset")
    await worker.start(f"{worker.name}-raced", instrumented=True, max_workers=1)
    for number, (behavior, state) in enumerate(
        (
            ("barrier_output", "completed"),
            ("barrier_output", "discarded"),
            ("barrier_wait", "completed"),
        ),
        start=1,
    ):
        barrier = f"race-{number}"
        await worker.call("barrier_create", name=barrier)
        job = await outsider.insert(barrier, behavior=behavior)
        await outsider.wait(job["id"], "running")
        outside = await outsider.job(
            "raw_finalize",
            id=job["id"],
            state=state,
            metadata={"external": state, "shared": "external"},
        )
        assert outside["state"] == state
        assert outside["finalized_at"] is not None
        assert outside["errors"] == (
            [
                {
                    "at": "2026-02-03T04:05:06.789Z",
                    "attempt": 1,
                    "error": "external discard",
                    "trace": "external trace",
                }
            ]
            if state == "discarded"
            else []
        )
        await worker.call("barrier_release", name=barrier)
        await saw(worker, lambda seen, number=number: len(seen["events"]) == number)  # type: ignore[misc]
        after = await outsider.get(job["id"])
        metadata: dict[str, Any] = {"external": state, "shared": "external"}
        if behavior == "barrier_output":
            metadata["output"] = {"race": "worker"}
        assert after == {**outside, "metadata": metadata}
    stats = await worker.stats()
    assert stats["events"] == ["job_completed", "job_failed", "job_completed"]
    await worker.stop()


async def test_reserved_metadata_cross_engine(pair: Pair) -> None:
    worker, controller = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-reserved", max_workers=2)
    own = {"user": "kept"}
    output = await controller.insert("output", behavior="output", metadata=own)
    snoozed = await controller.insert("snooze", behavior="snooze_once", duration_ms=5, metadata=own)
    cancelled = await controller.insert("cancel", behavior="cooperative_cancel", metadata=own)
    await controller.wait(cancelled["id"], "running")
    await controller.call("cancel", id=cancelled["id"])
    output, snoozed, cancelled = [
        await controller.wait(job["id"]) for job in (output, snoozed, cancelled)
    ]
    for job in (output, snoozed, cancelled):
        assert job["metadata"]["user"] == "kept"
        assert set(job["metadata"]) - {"user"} <= RESERVED
    assert (output["state"], snoozed["state"]) == ("completed", "completed")
    assert output["metadata"]["output"] == {"message": "output"}
    assert snoozed["metadata"]["snoozes"] == 1
    assert cancelled["state"] == "cancelled"
    assert instant(cancelled["metadata"]["cancel_attempted_at"]).tzinfo is not None
    await worker.stop()


async def _hand_a_cursor_on(pair: Pair) -> None:
    producer, consumer = pair
    await producer.call("reset")
    job = await producer.insert(
        "cursor",
        behavior="resumable_cursor",
        max_attempts=3,
        metadata={"application": "retained"},
    )
    for attempt, worker in enumerate((producer, consumer, producer), start=1):
        await worker.start(f"{worker.name}-resumes", max_workers=1, retry_delay_ms=60_000)
        job = await worker.wait(job["id"], "completed" if attempt == 3 else "retryable")
        await worker.stop()
        assert job["attempt"] == attempt
        metadata = job["metadata"]
        assert metadata["application"] == "retained"
        assert metadata["first_attempt"] == 1, "the finished first step ran again"
        if attempt == 1:
            assert metadata["river:resumable_step"] == "first"
            assert metadata["river:resumable_cursor"]["second"] == 7
        else:
            assert metadata["river:resumable_step"] == "second"
            assert metadata.get("river:resumable_cursor") is None
            assert metadata["cursor_observed"] == 7
        if attempt < 3:
            await consumer.call("retry", id=job["id"])
    assert len(job["errors"]) == 2


async def test_resumable_cross_engine_cursor(pair: Pair) -> None:
    await _hand_a_cursor_on(pair)


async def test_multi_engine_resumable_cursor(candidates: Pair) -> None:
    await _hand_a_cursor_on(candidates)


# Competition


async def test_mixed_skip_locked_competition(go: Adapter, python: Adapter) -> None:
    await go.call("reset")
    ids = {adapter: f"{adapter.name}-competes" for adapter in (go, python)}
    for adapter, client_id in ids.items():
        await adapter.start(client_id, max_workers=8)
    for adapter in ids:
        jobs: list[InsertJson] = [
            {
                "behavior": "sleep",
                "duration_ms": 10,
                "message": f"{adapter.name} {number}",
                "opts": {"tags": ["competition"]},
            }
            for number in range(150)
        ]
        assert len(await adapter.insert_many(jobs)) == 150
    worked = await listed(
        go, 300, within=60, limit=300, states=["completed"], tags_all=["competition"]
    )
    _each_once(worked)
    shares = Counter(job["attempted_by"][0] for job in worked)
    assert set(shares) == set(ids.values())
    for adapter in ids:
        await adapter.stop()


def _each_once(jobs: list[JobJson]) -> None:
    for job in jobs:
        assert (job["attempt"], len(job["attempted_by"]), job["errors"]) == (1, 1, []), job


async def test_multi_engine_competition(engines: list[Adapter]) -> None:
    await engines[0].call("reset")
    for engine in engines:
        await engine.start(f"{engine.name}-claims", max_workers=1)
    jobs = [
        await engine.insert(f"from {engine.name}", behavior="sleep", duration_ms=3_000)
        for engine in engines
    ]
    claimed = [await engines[0].wait(job["id"], "running") for job in jobs]
    assert sorted(by for job in claimed for by in job["attempted_by"]) == sorted(
        f"{engine.name}-claims" for engine in engines
    )
    for job in jobs:
        done = await engines[0].wait(job["id"])
        assert (done["state"], done["attempt"]) == ("completed", 1)
    for engine in engines:
        await engine.stop()


async def test_rolling_deployment_same_protocol(fleet: Fleet, go: Adapter) -> None:
    await go.call("reset")
    running: dict[str, Adapter] = {}
    inserted: list[int] = []

    async def deploy(implementation: str, version: int) -> None:
        name = f"{implementation}-rolling-{version}"
        running[implementation] = await fleet.disposable(implementation, name)
        await running[implementation].start(name, max_workers=4)

    async def insert(number: int = 20) -> None:
        for index in range(number):
            inserter = list(running.values())[index % len(running)]
            job = await inserter.insert(
                f"rolling {index}", behavior="sleep", duration_ms=20, tags=["rolling"]
            )
            inserted.append(job["id"])

    async def works(name: str) -> bool:
        await insert()
        jobs = await go.jobs("list", limit=10_000, tags_all=["rolling"])
        return any(name in job["attempted_by"] for job in jobs)

    for implementation in ("go", "python"):
        await deploy(implementation, 0)
    await insert()
    for implementation in ("go", "python"):
        await running[implementation].stop()
        await insert()
        await deploy(implementation, 1)
        name = f"{implementation}-rolling-1"
        await until(lambda name=name: works(name), bool, what=f"a job done by {name}")  # type: ignore[misc]
    worked = await listed(
        go,
        len(inserted),
        within=60,
        limit=len(inserted),
        states=["completed"],
        tags_all=["rolling"],
    )
    assert sorted(job["id"] for job in worked) == sorted(inserted)
    _each_once(worked)
    replaced = {f"{implementation}-rolling-1" for implementation in running}
    leader = await until(
        lambda: term(go), lambda seen: seen is not None and seen.leader_id in replaced, within=30
    )
    assert leader is not None
    for adapter in running.values():
        await adapter.stop()


# Notifications


async def test_notification_only_wakeups(pair: Pair) -> None:
    controller, worker = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-woken", max_workers=1, **RARELY)
    watch = Stopwatch()
    job = await controller.insert("wake up")
    assert (await worker.wait(job["id"]))["state"] == "completed"
    assert watch.seconds < PROMPTLY
    await worker.stop()


async def test_remote_cancel_notification(pair: Pair) -> None:
    controller, worker = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-cancelled", max_workers=1, **RARELY)
    job = await controller.insert("cancel me", behavior="cooperative_cancel")
    await worker.wait(job["id"], "running")
    watch = Stopwatch()
    requested = await controller.job("cancel", id=job["id"])
    assert requested["state"] == "running"
    stamp = requested["metadata"]["cancel_attempted_at"]
    assert instant(stamp).tzinfo is not None
    job = await worker.wait(job["id"])
    assert job["state"] == "cancelled"
    assert watch.seconds < PROMPTLY
    assert job["metadata"]["cancel_attempted_at"] == stamp
    await worker.stop()


async def test_multi_engine_directed_candidate_work_notification_cancellation(
    candidates: Pair, go: Adapter
) -> None:
    controller, worker = candidates
    await go.call("reset")
    client_id = f"{worker.name}-directed"
    await worker.start(client_id, max_workers=1, **RARELY)
    await listening(worker)
    watch = Stopwatch()
    job = await controller.insert("directed")
    job = await go.wait(job["id"])
    assert (job["state"], job["attempted_by"]) == ("completed", [client_id])
    assert watch.seconds < PROMPTLY

    job = await controller.insert("directed cancel", behavior="cooperative_cancel")
    job = await go.wait(job["id"], "running")
    assert job["attempted_by"] == [client_id]
    await controller.call("cancel", id=job["id"])
    job = await go.wait(job["id"])
    assert job["state"] == "cancelled"
    assert [error["error"] for error in job["errors"]] == [CANCELLED_REMOTELY]
    await worker.stop()


async def test_pause_resume_notification(pair: Pair) -> None:
    controller, worker = pair
    await worker.call("reset")
    await worker.start(f"{worker.name}-pauses", instrumented=True, max_workers=1)
    await worker.call("queue_add", name="marker", max_workers=1)
    await controller.call("queue_pause", name="default")
    await saw(worker, lambda seen: "queue_paused" in seen["events"])
    paused = await controller.insert("while paused")
    marker = await controller.insert("not paused", queue="marker")
    assert (await worker.wait(marker["id"]))["state"] == "completed"
    assert (await worker.get(paused["id"]))["state"] == "available"

    await controller.call("queue_resume", name="default")
    queue = await controller.queue("queue_get", name="default")
    assert queue["paused_at"] is None
    worked = await worker.wait(paused["id"])
    assert worked["state"] == "completed"
    assert instant(worked["attempted_at"]) >= instant(queue["updated_at"])
    await saw(worker, lambda seen: "queue_resumed" in seen["events"])
    await worker.stop()


async def test_remote_queue_subscription_events(pair: Pair) -> None:
    controller, observer = pair
    await observer.call("reset")
    await observer.start(f"{observer.name}-subscribes", instrumented=True, max_workers=1, **RARELY)
    job = await controller.insert("warm up")
    assert (await observer.wait(job["id"]))["state"] == "completed"

    # Messages are handled in their order: the next change proves that a repetition was silent.
    async def events(paused: int, resumed: int) -> None:
        stats = await saw(
            observer,
            lambda seen: (
                seen["events"].count("queue_paused") >= paused
                and seen["events"].count("queue_resumed") >= resumed
            ),
        )
        assert stats["events"].count("queue_paused") == paused
        assert stats["events"].count("queue_resumed") == resumed

    await controller.call("queue_pause", name="*")
    await events(1, 0)
    await controller.call("queue_pause", name="*")
    await controller.call("queue_resume", name="*")
    await events(1, 1)
    await controller.call("queue_resume", name="*")
    await controller.call("queue_pause", name="*")
    await events(2, 1)
    await controller.call("queue_resume", name="*")
    await events(2, 2)
    await observer.stop()


async def test_transactional_insert_notification_commit_only(
    pair: Pair, observer: Observer
) -> None:
    controller, worker = pair
    for outcome in ("tx_rollback", "tx_commit"):
        await worker.call("reset")
        await worker.start(f"{worker.name}-{outcome}", max_workers=2, **RARELY)
        async with observer.listen("river_insert") as listener:
            await controller.call("tx_begin", handle=outcome)
            jobs: list[InsertJson] = [
                {"message": name, "opts": {"tags": ["committed"]}} for name in ("one", "two")
            ]
            assert len(await controller.insert_many(jobs, handle=outcome)) == 2
            assert await worker.jobs("list", tags_all=["committed"]) == []
            watch = Stopwatch()
            await controller.call(outcome, handle=outcome)
            if outcome == "tx_rollback":
                assert await listener.until_marker() == []
                assert await worker.jobs("list", tags_all=["committed"]) == []
            else:
                await listed(worker, 2, states=["completed"], tags_all=["committed"])
                assert watch.seconds < PROMPTLY
                assert await listener.until_marker() == ['{"queue": "default"}']
        await worker.stop()


async def test_transactional_cross_language_cancel(pair: Pair) -> None:
    canceller, inserter = pair
    await inserter.call("reset")
    job = await inserter.insert("cancelled in a transaction")
    await canceller.call("tx_begin", handle="cancel")
    inside = await canceller.job("tx_cancel", handle="cancel", id=job["id"])
    assert inside["state"] == "cancelled"
    assert inside["finalized_at"] is not None
    assert await inserter.get(job["id"]) == job
    await canceller.call("tx_commit", handle="cancel")
    assert await inserter.get(job["id"]) == inside


# Leadership


async def test_mixed_request_resign_terms(pair: Pair, observer: Observer) -> None:
    leader, requester = pair
    await leader.call("reset")
    client_id = f"{leader.name}-resigns"
    await leader.start(client_id, max_workers=1)
    first = await next_term(leader)
    assert first.leader_id == client_id
    await requester.call("request_resign")
    second = await next_term(leader, first)

    request = '{"action":"request_resign","leader_id":""}'
    async with observer.listen("river_leadership") as listener:
        await requester.call("tx_begin", handle="undone")
        await requester.call("request_resign", handle="undone")
        await requester.call("tx_rollback", handle="undone")
        assert await listener.until_marker() == []
        assert await term(leader) == second

        await requester.call("tx_begin", handle="done")
        await requester.call("request_resign", handle="done")
        await requester.call("tx_commit", handle="done")
        assert (await listener.until_marker()).count(request) == 1
    await next_term(leader, second)
    await leader.stop()


async def test_mixed_leader_failover_both_directions(pair: Pair) -> None:
    await pair.first.call("reset")
    by_id = {f"{adapter.name}-leads": adapter for adapter in pair}
    for client_id, adapter in by_id.items():
        await adapter.start(client_id, max_workers=2)
    first = await next_term(pair.first)
    await pair.first.call("request_resign")
    second = await next_term(pair.first, first)
    await pair.second.call("request_resign")
    third = await next_term(pair.second, second)
    assert await term(pair.first) == third

    leader = third.leader_id
    follower = next(client_id for client_id in by_id if client_id != leader)
    await by_id[leader].stop()
    assert await leader_other_than(by_id[follower], leader) == follower
    await by_id[leader].start(leader, max_workers=2)
    await by_id[follower].stop()
    assert await leader_other_than(by_id[leader], follower) == leader
    assert await term(by_id[leader]) == await term(by_id[follower])
    await by_id[leader].stop()


async def test_multi_engine_leader_failover(engines: list[Adapter]) -> None:
    await engines[0].call("reset")
    by_id = {f"{engine.name}-leads": engine for engine in engines}
    for client_id, engine in by_id.items():
        await engine.start(client_id, max_workers=1)
    led: list[str] = []
    leader = await leader_other_than(engines[0])
    for _ in engines[1:]:
        assert leader not in led
        await by_id[leader].stop()
        led.append(leader)
        leader = await leader_other_than(engines[0], leader)
    assert leader not in led
    for client_id in led:
        await by_id[client_id].start(client_id, max_workers=1)
    for engine in engines:
        seen = await term(engine)
        assert seen is not None
        assert seen.leader_id == leader
    for engine in engines:
        await engine.stop()


async def _work_without_election(disabled: Adapter, eligible: Adapter) -> None:
    worker_id, leader_id = f"{disabled.name}-never-leads", f"{eligible.name}-leads"
    await disabled.call("reset")
    never = {"leader_election_disabled": True, "elect_interval_ms": 20}
    await disabled.refused(
        "start",
        "rejected",
        client_id=worker_id,
        leader_election_disabled=True,
        periodic_run_on_start=True,
    )

    async def periodic() -> list[JobJson]:
        jobs = await disabled.jobs("list", limit=100)
        return [job for job in jobs if job["metadata"].get(PERIODIC_ID) == "conformance-periodic"]

    async def works(message: str) -> None:
        job = await eligible.insert(message)
        job = await disabled.wait(job["id"])
        assert (job["state"], job["attempted_by"]) == ("completed", [worker_id])
        assert await term(eligible) is None, message

    await disabled.start(worker_id, instrumented=True, max_workers=1, **never)
    await works("before the other starts")
    # It works a queue of its own, so its periodic job is left to the one that never leads.
    await eligible.start(
        leader_id,
        instrumented=True,
        max_workers=1,
        periodic_run_on_start=True,
        queue="eligible",
        elect_interval_ms=20,
    )
    assert await leader_other_than(disabled) == leader_id
    await saw(eligible, lambda seen: seen["periodic_starts"] == 1)
    [job] = await until(periodic, bool, what="the periodic job")
    job = await disabled.wait(job["id"])
    assert (job["state"], job["attempted_by"]) == ("completed", [worker_id])
    assert (await disabled.stats())["periodic_starts"] == 0

    await eligible.stop()
    await works("after the other stopped")
    await disabled.stop()
    await disabled.start(worker_id, instrumented=True, max_workers=1, **never)
    await works("after a restart")
    assert (await disabled.stats())["periodic_starts"] == 0
    assert len(await periodic()) == 1
    await disabled.stop()


async def test_leader_election_disabled_both_directions(pair: Pair) -> None:
    await _work_without_election(pair.first, pair.second)


async def test_multi_engine_leader_election_disabled(candidates: Pair) -> None:
    await _work_without_election(candidates.first, candidates.second)
