"""Go River behind the conformance contract answers every method, and refuses what it should."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.interop.adapter import (
    DATABASE_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    PARSE_ERROR,
    REJECTED,
    UNSUPPORTED,
    Adapter,
    AdapterError,
)

pytestmark = pytest.mark.interop

METHODS = [
    "barrier_create",
    "barrier_release",
    "benchmark_enqueue",
    "cancel",
    "clock_set",
    "connection_count",
    "cron_next",
    "delete",
    "delete_many",
    "fault_disconnect_application",
    "fault_disconnect_listeners",
    "fault_expire_leader",
    "get",
    "handshake",
    "insert",
    "insert_many",
    "leader",
    "list",
    "listener_count",
    "migrate",
    "queue_add",
    "queue_get",
    "queue_list",
    "queue_pause",
    "queue_remove",
    "queue_resume",
    "queue_update",
    "raw_finalize",
    "raw_insert_exact_json",
    "raw_insert_full_row",
    "raw_insert_no_notify",
    "raw_job_exact_json",
    "raw_job_row",
    "raw_job_timestamps",
    "raw_notifications",
    "request_resign",
    "reset",
    "retry",
    "retry_delay",
    "rng_seed",
    "runtime_stats",
    "start",
    "stop",
    "tx_begin",
    "tx_cancel",
    "tx_commit",
    "tx_delete",
    "tx_delete_many",
    "tx_fail",
    "tx_get",
    "tx_insert",
    "tx_insert_many",
    "tx_list",
    "tx_queue_get",
    "tx_queue_list",
    "tx_queue_pause",
    "tx_queue_resume",
    "tx_queue_update",
    "tx_retry",
    "tx_rollback",
    "tx_update",
    "unique_key",
    "update",
    "wait",
    "work",
]


async def _refused(adapter: Adapter, code: int, method: str, **params: Any) -> None:
    with pytest.raises(AdapterError) as refused:
        await adapter.call(method, **params)
    assert refused.value.code == code, refused.value.message


async def _call(adapter: Adapter, method: str, **params: Any) -> Any:
    return await adapter.call(method, **params)


async def _until(adapter: Adapter, method: str, condition: Any, **params: Any) -> Any:
    async with asyncio.timeout(30):
        while True:
            result = await _call(adapter, method, **params)
            if condition(result):
                return result
            await asyncio.sleep(0.02)


async def test_handshake_names_everything_on_offer(go_adapter: Adapter) -> None:
    handshake = await _call(go_adapter, "handshake")
    assert handshake["methods"] == METHODS
    assert len(METHODS) == 65
    assert len(handshake["capabilities"]) == 25
    assert {name: handshake[name] for name in ("implementation", "implementation_version")} == {
        "implementation": "go",
        "implementation_version": "0.51.1",
    }
    assert handshake["adapter_version"] == 18
    assert handshake["protocol_revision"] == 1
    assert handshake["backend"] == "postgres"
    assert handshake["profile"] == "postgres-full-v1"
    assert handshake["migration_lines"] == {"main": 8}
    assert handshake["application_name"] == "river-conformance-go"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", PARSE_ERROR),
        ("[]", INVALID_REQUEST),
        ('{"id":1,"method":"handshake"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","method":"handshake"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":"handshake","more":1}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":"nothing"}', METHOD_NOT_FOUND),
        ('{"jsonrpc":"2.0","id":1,"method":"insert","params":[]}', INVALID_PARAMS),
        ('{"jsonrpc":"2.0","id":1,"method":"insert","params":{"message":null}}', INVALID_PARAMS),
        ('{"jsonrpc":"2.0","id":1,"method":"insert","params":{"Message":"x"}}', INVALID_PARAMS),
        (
            '{"jsonrpc":"2.0","id":1,"method":"insert","params":{"message":"","message":""}}',
            INVALID_PARAMS,
        ),
    ],
)
async def test_lines_that_are_no_requests(go_adapter: Adapter, line: str, code: int) -> None:
    error = (await go_adapter.line(line))["error"]
    assert isinstance(error, dict)
    assert error["code"] == code


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("get", {}),
        ("get", {"id": 0}),
        ("get", {"id": "1"}),
        ("get", {"id": 1.5}),
        ("get", {"id": 2**63}),
        ("insert", {"behavior": "unheard of"}),
        ("insert", {"opts": {"unknown": 1}}),
        ("insert", {"opts": {"unique": {"unknown": True}}}),
        ("insert", {"opts": {"unique": {"by_state": ["asleep"]}}}),
        ("insert", {"opts": {"scheduled_at": "tomorrow"}}),
        ("insert", {"opts": {"metadata": []}}),
        ("insert_many", {"jobs": [{"unknown": 1}]}),
        ("list", {"order_by": "kind"}),
        ("list", {"limit": 0}),
        ("queue_get", {"name": ""}),
        ("start", {"client_id": "x", "unknown": 1}),
        ("start", {"client_id": "x", "completed_job_retention_ms": -2}),
        ("start", {"client_id": "x", "claim_barrier": "not created"}),
        ("raw_notifications", {}),
        ("tx_insert", {"handle": "t", "job": {"unknown": 1}}),
        ("fault_disconnect_application", {"application_name": "psql"}),
        ("unique_key", {"args": {}, "kind": "conformance_simple", "queue": "default"}),
    ],
)
async def test_params_that_do_not_fit(
    go_adapter: Adapter, method: str, params: dict[str, Any]
) -> None:
    await _refused(go_adapter, INVALID_PARAMS, method, **params)


async def test_insert_list_and_administer_jobs(go_adapter: Adapter) -> None:
    job = await _call(
        go_adapter,
        "insert",
        message="é<&>",
        opts={
            "max_attempts": 3,
            "metadata": {"n": 2**63},
            "priority": 2,
            "queue": "other",
            "scheduled_at": "2031-01-01T00:00:00+01:00",
            "tags": ["one_tag"],
            "unique": {"by_args": True, "by_period_ms": 60_000},
        },
    )
    assert job["args"] == {"behavior": "", "duration_ms": 0, "message": "é<&>"}
    assert job["metadata"] == {"n": 2**63}
    assert job["state"] == "scheduled"
    assert job["scheduled_at"] == "2030-12-31T23:00:00Z"
    assert len(job["unique_key"]) == 64
    assert job["unique_states"] == sorted(
        ["available", "completed", "pending", "retryable", "running", "scheduled"]
    )
    many = await _call(
        go_adapter,
        "insert_many",
        jobs=[{"message": "a"}, {"message": "b", "opts": {"priority": 3}}],
    )
    first, second = (result["job"] for result in many["results"])
    assert not any(result["unique_skipped_as_duplicate"] for result in many["results"])
    assert await _call(go_adapter, "get", id=first["id"]) == first

    page = await _call(go_adapter, "list", limit=2, order_by="id", direction="desc")
    assert [row["id"] for row in page["jobs"]] == [second["id"], first["id"]]
    rest = await _call(
        go_adapter, "list", limit=2, order_by="id", direction="desc", after=page["cursor"]
    )
    assert [row["id"] for row in rest["jobs"]] == [job["id"]]
    found = await _call(
        go_adapter, "list", metadata={"n": 2**63}, tags_any=["one_tag"], queues=["other"]
    )
    assert found["jobs"] == [job]
    assert (await _call(go_adapter, "list", ids=[job["id"] + 10]))["cursor"] is None

    updated = await _call(go_adapter, "update", id=first["id"], output=None)
    assert updated["metadata"] == {"output": None}
    cancelled = await _call(go_adapter, "cancel", id=first["id"])
    assert cancelled["state"] == "cancelled"
    assert (await _call(go_adapter, "retry", id=first["id"]))["state"] == "available"
    assert (await _call(go_adapter, "delete", id=first["id"]))["id"] == first["id"]
    await _refused(go_adapter, REJECTED, "delete_many")
    await _refused(go_adapter, REJECTED, "insert_many", jobs=[])
    await _refused(go_adapter, REJECTED, "insert", opts={"priority": 5})
    deleted = await _call(go_adapter, "delete_many", ids=[second["id"]])
    assert [row["id"] for row in deleted["jobs"]] == [second["id"]]
    everything = await _call(go_adapter, "delete_many", all=True)
    assert [row["id"] for row in everything["jobs"]] == [job["id"]]
    for method in ("get", "cancel", "retry", "delete", "update"):
        await _refused(go_adapter, NOT_FOUND, method, id=job["id"])
    figures = await _call(go_adapter, "benchmark_enqueue", jobs=5)
    assert 0 < figures["p95_ns"] <= figures["duration_ns"]


async def test_transactions(go_adapter: Adapter) -> None:
    await _call(go_adapter, "tx_begin", handle="t")
    await _refused(go_adapter, REJECTED, "tx_begin", handle="t")
    job = await _call(go_adapter, "tx_insert", handle="t", job={"message": "in"})
    many = await _call(go_adapter, "tx_insert_many", handle="t", jobs=[{"message": "many"}])
    other = many["results"][0]["job"]
    await _refused(go_adapter, NOT_FOUND, "get", id=job["id"])
    assert await _call(go_adapter, "tx_get", handle="t", id=job["id"]) == job
    listed = await _call(go_adapter, "tx_list", handle="t", order_by="id")
    assert [row["id"] for row in listed["jobs"]] == [job["id"], other["id"]]
    updated = await _call(go_adapter, "tx_update", handle="t", id=job["id"], output=[1])
    assert updated["metadata"] == {"output": [1]}
    cancelled = await _call(go_adapter, "tx_cancel", handle="t", id=job["id"])
    assert cancelled["state"] == "cancelled"
    retried = await _call(go_adapter, "tx_retry", handle="t", id=job["id"])
    assert retried["state"] == "available"
    await _call(go_adapter, "tx_delete", handle="t", id=other["id"])
    await _call(go_adapter, "tx_commit", handle="t")
    assert (await _call(go_adapter, "get", id=job["id"]))["state"] == "available"
    await _refused(go_adapter, NOT_FOUND, "tx_commit", handle="t")

    await _call(go_adapter, "tx_begin", handle="u")
    await _call(go_adapter, "tx_delete_many", handle="u", ids=[job["id"]])
    await _call(go_adapter, "tx_rollback", handle="u")
    await _call(go_adapter, "get", id=job["id"])

    await _call(go_adapter, "tx_begin", handle="v")
    await _refused(go_adapter, DATABASE_ERROR, "tx_fail", handle="v")
    await _refused(go_adapter, DATABASE_ERROR, "tx_insert", handle="v", job={})
    await _refused(go_adapter, DATABASE_ERROR, "tx_commit", handle="v")


async def test_queues_in_and_out_of_transactions(go_adapter: Adapter) -> None:
    await _refused(go_adapter, REJECTED, "queue_add", name="extra")
    await _call(go_adapter, "start", client_id="queues", queue="first", max_workers=2)
    queue = await _until(go_adapter, "queue_get", lambda row: row["name"] == "first", name="first")
    assert queue["metadata"] == {}
    assert queue["paused_at"] is None
    await _call(go_adapter, "queue_add", name="extra", max_workers=3)
    await _call(go_adapter, "queue_add", name="extra", max_workers=4)
    names = [row["name"] for row in (await _call(go_adapter, "queue_list", limit=5))["queues"]]
    assert names == ["extra", "first"]
    await _call(go_adapter, "queue_remove", name="extra")
    await _refused(go_adapter, NOT_FOUND, "queue_remove", name="extra")
    updated = await _call(go_adapter, "queue_update", name="first", metadata={"a": [1]})
    assert updated["metadata"] == {"a": [1]}
    await _call(go_adapter, "queue_pause", name="first")
    assert (await _call(go_adapter, "queue_get", name="first"))["paused_at"] is not None
    await _call(go_adapter, "queue_resume", name="*")
    await _refused(go_adapter, NOT_FOUND, "queue_pause", name="nowhere")
    await _until(
        go_adapter,
        "runtime_stats",
        lambda stats: stats["events"] == ["queue_paused", "queue_resumed"],
    )
    await _call(go_adapter, "tx_begin", handle="q")
    await _call(go_adapter, "tx_queue_pause", handle="q", name="first")
    await _call(go_adapter, "tx_queue_update", handle="q", name="first", metadata={})
    row = await _call(go_adapter, "tx_queue_get", handle="q", name="first")
    assert row["paused_at"] is not None
    assert len((await _call(go_adapter, "tx_queue_list", handle="q"))["queues"]) == 2
    await _call(go_adapter, "tx_queue_resume", handle="q", name="first")
    await _call(go_adapter, "tx_rollback", handle="q")
    assert (await _call(go_adapter, "queue_get", name="first"))["metadata"] == {"a": [1]}
    await _call(go_adapter, "stop")


@pytest.mark.parametrize(
    ("behavior", "attempts", "state"),
    [
        ("", 1, "completed"),
        ("sleep", 1, "completed"),
        ("output", 1, "completed"),
        ("snooze_once", 1, "completed"),
        ("transactional_complete", 1, "completed"),
        ("resumable", 2, "completed"),
        ("resumable_cursor", 3, "completed"),
        ("resumable_duplicate", 2, "discarded"),
        ("error", 1, "discarded"),
        ("panic", 1, "discarded"),
        ("discard", 1, "discarded"),
        ("cancel", 1, "cancelled"),
    ],
)
async def test_behaviors(go_adapter: Adapter, behavior: str, attempts: int, state: str) -> None:
    await _call(go_adapter, "start", client_id="behaves", retry_delay_ms=1, instrumented=True)
    await _refused(go_adapter, REJECTED, "start", client_id="second")
    job = await _call(
        go_adapter,
        "insert",
        behavior=behavior,
        message="told",
        duration_ms=5,
        opts={"max_attempts": attempts},
    )
    done = await _call(go_adapter, "wait", id=job["id"])
    assert (done["state"], done["attempt"]) == (state, attempts)
    match behavior:
        case "output":
            assert done["metadata"]["output"] == {"message": "told"}
        case "snooze_once":
            assert done["metadata"] == {"snoozes": 1}
        case "transactional_complete":
            assert done["metadata"] == {"transactional_completion": True}
        case "resumable_cursor":
            assert done["metadata"]["first_attempt"] == 1
            assert done["metadata"]["cursor_observed"] == 7
        case "resumable":
            assert done["metadata"] == {"river:resumable_step": "first"}
        case "error":
            assert done["errors"][0]["error"] == "conformance retryable error"
        case "panic":
            assert "conformance worker panic" in done["errors"][0]["error"]
            assert done["errors"][0]["trace"]
    stats = await _until(go_adapter, "runtime_stats", lambda stats: bool(stats["events"]))
    assert "middleware:work_before" in stats["trace"]
    await _call(go_adapter, "stop")
    await _refused(go_adapter, REJECTED, "stop")


@pytest.mark.parametrize(
    ("behavior", "state", "error"),
    [
        ("cooperative_cancel", "cancelled", "JobCancelError: job cancelled remotely"),
        ("cancel_error", "cancelled", "JobCancelError: job cancelled remotely"),
        ("snooze_then_cancel", "cancelled", "JobCancelError: job cancelled remotely"),
    ],
)
async def test_behaviors_that_wait_for_their_cancellation(
    go_adapter: Adapter, behavior: str, state: str, error: str
) -> None:
    await _call(go_adapter, "start", client_id="cancels", fetch_poll_interval_ms=50)
    job = await _call(go_adapter, "insert", behavior=behavior, duration_ms=1)
    await _until(
        go_adapter,
        "get",
        lambda row: (
            row["state"] == "running"
            and (behavior != "snooze_then_cancel" or "snoozes" in row["metadata"])
        ),
        id=job["id"],
    )
    await _call(go_adapter, "cancel", id=job["id"])
    done = await _call(go_adapter, "wait", id=job["id"])
    assert (done["state"], done["errors"][-1]["error"]) == (state, error)
    await _call(go_adapter, "stop")


async def test_barriers_and_a_stop_that_cancels(go_adapter: Adapter) -> None:
    await _refused(go_adapter, NOT_FOUND, "barrier_release", name="gate")
    await _call(go_adapter, "barrier_create", name="gate")
    await _refused(go_adapter, REJECTED, "barrier_create", name="gate")
    await _call(go_adapter, "start", client_id="gates", error_handler_cancel=True)
    job = await _call(go_adapter, "insert", behavior="barrier_output", message="gate")
    await _call(go_adapter, "wait", id=job["id"], states=["running"])
    await _call(go_adapter, "barrier_release", name="gate")
    await _refused(go_adapter, NOT_FOUND, "barrier_release", name="gate")
    done = await _call(go_adapter, "wait", id=job["id"])
    assert done["metadata"] == {"output": {"race": "worker"}}
    waiting = await _call(go_adapter, "insert", behavior="cooperative_cancel")
    panicking = await _call(go_adapter, "insert", behavior="cancel_panic")
    for row in (waiting, panicking):
        await _call(go_adapter, "wait", id=row["id"], states=["running"])
    await _call(go_adapter, "stop", cancel=True)
    interrupted = await _call(go_adapter, "get", id=waiting["id"])
    assert (interrupted["state"], interrupted["attempt"]) == ("available", 0)
    panicked = await _call(go_adapter, "get", id=panicking["id"])
    assert (panicked["state"], panicked["attempt"]) == ("cancelled", 1)
    stats = await _call(go_adapter, "runtime_stats")
    assert stats["error_handler_calls"] == 1
    assert sorted(stats["events"]) == ["job_cancelled", "job_completed", "job_interrupted"]


async def test_claim_barrier_holds_the_first_claim(go_adapter: Adapter) -> None:
    await _call(go_adapter, "barrier_create", name="claim")
    await _call(go_adapter, "start", client_id="claims", claim_barrier="claim")
    job = await _call(go_adapter, "insert", behavior="cooperative_cancel")
    await _call(go_adapter, "wait", id=job["id"], states=["running"])
    # Nothing tells that the client has heard of it: repeat it for as long as a message may take.
    for _ in range(100):
        await _call(go_adapter, "cancel", id=job["id"])
    await _call(go_adapter, "barrier_release", name="claim")
    done = await _call(go_adapter, "wait", id=job["id"])
    assert done["state"] == "cancelled"
    assert (await _call(go_adapter, "runtime_stats"))["cancelled_at_start"] == 1
    await _call(go_adapter, "stop")


async def test_work_runs_one_job(go_adapter: Adapter) -> None:
    job = await _call(go_adapter, "insert", behavior="error", opts={"queue": "alone"})
    worked = await _call(go_adapter, "work", id=job["id"], client_id="short-lived")
    assert worked["attempted_by"] == ["short-lived"]
    assert len(worked["errors"]) == 1
    await _refused(go_adapter, NOT_FOUND, "work", id=job["id"] + 1)


async def test_leadership_periodic_jobs_and_faults(go_adapter: Adapter) -> None:
    assert await _call(go_adapter, "leader") == {"elected_at": None, "leader_id": None}
    await _refused(
        go_adapter,
        REJECTED,
        "start",
        client_id="never",
        leader_election_disabled=True,
        periodic_run_on_start=True,
    )
    await _refused(go_adapter, REJECTED, "start", client_id="never", periodic_unique=True)
    for tuning in ("elect_interval_ms", "rescuer_interval_ms", "scheduler_interval_ms"):
        await _refused(go_adapter, UNSUPPORTED, "start", client_id="never", **{tuning: 20})
    await _call(
        go_adapter,
        "start",
        client_id="leads",
        periodic_run_on_start=True,
        periodic_unique=True,
        job_cleaner_interval_ms=20,
        queue_cleaner_interval_ms=20,
    )
    term = await _until(go_adapter, "leader", lambda leader: leader["leader_id"] == "leads")
    await _until(go_adapter, "runtime_stats", lambda stats: stats["periodic_starts"] == 1)
    periodic = await _until(
        go_adapter,
        "list",
        lambda page: len(page["jobs"]) == 2,
        metadata={"periodic": True},
    )
    assert [row["metadata"]["river:periodic_job_id"] for row in periodic["jobs"]] == [
        "conformance-periodic",
        "conformance-periodic-marker",
    ]
    await _call(go_adapter, "request_resign")
    await _until(
        go_adapter, "leader", lambda leader: leader["elected_at"] not in (None, term["elected_at"])
    )
    await _call(go_adapter, "tx_begin", handle="r")
    await _call(go_adapter, "request_resign", handle="r")
    await _call(go_adapter, "tx_rollback", handle="r")
    await _until(go_adapter, "listener_count", lambda result: result["count"] == 1)
    assert (await _call(go_adapter, "connection_count"))["count"] >= 2
    assert (await _call(go_adapter, "fault_disconnect_listeners"))["count"] == 1
    await _until(go_adapter, "listener_count", lambda result: result["count"] == 1)
    cut = await _call(
        go_adapter, "fault_disconnect_application", application_name="river-conformance-go"
    )
    assert cut["count"] >= 1
    await _until(go_adapter, "listener_count", lambda result: result["count"] == 1)
    await _call(go_adapter, "fault_expire_leader")
    await _call(go_adapter, "stop", cancel=True)


async def test_raw_rows(go_adapter: Adapter) -> None:
    full = await _call(go_adapter, "raw_insert_full_row")
    assert full["unique_key"] == "ab" * 32
    assert full["errors"] == [
        {
            "at": "2026-01-02T03:04:06.123456Z",
            "attempt": 3,
            "error": 'worker failed: escaped "detail"',
            "trace": "frame one\nframe two",
        }
    ]
    assert full["created_at"] == "2026-01-02T03:04:05.6789Z"
    assert full["scheduled_at"] == "2026-01-02T03:04:05.999999Z"
    assert full["finalized_at"] == "2026-01-02T03:04:07.000001Z"
    row = await _call(go_adapter, "raw_job_row", id=full["id"])
    assert row["unique_key"] == "AB" * 32
    assert row["unique_states"] == "11110101"
    assert row["tags"] == "{alpha_tag,beta_tag}"
    exact = await _call(go_adapter, "raw_insert_exact_json", id=2**53 + 1)
    assert exact == {"id": 2**53 + 1}
    assert await _call(go_adapter, "raw_job_exact_json", **exact) == {
        "decimal": "0.12345678901234567890123456789",
        "integer": "9223372036854775807",
        "negative": "-9223372036854775808",
    }
    row = await _call(go_adapter, "raw_job_row", **exact)
    assert row["metadata"] == '{"negative": -9223372036854775808}'
    assert row["scheduled_at"] == row["created_at"]
    assert await _call(go_adapter, "raw_job_timestamps", **exact) == {
        "created_at": row["created_at"],
        "scheduled_at": row["scheduled_at"],
    }
    await _refused(go_adapter, UNSUPPORTED, "raw_notifications", after_id=0)
    silent = await _call(go_adapter, "raw_insert_no_notify", kind="another_kind", message="m")
    assert silent["kind"] == "another_kind"
    await _refused(go_adapter, NOT_FOUND, "raw_finalize", id=silent["id"], state="completed")
    await _call(go_adapter, "barrier_create", name="held")
    await _call(go_adapter, "start", client_id="finalizes")
    held = await _call(go_adapter, "insert", behavior="barrier_wait", message="held")
    await _call(go_adapter, "wait", id=held["id"], states=["running"])
    final = await _call(
        go_adapter, "raw_finalize", id=held["id"], state="discarded", metadata={"external": 1}
    )
    assert final["errors"][0]["error"] == "external discard"
    await _call(go_adapter, "stop", cancel=True)
    kept = await _call(go_adapter, "get", id=held["id"])
    assert (kept["state"], kept["metadata"]) == ("discarded", {"external": 1})


async def test_goldens(go_adapter: Adapter) -> None:
    await _call(go_adapter, "clock_set", now="2026-01-02T03:04:05.6789Z")
    await _call(go_adapter, "rng_seed", seed=2**64 - 1)
    delay = await _call(go_adapter, "retry_delay", error_count=2, job_id=1)
    assert 14_400_000_000 <= delay["delay_ns"] <= 17_601_000_000
    capped = await _call(go_adapter, "retry_delay", error_count=310, job_id=1)
    assert capped == {"delay_ns": 2**63 - 1}
    cron = await _call(
        go_adapter,
        "cron_next",
        expression="30 2 * * *",
        **{"from": "2026-01-02T03:04:05+05:30"},
        count=2,
    )
    assert cron == {"next": ["2026-01-03T02:30:00+05:30", "2026-01-04T02:30:00+05:30"]}
    await _refused(
        go_adapter,
        REJECTED,
        "cron_next",
        expression="@reboot",
        **{"from": "2026-01-02T03:04:05Z"},
        count=1,
    )
    options = {"by_args": True, "by_period_nanos": 0, "by_queue": False, "exclude_kind": False}
    case: dict[str, Any] = {
        "args": {"b": 1, "a": "<"},
        "kind": "conformance_all_args",
        "now": "2026-01-02T03:04:05.6789Z",
        "options": options,
        "queue": "default",
        "scheduled_at": None,
    }
    text = '&kind=conformance_all_args&args={"a":"\\u003c","b":1}'
    assert await _call(go_adapter, "unique_key", **case) == {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "state_mask": 245,
    }
    await _refused(go_adapter, REJECTED, "unique_key", **{**case, "args": [1]})
    selected = {
        **case,
        "kind": "conformance_selected_args",
        "args": {"label": None, "note": "left out", "account": {"name": "left out"}},
        "selected_unique_components": [["label"]],
    }
    text = '&kind=conformance_selected_args&args={"label":null}'
    result = await _call(go_adapter, "unique_key", **selected)
    assert result["sha256"] == hashlib.sha256(text.encode()).hexdigest()


async def test_migrate_schemas_and_reset(go_adapter: Adapter) -> None:
    schema = "c" * 46
    up = await _call(go_adapter, "migrate", schema=schema)
    assert up == {"applied": list(range(1, 9)), "existing": list(range(1, 9)), "valid": True}
    down = await _call(go_adapter, "migrate", direction="down", schema=schema, max_steps=2)
    assert down == {"applied": [8, 7], "existing": list(range(1, 7)), "valid": False}
    dry = await _call(go_adapter, "migrate", direction="up", schema=schema, dry_run=True)
    assert dry == {"applied": [7, 8], "existing": list(range(1, 7)), "valid": False}
    await _call(go_adapter, "migrate", schema=schema)
    job = await _call(go_adapter, "insert", message="elsewhere", schema=schema)
    worked = await _call(go_adapter, "work", id=job["id"], schema=schema)
    assert worked["state"] == "completed"
    assert await _call(go_adapter, "get", id=job["id"], schema=schema) == worked
    await _call(go_adapter, "reset", schema=schema)
    await _refused(go_adapter, NOT_FOUND, "get", id=job["id"], schema=schema)
    for method in ("migrate", "reset", "insert"):
        await _refused(go_adapter, REJECTED, method, schema="c" * 47)
    gone = await _call(go_adapter, "migrate", direction="down", schema=schema, target_version=-1)
    assert gone["existing"] == []
    await _call(go_adapter, "insert", message="kept until reset")
    await _call(go_adapter, "reset")
    assert (await _call(go_adapter, "list"))["jobs"] == []


async def test_a_wait_that_misses_its_states(go_adapter: Adapter) -> None:
    job = await _call(go_adapter, "insert", message="nobody works")
    before = datetime.now(UTC)
    await _refused(go_adapter, REJECTED, "wait", id=job["id"])
    assert datetime.now(UTC) - before < timedelta(seconds=40)
