"""Waits of the scenarios: look again and again, with a limit that a busy machine keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from tests.conformance.adapter import Adapter, AdapterError, JobJson, StatsJson

MAINTENANCE_WITHIN = 60.0
"""Seconds for what needs an election and a run of each maintenance service."""

T = TypeVar("T")


class Term(NamedTuple):
    """One term of one leader."""

    leader_id: str
    elected_at: str


async def until(
    look: Callable[[], Awaitable[T]],
    good: Callable[[T], bool],
    *,
    within: float = 20.0,
    what: str = "the condition",
) -> T:
    """What ``look`` sees once it is good."""
    deadline = time.monotonic() + within
    while True:
        seen = await look()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"{what} did not hold within {within} s; last: {seen}"
        await asyncio.sleep(0.02)


async def in_state(
    adapter: Adapter, job_id: int, *states: str, within: float = MAINTENANCE_WITHIN
) -> JobJson:
    """The job once it is in one of the states, by reading it again and again."""
    return await until(
        lambda: adapter.get(job_id),
        lambda job: job["state"] in states,
        within=within,
        what=f"{adapter.name}: job {job_id} in {states}",
    )


async def listed(
    adapter: Adapter, number: int, *, within: float = 20.0, **filters: Any
) -> list[JobJson]:
    """The jobs listed once there are exactly so many."""
    return await until(
        lambda: adapter.jobs("list", **filters),
        lambda jobs: len(jobs) == number,
        within=within,
        what=f"{adapter.name}: {number} jobs of {filters}",
    )


async def saw(adapter: Adapter, good: Callable[[StatsJson], bool]) -> StatsJson:
    """The instrumented client's observations once they are good."""
    return await until(adapter.stats, good, what=f"{adapter.name}: its observations")


async def term(adapter: Adapter) -> Term | None:
    """The term as this adapter reads it."""
    leader = await adapter.call("leader")
    if leader["leader_id"] is None:
        return None
    return Term(leader["leader_id"], leader["elected_at"])


async def next_term(adapter: Adapter, before: Term | None = None) -> Term:
    """The first term that is another than ``before``."""
    found = await until(
        lambda: term(adapter),
        lambda seen: seen is not None and (before is None or seen.elected_at != before.elected_at),
        within=30.0,
        what=f"a term after {before}",
    )
    assert found is not None
    return found


async def leader_other_than(adapter: Adapter, before: str = "") -> str:
    """The leader's id once it is another than ``before``."""
    found = await until(
        lambda: term(adapter),
        lambda seen: seen is not None and seen.leader_id != before,
        within=30.0,
        what=f"a leader other than {before!r}",
    )
    assert found is not None
    return found.leader_id


async def listening(adapter: Adapter) -> None:
    """Wait until the adapter's client hears notifications."""

    async def listeners() -> int:
        try:
            count: int = (await adapter.call("listener_count"))["count"]
        except AdapterError:  # its connection may just have been cut
            return 0
        return count

    await until(listeners, lambda count: count > 0, what=f"{adapter.name}: a listener")


def instant(text: str | None) -> datetime:
    """A time that adapters printed."""
    assert text is not None
    return datetime.fromisoformat(text)


def in_order(values: list[str], *expected: str) -> bool:
    """Whether the expected values occur in this order, others between them."""
    rest = iter(values)
    return all(value in rest for value in expected)
