"""Hears of jobs that ignore their timeout, and may let another job take their place.

Source: stuck_job.go at v0.51.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from riverengine.types.job import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStuckHandlerParams:
    """A job that runs on ``Config.job_stuck_threshold`` after its timeout.

    total_stuck_jobs: jobs of all the client's queues that are stuck, this one included.
    """

    id: JobId
    kind: str
    queue: str
    total_stuck_jobs: int


@dataclass(frozen=True, slots=True)
class JobStuckHandlerResult:
    """What the handler decides.

    add_worker_slot: run another job in the stuck one's place. The queue then runs more jobs than
    its ``max_workers``, since the stuck one goes on.
    """

    add_worker_slot: bool = False


JobStuckHandler = Callable[
    [JobStuckHandlerParams],
    JobStuckHandlerResult | Awaitable[JobStuckHandlerResult | None] | None,
]
"""Called once per stuck job, on the event loop: a coroutine function, or a plain one that must not
block. What it raises is logged, and adds no slot."""
