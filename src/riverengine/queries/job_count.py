"""How many jobs there are by state and queue, and which kinds: plain reads, as River UI's.

Source: riverpgxv5 river_job.sql at v0.51.1 (protocol 10.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riverengine.queries.job_filter import check_at_most, check_limit, check_texts
from riverengine.queries.statement import Executor, statement
from riverengine.types.job import JobState

_FILE = "job_count.sql"
_BY_STATE = statement(_FILE, "job_count_by_state")
_BY_STATE_AT_MOST = statement(_FILE, "job_count_by_state_at_most")
_BY_QUEUE_AND_STATE = statement(_FILE, "job_count_by_queue_and_state")
_QUEUE_STATS = statement(_FILE, "queue_stats")
_KINDS = statement(_FILE, "job_kind_list")


@dataclass(frozen=True, slots=True)
class JobCountByQueueAndState:
    """A queue's jobs that wait to be fetched, and those that run."""

    queue: str
    count_available: int
    count_running: int


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How a queue stands.

    paused_at: None while it is worked.  count_due: jobs that could run now.  count_running: that
    run.  count_later: scheduled ones and ones to retry.  latency: how long the job that is due
    longest has waited, by the database's clock; zero when none waits.
    """

    queue: str
    paused_at: datetime | None
    count_due: int
    count_running: int
    count_later: int
    latency: timedelta


async def job_count_by_state(
    db: Executor, *, schema: str | None, at_most: int | None, timeout: float | None = None
) -> dict[JobState, int]:
    """Jobs in every state, zeros included; at_most: count no state further."""
    check_at_most(at_most)
    if at_most is None:
        records = await db.fetch(_BY_STATE.sql(schema), timeout=timeout)
    else:
        records = await db.fetch(_BY_STATE_AT_MOST.sql(schema), at_most, timeout=timeout)
    counts = {JobState(record["state"]): record["count"] for record in records}
    return {state: counts.get(state, 0) for state in JobState}


async def job_count_by_queue_and_state(
    db: Executor,
    *,
    schema: str | None,
    queues: Sequence[str],
    at_most: int | None,
    timeout: float | None = None,
) -> list[JobCountByQueueAndState]:
    """Available and running jobs of each queue named, by name, zeros included."""
    check_at_most(at_most)
    check_texts("queues", queues)
    records = await db.fetch(
        _BY_QUEUE_AND_STATE.sql(schema), list(queues), at_most, timeout=timeout
    )
    return [
        JobCountByQueueAndState(record["queue"], record["count_available"], record["count_running"])
        for record in records
    ]


async def queue_stats(
    db: Executor,
    *,
    schema: str | None,
    queues: Sequence[str] | None,
    at_most: int | None,
    timeout: float | None = None,
) -> list[QueueStats]:
    """How queues stand, by name; queues: None for all that have a row or jobs to run."""
    check_at_most(at_most)
    check_texts("queues", queues)
    names = None if queues is None else list(queues)
    records = await db.fetch(_QUEUE_STATS.sql(schema), names, at_most, timeout=timeout)
    return [
        QueueStats(
            queue=record["queue"],
            paused_at=record["paused_at"],
            count_due=record["count_due"],
            count_running=record["count_running"],
            count_later=record["count_later"],
            latency=record["latency"] or timedelta(0),
        )
        for record in records
    ]


async def job_kind_list(
    db: Executor,
    *,
    schema: str | None,
    after: str,
    match: str,
    exclude: Sequence[str],
    limit: int,
    timeout: float | None = None,
) -> list[str]:
    """Kinds of stored jobs, by name: behind ``after``, containing ``match``, not in ``exclude``."""
    check_limit(limit)
    check_texts("exclude", exclude)
    check_texts("match", (after, match))
    records = await db.fetch(
        _KINDS.sql(schema), after, match, list(exclude), limit, timeout=timeout
    )
    return [record["kind"] for record in records]
