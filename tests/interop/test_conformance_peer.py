"""Go River behind the conformance contract answers every method, and refuses what it should."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.adapter import ERROR_CODES, Adapter
from tests.conformance.registry import METHODS
from tests.conftest import _execute

pytestmark = pytest.mark.interop


async def _until(adapter: Adapter, method: str, condition: Any, **params: Any) -> Any:
    async with asyncio.timeout(30):
        while True:
            result = await adapter.call(method, **params)
            if condition(result):
                return result
            await asyncio.sleep(0.02)


async def test_handshake_names_everything_on_offer(go_adapter: Adapter) -> None:
    handshake = await go_adapter.call("handshake")
    assert handshake["methods"] == list(METHODS)
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
    assert handshake["application_name"] == go_adapter.application_name


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "parse_error"),
        ("[]", "invalid_request"),
        ('{"id":1,"method":"handshake"}', "invalid_request"),
        ('{"jsonrpc":"2.0","method":"handshake"}', "invalid_request"),
        ('{"jsonrpc":"2.0","id":1,"method":"handshake","more":1}', "invalid_request"),
        ('{"jsonrpc":"2.0","id":1,"method":"nothing"}', "method_not_found"),
        ('{"jsonrpc":"2.0","id":1,"method":"insert","params":[]}', "invalid_params"),
        ('{"jsonrpc":"2.0","id":1,"method":"insert","params":{"message":null}}', "invalid_params"),
        ('{"jsonrpc":"2.0","id":1,"method":"insert","params":{"Message":"x"}}', "invalid_params"),
        (
            '{"jsonrpc":"2.0","id":1,"method":"insert","params":{"message":"","message":""}}',
            "invalid_params",
        ),
    ],
)
def test_lines_that_are_no_requests(
    go_conformance: Path, server_url: str, line: str, reason: str
) -> None:
    environment = {**os.environ, "RIVER_CONFORMANCE_DATABASE_URL": server_url}
    answered = subprocess.run(
        [go_conformance],
        input=f"{line}\n",
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert json.loads(answered)["error"]["code"] == ERROR_CODES[reason]


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
    await go_adapter.refused(method, "invalid_params", **params)


async def test_insert_list_and_administer_jobs(go_adapter: Adapter) -> None:
    job = await go_adapter.call(
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
    many = await go_adapter.call(
        "insert_many",
        jobs=[{"message": "a"}, {"message": "b", "opts": {"priority": 3}}],
    )
    first, second = (result["job"] for result in many["results"])
    assert not any(result["unique_skipped_as_duplicate"] for result in many["results"])
    assert await go_adapter.call("get", id=first["id"]) == first

    page = await go_adapter.call("list", limit=2, order_by="id", direction="desc")
    assert [row["id"] for row in page["jobs"]] == [second["id"], first["id"]]
    rest = await go_adapter.call(
        "list", limit=2, order_by="id", direction="desc", after=page["cursor"]
    )
    assert [row["id"] for row in rest["jobs"]] == [job["id"]]
    found = await go_adapter.call(
        "list", metadata={"n": 2**63}, tags_any=["one_tag"], queues=["other"]
    )
    assert found["jobs"] == [job]
    assert (await go_adapter.call("list", ids=[job["id"] + 10]))["cursor"] is None

    updated = await go_adapter.call("update", id=first["id"], output=None)
    assert updated["metadata"] == {"output": None}
    cancelled = await go_adapter.call("cancel", id=first["id"])
    assert cancelled["state"] == "cancelled"
    assert (await go_adapter.call("retry", id=first["id"]))["state"] == "available"
    assert (await go_adapter.call("delete", id=first["id"]))["id"] == first["id"]
    await go_adapter.refused("delete_many", "rejected")
    await go_adapter.refused("insert_many", "rejected", jobs=[])
    await go_adapter.refused("insert", "rejected", opts={"priority": 5})
    deleted = await go_adapter.call("delete_many", ids=[second["id"]])
    assert [row["id"] for row in deleted["jobs"]] == [second["id"]]
    everything = await go_adapter.call("delete_many", all=True)
    assert [row["id"] for row in everything["jobs"]] == [job["id"]]
    for method in ("get", "cancel", "retry", "delete", "update"):
        await go_adapter.refused(method, "not_found", id=job["id"])
    figures = await go_adapter.call("benchmark_enqueue", jobs=5)
    assert 0 < figures["p95_ns"] <= figures["duration_ns"]


async def test_transactions(go_adapter: Adapter) -> None:
    await go_adapter.call("tx_begin", handle="t")
    await go_adapter.refused("tx_begin", "rejected", handle="t")
    job = await go_adapter.call("tx_insert", handle="t", job={"message": "in"})
    many = await go_adapter.call("tx_insert_many", handle="t", jobs=[{"message": "many"}])
    other = many["results"][0]["job"]
    await go_adapter.refused("get", "not_found", id=job["id"])
    assert await go_adapter.call("tx_get", handle="t", id=job["id"]) == job
    listed = await go_adapter.call("tx_list", handle="t", order_by="id")
    assert [row["id"] for row in listed["jobs"]] == [job["id"], other["id"]]
    updated = await go_adapter.call("tx_update", handle="t", id=job["id"], output=[1])
    assert updated["metadata"] == {"output": [1]}
    cancelled = await go_adapter.call("tx_cancel", handle="t", id=job["id"])
    assert cancelled["state"] == "cancelled"
    retried = await go_adapter.call("tx_retry", handle="t", id=job["id"])
    assert retried["state"] == "available"
    await go_adapter.call("tx_delete", handle="t", id=other["id"])
    await go_adapter.call("tx_commit", handle="t")
    assert (await go_adapter.call("get", id=job["id"]))["state"] == "available"
    await go_adapter.refused("tx_commit", "not_found", handle="t")

    await go_adapter.call("tx_begin", handle="u")
    await go_adapter.call("tx_delete_many", handle="u", ids=[job["id"]])
    await go_adapter.call("tx_rollback", handle="u")
    await go_adapter.call("get", id=job["id"])

    await go_adapter.call("tx_begin", handle="v")
    await go_adapter.refused("tx_fail", "database_error", handle="v")
    await go_adapter.refused("tx_insert", "database_error", handle="v", job={})
    await go_adapter.refused("tx_commit", "database_error", handle="v")


async def test_queues_in_and_out_of_transactions(go_adapter: Adapter) -> None:
    await go_adapter.refused("queue_add", "rejected", name="extra")
    await go_adapter.call("start", client_id="queues", queue="first", max_workers=2)
    queue = await _until(go_adapter, "queue_get", lambda row: row["name"] == "first", name="first")
    assert queue["metadata"] == {}
    assert queue["paused_at"] is None
    await go_adapter.call("queue_add", name="extra", max_workers=3)
    await go_adapter.call("queue_add", name="extra", max_workers=4)
    names = [row["name"] for row in (await go_adapter.call("queue_list", limit=5))["queues"]]
    assert names == ["extra", "first"]
    await go_adapter.call("queue_remove", name="extra")
    await go_adapter.refused("queue_remove", "not_found", name="extra")
    updated = await go_adapter.call("queue_update", name="first", metadata={"a": [1]})
    assert updated["metadata"] == {"a": [1]}
    await go_adapter.call("queue_pause", name="first")
    assert (await go_adapter.call("queue_get", name="first"))["paused_at"] is not None
    await go_adapter.call("queue_resume", name="*")
    await go_adapter.refused("queue_pause", "not_found", name="nowhere")
    await _until(
        go_adapter,
        "runtime_stats",
        lambda stats: stats["events"] == ["queue_paused", "queue_resumed"],
    )
    await go_adapter.call("tx_begin", handle="q")
    await go_adapter.call("tx_queue_pause", handle="q", name="first")
    await go_adapter.call("tx_queue_update", handle="q", name="first", metadata={})
    row = await go_adapter.call("tx_queue_get", handle="q", name="first")
    assert row["paused_at"] is not None
    assert len((await go_adapter.call("tx_queue_list", handle="q"))["queues"]) == 2
    await go_adapter.call("tx_queue_resume", handle="q", name="first")
    await go_adapter.call("tx_rollback", handle="q")
    assert (await go_adapter.call("queue_get", name="first"))["metadata"] == {"a": [1]}
    await go_adapter.call("stop")


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
    await go_adapter.call("start", client_id="behaves", retry_delay_ms=1, instrumented=True)
    await go_adapter.refused("start", "rejected", client_id="second")
    job = await go_adapter.call(
        "insert",
        behavior=behavior,
        message="told",
        duration_ms=5,
        opts={"max_attempts": attempts},
    )
    done = await go_adapter.call("wait", id=job["id"])
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
    await go_adapter.call("stop")
    await go_adapter.refused("stop", "rejected")


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
    await go_adapter.call("start", client_id="cancels", fetch_poll_interval_ms=50)
    job = await go_adapter.call("insert", behavior=behavior, duration_ms=1)
    await _until(
        go_adapter,
        "get",
        lambda row: (
            row["state"] == "running"
            and (behavior != "snooze_then_cancel" or "snoozes" in row["metadata"])
        ),
        id=job["id"],
    )
    await go_adapter.call("cancel", id=job["id"])
    done = await go_adapter.call("wait", id=job["id"])
    assert (done["state"], done["errors"][-1]["error"]) == (state, error)
    await go_adapter.call("stop")


async def test_barriers_and_a_stop_that_cancels(go_adapter: Adapter) -> None:
    await go_adapter.refused("barrier_release", "not_found", name="gate")
    await go_adapter.call("barrier_create", name="gate")
    await go_adapter.refused("barrier_create", "rejected", name="gate")
    await go_adapter.call("start", client_id="gates", error_handler_cancel=True)
    job = await go_adapter.call("insert", behavior="barrier_output", message="gate")
    await go_adapter.call("wait", id=job["id"], states=["running"])
    await go_adapter.call("barrier_release", name="gate")
    await go_adapter.refused("barrier_release", "not_found", name="gate")
    done = await go_adapter.call("wait", id=job["id"])
    assert done["metadata"] == {"output": {"race": "worker"}}
    waiting = await go_adapter.call("insert", behavior="cooperative_cancel")
    panicking = await go_adapter.call("insert", behavior="cancel_panic")
    for row in (waiting, panicking):
        await go_adapter.call("wait", id=row["id"], states=["running"])
    await go_adapter.call("stop", cancel=True)
    interrupted = await go_adapter.call("get", id=waiting["id"])
    assert (interrupted["state"], interrupted["attempt"]) == ("available", 0)
    panicked = await go_adapter.call("get", id=panicking["id"])
    assert (panicked["state"], panicked["attempt"]) == ("cancelled", 1)
    stats = await go_adapter.call("runtime_stats")
    assert stats["error_handler_calls"] == 1
    assert sorted(stats["events"]) == ["job_cancelled", "job_completed", "job_interrupted"]


async def test_claim_barrier_holds_the_first_claim(go_adapter: Adapter) -> None:
    await go_adapter.call("barrier_create", name="claim")
    await go_adapter.call("start", client_id="claims", claim_barrier="claim")
    job = await go_adapter.call("insert", behavior="cooperative_cancel")
    await go_adapter.call("wait", id=job["id"], states=["running"])
    # Nothing tells that the client has heard of it: repeat it for as long as a message may take.
    for _ in range(100):
        await go_adapter.call("cancel", id=job["id"])
    await go_adapter.call("barrier_release", name="claim")
    done = await go_adapter.call("wait", id=job["id"])
    assert done["state"] == "cancelled"
    assert (await go_adapter.call("runtime_stats"))["cancelled_at_start"] == 1
    await go_adapter.call("stop")


async def test_work_runs_one_job(go_adapter: Adapter) -> None:
    job = await go_adapter.call("insert", behavior="error", opts={"queue": "alone"})
    worked = await go_adapter.call("work", id=job["id"], client_id="short-lived")
    assert worked["attempted_by"] == ["short-lived"]
    assert len(worked["errors"]) == 1
    await go_adapter.refused("work", "not_found", id=job["id"] + 1)


async def test_leadership_periodic_jobs_and_faults(go_adapter: Adapter) -> None:
    assert await go_adapter.call("leader") == {"elected_at": None, "leader_id": None}
    await go_adapter.refused(
        "start",
        "rejected",
        client_id="never",
        leader_election_disabled=True,
        periodic_run_on_start=True,
    )
    await go_adapter.refused("start", "rejected", client_id="never", periodic_unique=True)
    for tuning in ("elect_interval_ms", "rescuer_interval_ms", "scheduler_interval_ms"):
        await go_adapter.refused("start", "unsupported", client_id="never", **{tuning: 20})
    await go_adapter.call(
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
    await go_adapter.call("request_resign")
    await _until(
        go_adapter, "leader", lambda leader: leader["elected_at"] not in (None, term["elected_at"])
    )
    await go_adapter.call("tx_begin", handle="r")
    await go_adapter.call("request_resign", handle="r")
    await go_adapter.call("tx_rollback", handle="r")
    await _until(go_adapter, "listener_count", lambda result: result["count"] == 1)
    assert (await go_adapter.call("connection_count"))["count"] >= 2
    assert (await go_adapter.call("fault_disconnect_listeners"))["count"] == 1
    await _until(go_adapter, "listener_count", lambda result: result["count"] == 1)
    cut = await go_adapter.call(
        "fault_disconnect_application", application_name=go_adapter.application_name
    )
    assert cut["count"] >= 1
    await _until(go_adapter, "listener_count", lambda result: result["count"] == 1)
    await go_adapter.call("fault_expire_leader")
    await go_adapter.call("stop", cancel=True)


async def test_raw_rows(go_adapter: Adapter) -> None:
    full = await go_adapter.call("raw_insert_full_row")
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
    row = await go_adapter.call("raw_job_row", id=full["id"])
    assert row["unique_key"] == "AB" * 32
    assert row["unique_states"] == "11110101"
    assert row["tags"] == "{alpha_tag,beta_tag}"
    exact = await go_adapter.call("raw_insert_exact_json", id=2**53 + 1)
    assert exact == {"id": 2**53 + 1}
    assert await go_adapter.call("raw_job_exact_json", **exact) == {
        "decimal": "0.12345678901234567890123456789",
        "integer": "9223372036854775807",
        "negative": "-9223372036854775808",
    }
    row = await go_adapter.call("raw_job_row", **exact)
    assert row["metadata"] == '{"negative": -9223372036854775808}'
    assert row["scheduled_at"] == row["created_at"]
    assert await go_adapter.call("raw_job_timestamps", **exact) == {
        "created_at": row["created_at"],
        "scheduled_at": row["scheduled_at"],
    }
    await go_adapter.refused("raw_notifications", "unsupported", after_id=0)
    silent = await go_adapter.call("raw_insert_no_notify", kind="another_kind", message="m")
    assert silent["kind"] == "another_kind"
    await go_adapter.refused("raw_finalize", "not_found", id=silent["id"], state="completed")
    await go_adapter.call("barrier_create", name="held")
    await go_adapter.call("start", client_id="finalizes")
    held = await go_adapter.call("insert", behavior="barrier_wait", message="held")
    await go_adapter.call("wait", id=held["id"], states=["running"])
    final = await go_adapter.call(
        "raw_finalize", id=held["id"], state="discarded", metadata={"external": 1}
    )
    assert final["errors"][0]["error"] == "external discard"
    await go_adapter.call("stop", cancel=True)
    kept = await go_adapter.call("get", id=held["id"])
    assert (kept["state"], kept["metadata"]) == ("discarded", {"external": 1})


async def test_goldens(go_adapter: Adapter) -> None:
    await go_adapter.call("clock_set", now="2026-01-02T03:04:05.6789Z")
    await go_adapter.call("rng_seed", seed=2**64 - 1)
    delay = await go_adapter.call("retry_delay", error_count=2, job_id=1)
    assert 14_400_000_000 <= delay["delay_ns"] <= 17_601_000_000
    capped = await go_adapter.call("retry_delay", error_count=310, job_id=1)
    assert capped == {"delay_ns": 2**63 - 1}
    cron = await go_adapter.call(
        "cron_next",
        expression="30 2 * * *",
        **{"from": "2026-01-02T03:04:05+05:30"},
        count=2,
    )
    assert cron == {"next": ["2026-01-03T02:30:00+05:30", "2026-01-04T02:30:00+05:30"]}
    await go_adapter.refused(
        "cron_next",
        "rejected",
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
    assert await go_adapter.call("unique_key", **case) == {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "state_mask": 245,
    }
    await go_adapter.refused("unique_key", "rejected", **{**case, "args": [1]})
    selected = {
        **case,
        "kind": "conformance_selected_args",
        "args": {"label": None, "note": "left out", "account": {"name": "left out"}},
        "selected_unique_components": [["label"]],
    }
    text = '&kind=conformance_selected_args&args={"label":null}'
    result = await go_adapter.call("unique_key", **selected)
    assert result["sha256"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
async def schema(database_url: str) -> AsyncIterator[str]:
    """The longest name of a schema; ``migrate`` makes it, and nothing takes it away again."""
    name = "c" * 46
    yield name
    await _execute(database_url, f"DROP SCHEMA IF EXISTS {name} CASCADE")


async def test_migrate_schemas_and_reset(schema: str, go_adapter: Adapter) -> None:
    up = await go_adapter.call("migrate", schema=schema)
    assert up == {"applied": list(range(1, 9)), "existing": list(range(1, 9)), "valid": True}
    down = await go_adapter.call("migrate", direction="down", schema=schema, max_steps=2)
    assert down == {"applied": [8, 7], "existing": list(range(1, 7)), "valid": False}
    dry = await go_adapter.call("migrate", direction="up", schema=schema, dry_run=True)
    assert dry == {"applied": [7, 8], "existing": list(range(1, 7)), "valid": False}
    await go_adapter.call("migrate", schema=schema)
    job = await go_adapter.call("insert", message="elsewhere", schema=schema)
    worked = await go_adapter.call("work", id=job["id"], schema=schema)
    assert worked["state"] == "completed"
    assert await go_adapter.call("get", id=job["id"], schema=schema) == worked
    await go_adapter.call("reset", schema=schema)
    await go_adapter.refused("get", "not_found", id=job["id"], schema=schema)
    for method in ("migrate", "reset", "insert"):
        await go_adapter.refused(method, "rejected", schema="c" * 47)
    gone = await go_adapter.call("migrate", direction="down", schema=schema, target_version=-1)
    assert gone["existing"] == []
    await go_adapter.call("insert", message="kept until reset")
    await go_adapter.call("reset")
    assert (await go_adapter.call("list"))["jobs"] == []


async def test_a_wait_that_misses_its_states(go_adapter: Adapter) -> None:
    job = await go_adapter.call("insert", message="nobody works")
    before = datetime.now(UTC)
    await go_adapter.refused("wait", "rejected", id=job["id"])
    assert datetime.now(UTC) - before < timedelta(seconds=40)
