"""What becomes of a job when its attempt ends: pure decisions, no I/O.

Source: internal/jobexecutor/job_executor.go at v0.51.1 (protocol 7.2 to 7.7).
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from riverengine.types.errors import RiverError
from riverengine.types.event import EventKind
from riverengine.types.job import JobRow, JobState, Json
from riverengine.types.signals import JobCancel, JobSignal, JobSnooze
from riverengine.work.go_json import encode_json, format_time
from riverengine.work.retry import later
from riverengine.work.snoozes import next_snooze_count

SHORT_DELAY = timedelta(seconds=5)
"""Delays up to the scheduler's interval are written as ``available``: fetching awaits the time."""

MAX_ERROR_CHARS = 100_000
"""Longest error or trace stored; the rest is cut."""

REMOTE_TRACE = "riverengine_trace"
"""Attribute of an error that came from a work process: its traceback there, as text."""

REMOTE_CANCEL_REASON = "job cancelled remotely"


@dataclass(frozen=True, slots=True)
class Completed:
    """The work is done."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    error: what went wrong.  retry_at: None for the worker's or the client's policy.  permanent:
    never retried, whatever attempts are left.  cancelled: never retried, and the job ends as
    cancelled rather than discarded.
    """

    error: BaseException | str
    retry_at: datetime | None = None
    permanent: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job must not run again; ``reason`` is stored as its error."""

    reason: str


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The job runs again after ``duration``; the attempt does not count."""

    duration: timedelta


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The client stopped before the work was done; the attempt does not count."""


Outcome = Completed | Failed | Cancelled | Snoozed | Interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinish:
    """The columns an outcome writes; None leaves a column as it is.

    event_if_available: the event to tell when the row ends ``available``, a state several outcomes
    share.
    """

    state: JobState
    event_if_available: EventKind = EventKind.JOB_FAILED
    attempt: int | None = None
    error_json: str | None = None
    finalized_at: datetime | None = None
    metadata_json: str | None = None
    scheduled_at: datetime | None = None


def completed_at(at: datetime) -> JobFinish:
    """The columns of a job that is done, and nothing else."""
    return JobFinish(state=JobState.COMPLETED, finalized_at=at)


def outcome_of(
    error: BaseException | None,
    *,
    cancelled_remotely: bool = False,
    stopping: bool = False,
    timed_out: timedelta | None = None,
) -> Outcome:
    """The outcome of a worker that returned (``error`` is None) or raised.

    cancelled_remotely, stopping: why the client cancelled the work, if it did.  timed_out: the
    timeout that passed, if one did.
    """
    if error is None:
        return Completed()
    if cancelled_remotely:
        return Cancelled(REMOTE_CANCEL_REASON)
    for each in error_chain(error):
        if isinstance(each, JobSnooze):
            return Snoozed(each.duration)
        if isinstance(each, JobCancel):
            return Cancelled(str(each.reason))
    if any(isinstance(each, asyncio.CancelledError) for each in error_chain(error)):
        if stopping:
            return Interrupted()
        if timed_out is not None:
            return Failed(f"job timed out after {timed_out.total_seconds():g} s")
    return Failed(error)


def finish_of(
    outcome: Outcome,
    *,
    row: JobRow,
    now: datetime,
    started_at: datetime,
    retry_at: datetime | None = None,
    metadata: Mapping[str, Json] | None = None,
    short_delay: timedelta = SHORT_DELAY,
) -> JobFinish:
    """The columns to write for ``outcome``.

    now: the process's clock.  retry_at: for ``Failed`` with attempts left.  metadata: merged into
    the stored object; values were checked when they were set.  short_delay: up to which a retried
    or snoozed job stays available.
    """
    merged = dict(metadata or {})
    match outcome:
        case Completed():
            return JobFinish(
                state=JobState.COMPLETED, finalized_at=now, metadata_json=_metadata(merged)
            )
        case Cancelled(reason):
            return JobFinish(
                state=JobState.CANCELLED,
                finalized_at=now,
                error_json=_error_entry(f"JobCancelError: {reason}", "", row, started_at),
                metadata_json=_metadata(merged),
            )
        case Snoozed(duration):
            merged["snoozes"] = next_snooze_count(row.metadata.get("snoozes"))
            short = duration <= short_delay
            return JobFinish(
                state=JobState.AVAILABLE if short else JobState.SCHEDULED,
                event_if_available=EventKind.JOB_SNOOZED,
                attempt=row.attempt - 1,
                scheduled_at=later(now, duration),
                metadata_json=_metadata(merged),
            )
        case Interrupted():
            return JobFinish(
                state=JobState.AVAILABLE,
                event_if_available=EventKind.JOB_INTERRUPTED,
                attempt=max(row.attempt - 1, 0),
                scheduled_at=now,
                metadata_json=_metadata(merged),
            )
        case Failed(error, permanent=permanent, cancelled=cancelled):
            entry = _error_entry(error_text(error), _trace(error), row, started_at)
            if cancelled or permanent or row.attempt >= row.max_attempts or retry_at is None:
                return JobFinish(
                    state=JobState.CANCELLED if cancelled else JobState.DISCARDED,
                    finalized_at=now,
                    error_json=entry,
                    metadata_json=_metadata(merged),
                )
            short = retry_at - now <= short_delay
            return JobFinish(
                state=JobState.AVAILABLE if short else JobState.RETRYABLE,
                error_json=entry,
                scheduled_at=retry_at,
                metadata_json=_metadata(merged),
            )


def error_text(error: BaseException | str) -> str:
    """An error as it is stored: River's own as they are, others with their type.

    Of a database's error only type, SQLSTATE and constraint are told: its text quotes values.
    """
    if isinstance(error, str):
        return error
    if isinstance(error, RiverError | JobSignal):
        return str(error)
    name = type(error).__name__
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        constraint = getattr(error, "constraint_name", None)
        return f"{name} ({sqlstate}{', ' + constraint if constraint else ''})"
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the attempt must end, whatever its error is like
        text = "(its text cannot be read)"
    return f"{name}: {text}" if text else name


def event_of(state: JobState, finish: JobFinish) -> EventKind | None:
    """The event of a row that ended in ``state``, whatever was asked for; None for no event."""
    if state is JobState.AVAILABLE:
        return finish.event_if_available
    return _EVENTS.get(state)


_EVENTS = {
    JobState.COMPLETED: EventKind.JOB_COMPLETED,
    JobState.CANCELLED: EventKind.JOB_CANCELLED,
    JobState.DISCARDED: EventKind.JOB_FAILED,
    JobState.RETRYABLE: EventKind.JOB_FAILED,
    JobState.SCHEDULED: EventKind.JOB_SNOOZED,
}


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and the members of groups, as Go's errors.As walks them."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        each = pending.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            pending.extend(each.exceptions)
        if each.__cause__ is not None:
            pending.append(each.__cause__)


def _trace(error: BaseException | str) -> str:
    # Frames only: the message is stored beside them, and locals may hold private data.
    remote: object = getattr(error, REMOTE_TRACE, None)
    if isinstance(remote, str):
        return remote
    if isinstance(error, str | RiverError):
        return ""
    return "".join(traceback.format_tb(error.__traceback__))


def _error_entry(text: str, trace: str, row: JobRow, started_at: datetime) -> str:
    return (
        f'{{"at":{json.dumps(format_time(started_at))},"attempt":{row.attempt},'
        f'"error":{encode_json(_storable(text))},"trace":{encode_json(_storable(trace))}}}'
    )


def _storable(text: str) -> str:
    """Text PostgreSQL accepts: no NUL, no lone surrogates, of bounded length."""
    cut = text if len(text) <= MAX_ERROR_CHARS else text[:MAX_ERROR_CHARS] + " ... (cut)"
    return cut.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _metadata(merged: Mapping[str, Json]) -> str | None:
    return encode_json(merged, "metadata") if merged else None
