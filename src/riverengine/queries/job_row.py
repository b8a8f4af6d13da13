"""Turns records of ``river_job`` into :class:`JobRow`, leniently.

Source: riverdriver/attempt_error.go at v0.51.1. A stored error of an odd shape is read as well as
it can be and never fails its row, since the row is already claimed when it is read.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from riverengine.queries.statement import Record
from riverengine.types.job import AttemptError, JobId, JobRow, JobState, Json

_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})", re.ASCII
)
_STATES_BY_BIT = (
    *(JobState.SCHEDULED, JobState.RUNNING, JobState.RETRYABLE, JobState.PENDING),
    *(JobState.DISCARDED, JobState.COMPLETED, JobState.CANCELLED, JobState.AVAILABLE),
)


def job_row_from_record(record: Record) -> JobRow:
    """The row of a record that has all columns of ``river_job``."""
    unique_states = record["unique_states"]
    return JobRow(
        id=JobId(record["id"]),
        state=JobState(record["state"]),
        attempt=max(record["attempt"], 0),
        max_attempts=max(record["max_attempts"], 0),
        attempted_at=record["attempted_at"],
        created_at=_aware(record["created_at"]),
        finalized_at=record["finalized_at"],
        scheduled_at=_aware(record["scheduled_at"]),
        priority=max(record["priority"], 0),
        encoded_args=record["args"],
        attempted_by=tuple(record["attempted_by"] or ()),
        errors=tuple(attempt_error(text) for text in record["errors"] or ()),
        kind=record["kind"],
        metadata_json=record["metadata"],
        queue=record["queue"],
        tags=tuple(record["tags"] or ()),
        unique_key=record["unique_key"],
        unique_states=None if unique_states is None else _states(unique_states.as_string()),
    )


def _states(bits: str) -> frozenset[JobState]:
    digits = bits.replace(" ", "")
    return frozenset(state for state, bit in zip(_STATES_BY_BIT, digits, strict=True) if bit == "1")


def undecodable_job_row(record: Record) -> JobRow:
    """What is surely readable of a record that does not decode, enough to fail its attempt."""
    return JobRow(
        id=JobId(record["id"]),
        state=JobState.RUNNING,
        attempt=max(record["attempt"], 0),
        max_attempts=max(record["max_attempts"], 0),
        attempted_at=record["attempted_at"],
        created_at=_ZERO_TIME,
        finalized_at=None,
        scheduled_at=record["attempted_at"],
        priority=1,
        encoded_args="{}",
        attempted_by=(),
        errors=(),
        kind=record["kind"],
        metadata_json="{}",
        queue=record["queue"],
        tags=(),
        unique_key=None,
        unique_states=None,
    )


def attempt_error(text: str) -> AttemptError:
    """One element of ``errors``: unknown keys are ignored, odd values read as River reads them."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return AttemptError(_ZERO_TIME, 0, text)
    if not isinstance(value, dict):
        return AttemptError(_ZERO_TIME, 0, value if isinstance(value, str) else text)
    return AttemptError(
        at=_time(value.get("at")),
        at_text=_plain_text(value.get("at")),
        attempt=_attempt(value.get("attempt")),
        error=_text(value.get("error")),
        trace=_text(value.get("trace")),
    )


def _plain_text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _aware(value: datetime) -> datetime:
    # The driver reads PostgreSQL's infinities as times without a zone.
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _time(value: Json) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return _ZERO_TIME
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return _ZERO_TIME


def _attempt(value: Json) -> int:
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            return 0
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else 0


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
