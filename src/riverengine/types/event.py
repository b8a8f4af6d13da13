"""What happened to the jobs and queues a client works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from riverengine.types.job import JobRow


class EventKind(StrEnum):
    """River's seven kinds of event."""

    JOB_CANCELLED = "job_cancelled"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    JOB_INTERRUPTED = "job_interrupted"
    JOB_SNOOZED = "job_snoozed"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_RESUMED = "queue_resumed"


@dataclass(frozen=True, slots=True)
class JobStats:
    """How long the parts of one execution took.

    complete: from the worker's return to the stored outcome.  queue_wait: from ``scheduled_at`` to
    the start.  run: the worker itself.
    """

    complete: timedelta
    queue_wait: timedelta
    run: timedelta


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``job`` and ``stats`` for job kinds, ``queue`` (a name) for queue kinds."""

    kind: EventKind
    job: JobRow | None = None
    stats: JobStats | None = None
    queue: str | None = None
