"""Job rows as ``riverqueue`` gives them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from riverengine.types.job import JobRow, JobState, Json


@dataclass
class AttemptError:
    """One failed attempt of a job. trace: "" when there is none."""

    at: datetime
    attempt: int
    error: str
    trace: str

    @staticmethod
    def from_dict(data: dict[str, Json]) -> AttemptError:
        """Read the form :meth:`to_json` writes, decoded."""
        return AttemptError(
            at=datetime.fromisoformat(data["at"]),
            attempt=data["attempt"],
            error=data["error"],
            trace=data["trace"],
        )

    def to_json(self) -> str:
        """The form stored in ``river_job.errors``."""
        at = self.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return json.dumps(
            {"at": at, "attempt": self.attempt, "error": self.error, "trace": self.trace}
        )


@dataclass
class Job:
    """A row of ``river_job``, decoded. None stands for columns never written."""

    id: int
    args: dict[str, Json]
    attempt: int
    attempted_at: datetime | None
    attempted_by: list[str] | None
    created_at: datetime
    errors: list[AttemptError] | None
    finalized_at: datetime | None
    kind: str
    max_attempts: int
    metadata: dict[str, Json]
    priority: int
    queue: str
    scheduled_at: datetime
    state: JobState
    tags: list[str]
    unique_key: bytes | None
    unique_states: list[JobState] | None = None

    @staticmethod
    def from_row(row: JobRow) -> Job:
        """The engine's row in this form."""
        return Job(
            id=row.id,
            args=row.args,
            attempt=row.attempt,
            attempted_at=row.attempted_at,
            attempted_by=list(row.attempted_by) or None,
            created_at=row.created_at,
            errors=[
                AttemptError(error.at, error.attempt, error.error, error.trace)
                for error in row.errors
            ]
            or None,
            finalized_at=row.finalized_at,
            kind=row.kind,
            max_attempts=row.max_attempts,
            metadata=dict(row.metadata),
            priority=row.priority,
            queue=row.queue,
            scheduled_at=row.scheduled_at,
            state=row.state,
            tags=list(row.tags),
            unique_key=row.unique_key,
            unique_states=None if row.unique_states is None else sorted(row.unique_states),
        )
