"""Rows of ``river_job`` as Python data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

JobId = NewType("JobId", int)
"""Primary key of a job: a signed 64-bit integer."""

Json = Any
"""A decoded JSON value: the one place where ``Any`` is allowed."""


class JobState(StrEnum):
    """States of ``river_job_state``, in the order of the PostgreSQL enum."""

    AVAILABLE = "available"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    DISCARDED = "discarded"
    PENDING = "pending"
    RETRYABLE = "retryable"
    RUNNING = "running"
    SCHEDULED = "scheduled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state never runs again by itself."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.CANCELLED, JobState.COMPLETED, JobState.DISCARDED})


@dataclass(frozen=True, slots=True)
class AttemptError:
    """One element of ``river_job.errors``.

    at: start of the failed execution.  trace: traceback text, "" when there is none.  at_text:
    ``at`` as stored, since Go writes nanoseconds, which a datetime cannot hold.
    """

    at: datetime
    attempt: int
    error: str
    trace: str = ""
    at_text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A row of ``river_job``; times are aware UTC.

    ``encoded_args`` and ``metadata_json`` keep the stored JSON text: decoding costs more than the
    fetch itself, so it happens only when asked for.
    """

    id: JobId
    state: JobState
    attempt: int
    max_attempts: int
    attempted_at: datetime | None
    created_at: datetime
    finalized_at: datetime | None
    scheduled_at: datetime
    priority: int
    encoded_args: str = field(repr=False)  # private, perhaps, as metadata
    attempted_by: tuple[str, ...]
    errors: tuple[AttemptError, ...]
    kind: str
    metadata_json: str = field(repr=False)
    queue: str
    tags: tuple[str, ...]
    unique_key: bytes | None
    unique_states: frozenset[JobState] | None

    @property
    def args(self) -> Json:
        """The stored args, decoded."""
        return json.loads(self.encoded_args)

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The stored metadata, decoded; empty when it is not a JSON object."""
        value = json.loads(self.metadata_json)
        return value if isinstance(value, dict) else {}

    @property
    def output(self) -> Json:
        """What the worker recorded with :func:`riverengine.record_output`, or None."""
        return self.metadata.get("output")
