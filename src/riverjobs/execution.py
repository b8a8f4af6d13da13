"""Executions, steps and events as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from riverengine import Json


class WorkflowStatus(StrEnum):
    """Status of an execution."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in {WorkflowStatus.PENDING, WorkflowStatus.RUNNING}


class StepStatus(StrEnum):
    """Status of a step.

    retrying: failed, and tried again at ``next_attempt_at``.  waiting: put off by its own worker.
    """

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_open(self) -> bool:
        """Whether the step may still run."""
        return self in OPEN_STEPS


OPEN_STEPS = frozenset(
    {StepStatus.PENDING, StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.WAITING}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowExecution:
    """A row of ``workflow_executions``; ``context`` may hold private data and is not printed.

    error: of a failed or cancelled execution; keys type, message and, of a step, step and attempt.
    queue, priority: what the start asked for all its jobs.
    """

    workflow_id: str
    workflow_type: str
    status: WorkflowStatus
    context: Mapping[str, Json] = field(repr=False)
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    definition_version: int
    org_id: str
    user_id: str
    idempotency_key: str | None
    queue: str | None
    priority: int | None
    error: Mapping[str, Json] | None
    cancel_requested_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStep:
    """A row of ``workflow_steps``. attempt: of its job, 0 before the first."""

    step_id: str
    workflow_id: str
    step_name: str
    status: StepStatus
    input_data: Mapping[str, Json] | None = field(repr=False)
    output_data: Mapping[str, Json] | None = field(repr=False)
    error_message: str | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    position: int
    depends_on: Sequence[str]
    attempt: int
    job_id: int | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEvent:
    """A row of ``workflow_events``: what happened when."""

    event_id: int
    workflow_id: str
    at: datetime
    kind: str
    step_name: str | None
    attempt: int | None
    detail: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """An execution with its steps, in the definition's order."""

    execution: WorkflowExecution
    steps: Sequence[WorkflowStep]
