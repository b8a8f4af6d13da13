"""Engines at work for as long as asked: RIVERJOBS_CONFORMANCE_SOAK_SECONDS, a minute by default."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.conformance.adapter import Adapter
from tests.conformance.fleet import Fleet
from tests.conformance.waiting import leader_other_than

SECONDS = float(os.environ.get("RIVERJOBS_CONFORMANCE_SOAK_SECONDS", "60"))
MOST_CONNECTIONS = 20

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 600)]


async def _batch(adapters: list[Adapter], size: int, worked: Counter[str]) -> None:
    """Insert in turn, and see each job completed by its first attempt."""
    ids = [
        (
            await adapters[number % len(adapters)].insert(
                f"soak {number}", behavior="sleep", duration_ms=5
            )
        )["id"]
        for number in range(size)
    ]
    for job_id in ids:
        job = await adapters[-1].wait(job_id)
        assert (job["state"], job["attempt"], len(job["attempted_by"])) == ("completed", 1, 1), job
        worked[job["attempted_by"][0]] += 1


async def _sample(adapters: list[Adapter], most: Counter[str]) -> None:
    for adapter in adapters:
        count = (await adapter.call("connection_count"))["count"]
        most[adapter.name] = max(most[adapter.name], count)


@pytest.fixture(scope="module")
async def soaked(module_fleet: Fleet) -> Mapping[str, int]:
    """Most connections by adapter during the mixed soak; jobs done under the name ``jobs``."""
    adapters = [await module_fleet.role(name) for name in ("go", "python")]
    await adapters[0].call("reset")
    for adapter in adapters:
        await adapter.start(f"{adapter.name}-soaks", max_workers=8)
    worked: Counter[str] = Counter()
    most: Counter[str] = Counter()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        await _batch(adapters, 20, worked)
        await _sample(adapters, most)
    for adapter in adapters:
        await adapter.stop()
    return {**most, "jobs": worked.total()}


async def test_mixed_soak(
    fleet: Fleet, soaked: Mapping[str, int], request: pytest.FixtureRequest
) -> None:
    request.node.user_properties.append((f"{SECONDS:.0f} s", f"{soaked['jobs']} jobs"))
    assert soaked["jobs"] > 0


async def test_mixed_connection_pool_bound(
    fleet: Fleet, soaked: Mapping[str, int], request: pytest.FixtureRequest
) -> None:
    connections = {name: number for name, number in soaked.items() if name != "jobs"}
    request.node.user_properties.append(("connections", connections))
    assert set(connections) == {"go", "python"}
    assert max(connections.values()) <= MOST_CONNECTIONS


async def test_multi_engine_resource_bound(
    engines: list[Adapter], request: pytest.FixtureRequest
) -> None:
    await engines[0].call("reset")
    for engine in engines:
        await engine.start(f"{engine.name}-bounded", max_workers=1)
    most: Counter[str] = Counter()
    await _batch(engines, 30, Counter())
    await _sample(engines, most)
    request.node.user_properties.append(("connections", dict(most)))
    assert max(most.values()) <= MOST_CONNECTIONS
    for engine in engines:
        await engine.stop()


async def test_multi_engine_soak(engines: list[Adapter], request: pytest.FixtureRequest) -> None:
    await engines[0].call("reset")
    by_id = {f"{engine.name}-soaks": engine for engine in engines}
    for client_id, engine in by_id.items():
        await engine.start(client_id, max_workers=8)
    worked: Counter[str] = Counter()
    most: Counter[str] = Counter()
    deadline = time.monotonic() + SECONDS
    batches = terms = 0
    while time.monotonic() < deadline:
        await _batch(engines, 10 * len(engines), worked)
        await _sample(engines, most)
        batches += 1
        if batches % 10 == 0:
            leader = await leader_other_than(engines[0])
            await by_id[leader].stop()
            await leader_other_than(engines[0], leader)
            await by_id[leader].start(leader, max_workers=8)
            terms += 1
    request.node.user_properties.append(
        (f"{SECONDS:.0f} s", f"{worked.total()} jobs, {terms} changes of leader")
    )
    assert set(worked) == set(by_id), "an engine worked nothing"
    assert max(most.values()) <= MOST_CONNECTIONS
    for engine in engines:
        await engine.stop()
