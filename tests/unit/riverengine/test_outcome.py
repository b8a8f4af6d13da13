"""Which outcome an attempt has, and which columns it writes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import JobCancel, JobRow, JobSnooze, JobState, UnknownJobKindError
from riverengine.types.event import EventKind
from riverengine.types.job import JobId
from riverengine.work.outcome import (
    Cancelled,
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Snoozed,
    completed_at,
    error_text,
    event_of,
    finish_of,
    outcome_of,
)

NOW = datetime(2026, 8, 7, 14, 32, 57, 120000, tzinfo=UTC)
STARTED = NOW - timedelta(seconds=2)
ROW = JobRow(
    id=JobId(7),
    state=JobState.RUNNING,
    attempt=3,
    max_attempts=5,
    attempted_at=STARTED,
    created_at=STARTED,
    finalized_at=None,
    scheduled_at=STARTED,
    priority=1,
    encoded_args="{}",
    attempted_by=("me",),
    errors=(),
    kind="note",
    metadata_json="{}",
    queue="default",
    tags=(),
    unique_key=None,
    unique_states=None,
)
CANCELLED = asyncio.CancelledError()


def _unique_violation() -> asyncpg.UniqueViolationError:
    error = asyncpg.UniqueViolationError("duplicate key value")
    error.detail = "Key (email)=(ann@example.com) already exists."
    error.constraint_name = "users_email_key"
    return error


@pytest.mark.parametrize(
    ("error", "remote", "stopping", "expected"),
    [
        (None, False, False, Completed()),
        (None, True, False, Completed()),
        (None, False, True, Completed()),
        (JobCancel("why"), False, False, Cancelled("why")),
        (JobSnooze(timedelta(1)), False, False, Snoozed(timedelta(1))),
        (JobSnooze(timedelta(1)), True, False, Cancelled("job cancelled remotely")),
        (CANCELLED, True, True, Cancelled("job cancelled remotely")),
        (CANCELLED, False, True, Interrupted()),
        (ExceptionGroup("group", [ValueError(), OSError()]), True, False, None),
        (BaseExceptionGroup("group", [JobCancel("in")]), False, False, Cancelled("in")),
        (BaseExceptionGroup("group", [CANCELLED]), False, True, Interrupted()),
    ],
)
def test_outcome_of(
    error: BaseException | None, remote: bool, stopping: bool, expected: Outcome | None
) -> None:
    found = outcome_of(error, cancelled_remotely=remote, stopping=stopping)
    assert found == (expected or Cancelled("job cancelled remotely"))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), CANCELLED])
def test_other_errors_fail(error: BaseException) -> None:
    assert outcome_of(error) == Failed(error)


def test_an_error_during_a_stop_that_is_no_cancellation_fails() -> None:
    error = ValueError("x")
    assert outcome_of(error, stopping=True) == Failed(error)


def test_a_timeout_is_told_with_its_length() -> None:
    outcome = outcome_of(CANCELLED, timed_out=timedelta(seconds=90))
    assert outcome == Failed("job timed out after 90 s")


def test_completion_without_metadata_is_plain() -> None:
    finish = finish_of(Completed(), row=ROW, now=NOW, started_at=STARTED)
    assert finish == completed_at(NOW)
    more = finish_of(Completed(), row=ROW, now=NOW, started_at=STARTED, metadata={"a": 1})
    assert more.state is JobState.COMPLETED
    assert more.metadata_json == '{"a":1}'


@pytest.mark.parametrize(
    ("delay", "state"),
    [
        (timedelta(0), JobState.AVAILABLE),
        (timedelta(seconds=5), JobState.AVAILABLE),
        (timedelta(seconds=5, microseconds=1), JobState.RETRYABLE),
        (timedelta(days=9), JobState.RETRYABLE),
    ],
)
def test_a_short_retry_is_available_at_once(delay: timedelta, state: JobState) -> None:
    finish = finish_of(Failed("no"), row=ROW, now=NOW, started_at=STARTED, retry_at=NOW + delay)
    assert finish.state is state
    assert finish.scheduled_at == NOW + delay
    assert finish.finalized_at is None


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (dataclasses.replace(ROW, attempt=5), Failed("no")),
        (dataclasses.replace(ROW, attempt=6), Failed("no")),
        (ROW, Failed("no", permanent=True)),
    ],
)
def test_the_last_failure_discards(row: JobRow, outcome: Outcome) -> None:
    finish = finish_of(outcome, row=row, now=NOW, started_at=STARTED, retry_at=NOW)
    assert finish.state is JobState.DISCARDED
    assert finish.finalized_at == NOW
    assert finish.scheduled_at is None


def test_the_error_entry_has_river_s_four_keys() -> None:
    finish = finish_of(Failed("no"), row=ROW, now=NOW, started_at=STARTED, retry_at=NOW)
    assert finish.error_json is not None
    assert json.loads(finish.error_json) == {
        "at": "2026-08-07T14:32:55.12Z",
        "attempt": 3,
        "error": "no",
        "trace": "",
    }


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ("{}", 1),
        ('{"snoozes": 2}', 3),
        ('{"snoozes": 2.9}', 3),
        ('{"snoozes": -2.5}', -1),
        ('{"snoozes": 1e3}', 1001),
        ('{"snoozes": 9007199254740993}', 9007199254740994),
        ('{"snoozes": "4"}', 5),
        ('{"snoozes": "-7"}', -6),
        ('{"snoozes": "4.5"}', 5),
        ('{"snoozes": " 5"}', 1),
        ('{"snoozes": "abc"}', 1),
        ('{"snoozes": ""}', 1),
        ('{"snoozes": true}', 2),
        ('{"snoozes": false}', 1),
        ('{"snoozes": null}', 1),
        ('{"snoozes": [1]}', 1),
        ('{"snoozes": {"a": 1}}', 1),
        ("[1]", 1),
    ],
)
def test_snoozes_count_as_go_counts_them(stored: str, written: int) -> None:
    row = dataclasses.replace(ROW, metadata_json=stored)
    finish = finish_of(Snoozed(timedelta(hours=1)), row=row, now=NOW, started_at=STARTED)
    assert finish.metadata_json == f'{{"snoozes":{written}}}'
    assert finish.attempt == 2


@pytest.mark.parametrize(("attempt", "left"), [(3, 2), (1, 0), (0, 0)])
def test_an_interruption_gives_the_attempt_back(attempt: int, left: int) -> None:
    row = dataclasses.replace(ROW, attempt=attempt)
    finish = finish_of(Interrupted(), row=row, now=NOW, started_at=STARTED)
    assert (finish.state, finish.attempt, finish.scheduled_at) == (JobState.AVAILABLE, left, NOW)
    assert finish.error_json is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("as it is", "as it is"),
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (_unique_violation(), "UniqueViolationError (23505, users_email_key)"),
        (JobCancel("why"), "JobCancelError: why"),
        (
            UnknownJobKindError("x"),
            "job kind is not registered in the client's Workers bundle: x",
        ),
    ],
)
def test_error_text(error: BaseException | str, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Snoozed(timedelta(0)), EventKind.JOB_SNOOZED),
        (Interrupted(), EventKind.JOB_INTERRUPTED),
        (Failed("no"), EventKind.JOB_FAILED),
    ],
)
def test_an_available_row_tells_the_reason(outcome: Outcome, kind: EventKind) -> None:
    finish = finish_of(outcome, row=ROW, now=NOW, started_at=STARTED, retry_at=NOW)
    assert event_of(JobState.AVAILABLE, finish) is kind


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
def test_some_states_tell_nothing(state: JobState) -> None:
    finish = finish_of(Completed(), row=ROW, now=NOW, started_at=STARTED)
    assert event_of(state, finish) is None
