"""Python beside Go on one machine: throughput, latency, transactions, connections.

Run by ``make conformance``; figures of a shared machine fail no build.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.conformance.adapter import Adapter, InsertJson
from tests.conformance.benchmark import BOUNDS, GROUP_BOUNDS, MODES, Metrics, gate
from tests.conformance.observer import Observer
from tests.conformance.waiting import listed

pytestmark = [pytest.mark.performance, pytest.mark.timeout(900)]

MOST_CONNECTIONS = 20


async def _compare(
    go: Adapter, python: Adapter, observer: Observer, mode: str, request: pytest.FixtureRequest
) -> None:
    def violations(metrics: list[Metrics]) -> list[str]:
        return BOUNDS[mode].violations(candidate=metrics[1], reference=metrics[0])

    def note(name: str, value: object) -> None:
        request.node.user_properties.append((name, value))

    await gate([go, python], observer, mode, violations, note)


async def test_release_enqueue_performance(
    go: Adapter, python: Adapter, observer: Observer, request: pytest.FixtureRequest
) -> None:
    await _compare(go, python, observer, "enqueue", request)


async def test_release_worker_performance(
    go: Adapter, python: Adapter, observer: Observer, request: pytest.FixtureRequest
) -> None:
    await _compare(go, python, observer, "worker", request)


async def test_release_mixed_performance(
    go: Adapter, python: Adapter, observer: Observer, request: pytest.FixtureRequest
) -> None:
    await _compare(go, python, observer, "mixed", request)


async def test_multi_engine_release_performance(
    engines: list[Adapter], observer: Observer, request: pytest.FixtureRequest
) -> None:
    def note(name: str, value: object) -> None:
        request.node.user_properties.append((name, value))

    for mode in MODES:

        def violations(metrics: list[Metrics], mode: str = mode) -> list[str]:
            found = []
            for number, candidate in enumerate(metrics[1:], start=1):
                others = [each for index, each in enumerate(metrics) if index != number]
                slowest = Metrics(
                    min(each.per_second for each in others), max(each.p95_ms for each in others)
                )
                found += [
                    f"{engines[number].name}: {violation}"
                    for violation in GROUP_BOUNDS[mode].violations(candidate, slowest)
                ]
            return found

        await gate(engines, observer, mode, violations, note)


async def test_completion_batching(
    engine: Adapter, observer: Observer, request: pytest.FixtureRequest
) -> None:
    jobs = 1_000
    await engine.call("reset")
    await engine.start(f"{engine.name}-batches", fetch_poll_interval_ms=1_000, max_workers=jobs)
    await engine.call("barrier_create", name="batch")
    batch: list[InsertJson] = [{"behavior": "barrier_wait", "message": "batch"}] * jobs
    assert len(await engine.insert_many(batch)) == jobs
    await listed(engine, jobs, within=60, limit=jobs, states=["running"])
    before = await observer.next_transaction_id()
    await engine.call("barrier_release", name="batch")
    completed = await listed(engine, jobs, within=60, limit=jobs, states=["completed"])
    writes = await observer.next_transaction_id() - before
    assert {(job["attempt"], len(job["errors"])) for job in completed} == {(1, 0)}
    request.node.user_properties.append((engine.name, f"{writes} transactions"))
    assert writes < jobs / 4
    await engine.stop()


async def test_pool_pressure_completion(
    go: Adapter, python: Adapter, request: pytest.FixtureRequest
) -> None:
    await go.call("reset")
    for adapter in (go, python):
        await adapter.start(f"{adapter.name}-pressed", max_workers=100)
    for adapter in (go, python):
        batch: list[InsertJson] = [
            {
                "behavior": "sleep",
                "duration_ms": 10,
                "message": f"{adapter.name} {number}",
                "opts": {"tags": ["pressure"]},
            }
            for number in range(300)
        ]
        await adapter.insert_many(batch)
    most: Counter[str] = Counter()
    completed = 0
    async with asyncio.timeout(120):
        while completed < 600:
            for adapter in (go, python):
                count = (await adapter.call("connection_count"))["count"]
                most[adapter.name] = max(most[adapter.name], count)
            jobs = await go.jobs("list", limit=600, states=["completed"], tags_all=["pressure"])
            completed = len(jobs)
    assert {(job["attempt"], len(job["errors"])) for job in jobs} == {(1, 0)}
    request.node.user_properties.append(("connections", dict(most)))
    assert max(most.values()) <= MOST_CONNECTIONS, most
    for adapter in (go, python):
        await adapter.stop()
