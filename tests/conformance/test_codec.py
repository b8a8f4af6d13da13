"""What is written byte for byte: keys, payloads, rows, numbers, times."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.adapter import TUNING, Adapter, RawJson
from tests.conformance.conftest import Pair
from tests.conformance.fleet import LATEST_MIGRATION
from tests.conformance.goldens import CRON_INVALID, CRON_VALID, RETRY_BOUNDS, UNIQUE_CASES
from tests.conformance.observer import CHANNELS, Observer
from tests.conformance.registry import CAPABILITIES, METHODS
from tests.conformance.waiting import instant, next_term, term, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

ALL_STATES = [
    "available",
    "cancelled",
    "completed",
    "discarded",
    "pending",
    "retryable",
    "running",
    "scheduled",
]


async def test_adapter_handshake_and_capabilities(engine: Adapter) -> None:
    handshake = await engine.call("handshake")
    assert handshake == {
        "adapter_version": 18,
        "application_name": engine.application_name,
        "backend": "postgres",
        "capabilities": handshake["capabilities"],
        "implementation": engine.implementation,
        "implementation_version": engine.program.version,
        "methods": list(METHODS),
        "migration_lines": {"main": LATEST_MIGRATION},
        "profile": "postgres-full-v1",
        "protocol_revision": 1,
    }
    assert len(handshake["capabilities"]) == len(CAPABILITIES)
    assert set(handshake["capabilities"]) == CAPABILITIES

    await engine.refused("not_a_contract_method", "method_not_found")
    await engine.refused("handshake", "invalid_params", unexpected=True)
    await engine.refused(
        "insert", "invalid_params", message="unknown option", opts={"not_an_option": True}
    )
    for option in sorted(set(TUNING) - engine.program.tuning):
        await engine.refused(
            "start", "unsupported", client_id=f"{engine.name}-tuned", **{option: 20}
        )


async def test_cron_schedule_goldens(engine: Adapter) -> None:
    for expression, reference, expected in CRON_VALID:
        found = await engine.call(
            "cron_next",
            expression=expression,
            **{"from": reference},
            count=max(1, len(expected)),
        )
        times = [instant(text) for text in found["next"]]
        assert times == [instant(text) for text in expected], (expression, reference)
        for time in times:
            assert time.utcoffset() == instant(reference).utcoffset(), (expression, reference)
    for expression in CRON_INVALID:
        await engine.refused(
            "cron_next",
            "rejected",
            expression=expression,
            count=1,
            **{"from": "2026-01-02T03:04:05Z"},
        )


@pytest.mark.parametrize(
    "opts",
    [
        pytest.param(lambda: {"unique": {"by_args": True}}, id="by_args"),
        pytest.param(
            lambda: {
                "scheduled_at": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
                "unique": {"by_period_ms": 60_000},
            },
            id="by_period",
        ),
        pytest.param(
            lambda: {"queue": "unique_queue", "unique": {"by_queue": True}}, id="by_queue"
        ),
        pytest.param(lambda: {"unique": {"by_state": ALL_STATES}}, id="by_state"),
    ],
)
async def test_cross_language_unique_conflict(
    pair: Pair, observer: Observer, opts: Callable[[], dict[str, Any]]
) -> None:
    winner, loser = pair
    await winner.call("reset")
    options = opts()
    job = {"message": "who is first", "opts": options}
    await winner.call("tx_begin", handle="winner")
    await loser.call("tx_begin", handle="loser")
    won = await winner.job("tx_insert", handle="winner", job=job)

    blocked = asyncio.create_task(loser.job("tx_insert", handle="loser", job=job))
    await until(
        lambda: observer.lock_waiters(loser.application_name),
        lambda waiters: waiters > 0,
        what=f"{loser.name} waiting for the open insert",
    )
    assert not blocked.done()
    await winner.call("tx_commit", handle="winner")
    assert await blocked == won
    await loser.call("tx_commit", handle="loser")
    assert await winner.jobs("list") == [won]
    assert await loser.insert("who is first", **options) == won


async def test_deterministic_retry_clock_rng(engine: Adapter) -> None:
    for errors, (shortest, longest) in RETRY_BOUNDS.items():
        for seed in (0, 123, 2**64 - 1):
            await engine.call("clock_set", now="2026-01-02T03:04:05.6789Z")
            await engine.call("rng_seed", seed=seed)
            delay = await engine.call("retry_delay", error_count=errors, job_id=2**53 - 1)
            assert shortest <= delay["delay_ns"] <= longest, errors


async def test_job_row_round_trip_all_fields(pair: Pair) -> None:
    writer, reader = pair
    await writer.call("reset")
    exact = await writer.call("raw_insert_exact_json")
    for adapter in pair:
        numbers = await adapter.call("raw_job_exact_json", id=exact["id"])
        assert numbers["decimal"] == "0.12345678901234567890123456789"
        assert numbers["integer"] == "9223372036854775807"
        assert numbers["negative"] == "-9223372036854775808"

    written = await writer.job("raw_insert_full_row")
    assert await reader.get(written["id"]) == written
    assert written == {
        "args": {"nested": {"enabled": True}, "values": [1, "two", None]},
        "attempt": 3,
        "attempted_at": "2026-01-02T03:04:06.123456Z",
        "attempted_by": ["go-client", "candidate-client"],
        "created_at": "2026-01-02T03:04:05.6789Z",
        "errors": [
            {
                "at": "2026-01-02T03:04:06.123456Z",
                "attempt": 3,
                "error": 'worker failed: escaped "detail"',
                "trace": "frame one\nframe two",
            }
        ],
        "finalized_at": "2026-01-02T03:04:07.000001Z",
        "id": written["id"],
        "kind": "conformance_full_row",
        "max_attempts": 4,
        "metadata": {"output": {"ok": True}, "river:rescue_count": 2, "user": "metadata"},
        "priority": 2,
        "queue": "priority_jobs",
        "scheduled_at": "2026-01-02T03:04:05.999999Z",
        "state": "discarded",
        "tags": ["alpha_tag", "beta_tag"],
        "unique_key": "ab" * 32,
        "unique_states": [
            "available",
            "completed",
            "pending",
            "retryable",
            "running",
            "scheduled",
        ],
    }

    huge = await writer.call(
        "raw_insert_exact_json",
        metadata_json='{"negative":-9223372036854775808,'
        '"big_integer":123456789012345678901234567890,"beyond_float":1e400,'
        '"long_decimal":0.1000000000000000055511151231257827}',
    )
    before = await writer.call("raw_job_exact_json", id=huge["id"])
    assert before["big_integer"] == "123456789012345678901234567890"
    assert before["long_decimal"] == "0.1000000000000000055511151231257827"
    assert before["beyond_float"] == "1" + "0" * 400
    assert await reader.call("raw_job_exact_json", id=huge["id"]) == before
    await reader.call("update", id=huge["id"], output="kept")
    for adapter in pair:
        assert await adapter.call("raw_job_exact_json", id=huge["id"]) == before


async def test_notification_payload_bytes(go: Adapter, python: Adapter, observer: Observer) -> None:
    published = {actor.name: await _publish_everything(actor, observer) for actor in (go, python)}
    assert published["python"] == published["go"]
    assert published["go"] == {
        "insert": [("river_insert", '{"queue": "notification_bytes"}')],
        "cancel": [
            (
                "river_control",
                '{"action" : "cancel", "job_id" : 0, "queue" : "notification_bytes"}',
            )
        ],
        "retry": [],
        "start": [],
        "queue_update": [
            (
                "river_control",
                (
                    '{"action":"metadata_changed","metadata":{"zeta":"\\u003c\\u0026\\u003e",'
                    '"alpha":1,"path":"a\\/b"},"queue":"default"}'
                ),
            )
        ],
        "queue_pause": [("river_control", '{"action":"pause","queue":"default"}')],
        "queue_resume": [("river_control", '{"action":"resume","queue":"default"}')],
        "request_resign": [
            ("river_leadership", '{"action":"request_resign","leader_id":""}'),
            ("river_leadership", '{"leader_id" : "notification-bytes", "action" : "resigned"}'),
        ],
        "stop": [
            ("river_leadership", '{"leader_id" : "notification-bytes", "action" : "resigned"}')
        ],
    }


async def _publish_everything(
    actor: Adapter, observer: Observer
) -> dict[str, list[tuple[str, str]]]:
    """Topic and payload of what each operation publishes, job ids made equal."""
    published: dict[str, list[tuple[str, str]]] = {}
    await actor.call("reset")
    async with AsyncExitStack() as listening:
        listeners = [
            (topic, await listening.enter_async_context(observer.listen(topic)))
            for topic in CHANNELS
        ]

        async def note(operation: str) -> None:
            published[operation] = [
                (topic, re.sub(r'"job_id" : \d+', '"job_id" : 0', payload))
                for topic, listener in listeners
                for payload in await listener.until_marker()
            ]

        job = await actor.insert("notification bytes", queue="notification_bytes")
        await note("insert")
        await actor.call("cancel", id=job["id"])
        await note("cancel")
        await asyncio.sleep(0.25)  # longer than a client holds insert notifications back
        await actor.call("retry", id=job["id"])
        await note("retry")
        await actor.start("notification-bytes", max_workers=1)
        first = await next_term(actor)
        assert first.leader_id == "notification-bytes"
        await note("start")
        # Keys out of order, characters that Go escapes and an escape that it keeps.
        metadata = RawJson('{"zeta":"<&>","alpha":1,"path":"a\\/b"}')
        await actor.call("queue_update", name="default", metadata=metadata)
        await note("queue_update")
        await actor.call("queue_pause", name="default")
        await note("queue_pause")
        await actor.call("queue_resume", name="default")
        await note("queue_resume")
        await actor.call("request_resign")
        await next_term(actor, first)
        await note("request_resign")
        await actor.stop()
        await note("stop")
        assert await term(actor) is None
    return published


UNIQUE_COLUMNS: dict[str, dict[str, Any]] = {
    "by_args": {"unique": {"by_args": True}},
    "by_args_exclude_kind": {"unique": {"by_args": True, "exclude_kind": True}},
    "by_period": {
        "scheduled_at": "2031-02-03T04:05:06.789Z",
        "unique": {"by_period_ms": 3_600_000},
    },
    "by_queue": {"queue": "unique_queue", "unique": {"by_queue": True}},
    "by_state": {"unique": {"by_state": ["available", "pending", "running", "scheduled"]}},
    "combined": {
        "queue": "unique_queue",
        "scheduled_at": "2031-02-03T04:05:06.789Z",
        "unique": {
            "by_args": True,
            "by_period_ms": 86_400_000,
            "by_queue": True,
            "by_state": ALL_STATES,
        },
    },
}


async def test_unique_column_bytes(go: Adapter, python: Adapter) -> None:
    async def stored(writer: Adapter, opts: dict[str, Any]) -> tuple[str | None, str | None]:
        await go.call("reset")
        job = await writer.insert("unique columns", **opts)
        rows = [await reader.call("raw_job_row", id=job["id"]) for reader in (go, python)]
        assert rows[0] == rows[1]
        return rows[0]["unique_key"], rows[0]["unique_states"]

    for name, opts in UNIQUE_COLUMNS.items():
        by_go = await stored(go, opts)
        assert None not in by_go, name
        assert await stored(python, opts) == by_go, name
    for writer in (go, python):
        assert await stored(writer, {}) == (None, None)


async def test_unique_hash_goldens(engine: Adapter) -> None:
    for case in UNIQUE_CASES:
        options = {name: value for name, value in case["options"].items() if value is not None}
        params = {"args": RawJson(case["args"]), "options": options}
        for name, param in (
            ("scheduled_at", "scheduled_at"),
            ("selected_components", "selected_unique_components"),
        ):
            if case[name] is not None:
                params[param] = case[name]
        params |= {name: case[name] for name in ("kind", "name", "now", "queue")}
        if "rejected" in case:
            # An unknown state is no value of the parameter; Python's durations have no nanoseconds.
            await engine.refused(
                "unique_key", "rejected", "invalid_params", "unsupported", **params
            )
        else:
            key = await engine.call("unique_key", **params)
            expected = {"sha256": case["sha256"], "state_mask": case["state_mask"]}
            assert key == expected, case["name"]


async def test_unsafe_int64_job_ids_rpc_list_cursors(pair: Pair) -> None:
    writer, reader = pair
    await writer.call("reset")
    ids = [2**53 + 1, 2**53 + 2]
    for job_id in ids:
        assert (await writer.call("raw_insert_exact_json", id=job_id))["id"] == job_id
        assert (await reader.get(job_id))["id"] == job_id

    page = {"direction": "asc", "ids": ids, "limit": 1, "order_by": "id"}
    first = await writer.call("list", **page)
    assert await reader.call("list", **page) == first
    assert [job["id"] for job in first["jobs"]] == ids[:1]
    for adapter in pair:
        second = await adapter.jobs("list", **page, after=first["cursor"])
        assert [job["id"] for job in second] == ids[1:]

    cancelled = await reader.job("cancel", id=ids[0])
    assert cancelled == await writer.get(ids[0])
    assert (cancelled["id"], cancelled["state"]) == (ids[0], "cancelled")
