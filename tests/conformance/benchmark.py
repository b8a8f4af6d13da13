"""Measures one adapter as River's performance gate does: enqueue, work, both at once."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.conformance.adapter import Adapter, InsertJson, JobJson
from tests.conformance.observer import Observer
from tests.conformance.waiting import instant, until

MODES = ("enqueue", "worker", "mixed")
RUNS = 3
"""Runs whose median counts."""
TRIES = 3
"""Measurements of which one has to be inside the bounds; a shared machine spoils some."""
WORK_MS = 10
JOBS = int(os.environ.get("RIVERJOBS_CONFORMANCE_JOBS", "1000"))
"""Jobs per run."""


@dataclass(frozen=True)
class Metrics:
    """What one adapter reached."""

    per_second: float
    p95_ms: float
    cpu_ms: float = 0.0
    """Processor time of the adapter per job."""

    def __str__(self) -> str:
        return (
            f"{self.per_second:,.0f} jobs/s, p95 {self.p95_ms:.1f} ms,"
            f" {self.cpu_ms:.2f} ms of CPU a job"
        )


@dataclass(frozen=True)
class Bounds:
    """Relative to the reference on the same machine in the same run."""

    least_throughput: float
    most_p95: float

    def violations(self, candidate: Metrics, reference: Metrics) -> list[str]:
        """What is outside, in words."""
        found = []
        if candidate.per_second < reference.per_second * self.least_throughput:
            found.append(f"throughput {candidate.per_second / reference.per_second:.0%}")
        if candidate.p95_ms > reference.p95_ms * self.most_p95:
            found.append(f"p95 {candidate.p95_ms / reference.p95_ms:.2f} times")
        return found


BOUNDS = {
    "enqueue": Bounds(least_throughput=0.8, most_p95=1.25),
    "worker": Bounds(least_throughput=1.0, most_p95=1.25),
    "mixed": Bounds(least_throughput=1.0, most_p95=1.25),
}
"""River's gate, tightened."""
GROUP_BOUNDS = {
    "enqueue": Bounds(least_throughput=0.4, most_p95=2.0),
    "worker": Bounds(least_throughput=0.8, most_p95=1.25),
    "mixed": Bounds(least_throughput=0.8, most_p95=1.25),
}
"""River's own, for engines against the slowest other: two of one program differ by noise alone."""


async def run(adapter: Adapter, observer: Observer, mode: str, jobs: int = JOBS) -> Metrics:
    """One run on empty tables."""
    await adapter.call("reset")
    cpu = adapter.cpu_seconds

    def cpu_ms() -> float:
        return (adapter.cpu_seconds - cpu) * 1000 / jobs

    if mode == "enqueue":
        took = await adapter.call("benchmark_enqueue", jobs=jobs)
        return Metrics(jobs / (took["duration_ns"] / 1e9), took["p95_ns"] / 1e6, cpu_ms())

    async def insert(number: int) -> int:
        job = await adapter.insert(f"{mode} {number}", behavior="sleep", duration_ms=WORK_MS)
        return job["id"]

    ids: list[int] = []
    if mode == "worker":
        batch: list[InsertJson] = [
            {"behavior": "sleep", "duration_ms": WORK_MS, "message": f"{mode} {number}"}
            for number in range(jobs)
        ]
        ids = [each["job"]["id"] for each in await adapter.insert_many(batch)]
    workers = 32 if mode == "worker" else 128
    await adapter.start(f"{adapter.name}-benchmark", max_workers=workers)
    begin = time.perf_counter()
    if mode == "mixed":
        ids = await asyncio.gather(*[insert(number) for number in range(jobs)])
    await until(
        # Asked by the runner itself: an adapter that answers questions works less.
        lambda: observer.value("SELECT count(*) FROM river_job WHERE state = 'completed'"),
        lambda completed: completed == jobs,
        within=120,
        what=f"{jobs} jobs of {adapter.name}",
    )
    seconds = time.perf_counter() - begin
    await adapter.stop()
    used = cpu_ms()
    worked = await adapter.jobs("list", limit=jobs)
    assert {job["id"] for job in worked} == set(ids)
    latencies = sorted(
        1000 * (instant(job["finalized_at"]) - _begin_of(job, mode)).total_seconds()
        for job in worked
    )
    assert {job["state"] for job in worked} == {"completed"}
    return Metrics(jobs / seconds, latencies[math.ceil(jobs * 0.95) - 1], used)


def _begin_of(job: JobJson, mode: str) -> datetime:
    return instant(job["attempted_at"] if mode == "worker" else job["created_at"])


async def side_by_side(adapters: Sequence[Adapter], observer: Observer, mode: str) -> list[Metrics]:
    """Medians of runs that take turns, so that a slow minute meets all."""
    runs = [[await run(adapter, observer, mode) for adapter in adapters] for _ in range(RUNS)]
    return [
        Metrics(
            statistics.median(one.per_second for one in column),
            statistics.median(one.p95_ms for one in column),
            statistics.median(one.cpu_ms for one in column),
        )
        for column in zip(*runs, strict=True)
    ]


async def gate(
    adapters: Sequence[Adapter],
    observer: Observer,
    mode: str,
    violations: Callable[[list[Metrics]], list[str]],
    note: Callable[[str, object], None],
) -> None:
    """Measure until one measurement is inside the bounds; each is printed and noted."""
    for adapter in adapters:
        await run(adapter, observer, mode, max(20, JOBS // 10))
    outside: list[str] = []
    for _ in range(TRIES):
        metrics = await side_by_side(adapters, observer, mode)
        outside = violations(metrics)
        line = "; ".join(
            f"{adapter.name} {each}" for adapter, each in zip(adapters, metrics, strict=True)
        )
        print(f"\n{mode}: {line}{'; outside: ' + ', '.join(outside) if outside else ''}")
        note(mode, f"{line}{' (outside)' if outside else ''}")
        if not outside:
            return
    raise AssertionError(f"{mode} stayed outside its bounds: {outside}")
