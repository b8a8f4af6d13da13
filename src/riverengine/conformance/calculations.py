"""Methods that calculate without a database, at an instant the harness sets."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from riverengine.conformance.errors import UnsupportedError
from riverengine.conformance.job_params import STATE_LIST, TEXT_LIST, states
from riverengine.conformance.method import NOTHING, Method
from riverengine.conformance.rows import time_json
from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import (
    Anything,
    Flag,
    Integer,
    Items,
    Members,
    Moment,
    Nullable,
    Text,
    moment,
)
from riverengine.insert import unique
from riverengine.insert.options import UniqueOpts
from riverengine.run.maintenance.cron import parse_cron
from riverengine.types.job import AttemptError, JobId, JobRow, JobState, Json
from riverengine.work.go_json import compact_json
from riverengine.work.retry import MAX_DELAY, DefaultRetryPolicy

_GO_MAX_DELAY_NS = 2**63 - 1
_KINDS = (
    "conformance_all_args",
    "conformance_dotted_selected_args",
    "conformance_numeric_boundaries",
    "conformance_selected_args",
    "conformance_simple",
)
_OPTIONS = Members(
    {
        "by_args": Flag(),
        "by_period_nanos": Integer(minimum=0),
        "by_queue": Flag(),
        "by_state": STATE_LIST,
        "exclude_kind": Flag(),
    },
    ("by_args", "by_period_nanos", "by_queue", "exclude_kind"),
)


async def _clock_set(session: Session, call: Call) -> Json:
    session.now = moment(call["now"])
    return NOTHING


async def _rng_seed(session: Session, call: Call) -> Json:
    random.seed(call["seed"])
    return NOTHING


async def _retry_delay(session: Session, call: Call) -> Json:
    now = session.clock()
    errors = [
        AttemptError(now, attempt, "") for attempt in range(1, min(call["error_count"], 1000))
    ]
    job = _failed_job(call["job_id"], errors, now)
    delay = DefaultRetryPolicy().next_retry(job, now) - now
    # Python's durations end at microseconds: the longest one stands for Go's.
    nanoseconds = delay // timedelta(microseconds=1) * 1000
    return {"delay_ns": _GO_MAX_DELAY_NS if delay == MAX_DELAY else nanoseconds}


def _failed_job(job_id: int, errors: list[AttemptError], now: datetime) -> JobRow:
    return JobRow(
        id=JobId(job_id),
        state=JobState.RUNNING,
        attempt=len(errors) + 1,
        max_attempts=len(errors) + 2,
        attempted_at=now,
        created_at=now,
        finalized_at=None,
        scheduled_at=now,
        priority=1,
        encoded_args="{}",
        attempted_by=(),
        errors=tuple(errors),
        kind="conformance_echo",
        metadata_json="{}",
        queue="default",
        tags=(),
        unique_key=None,
        unique_states=None,
    )


async def _cron_next(session: Session, call: Call) -> Json:
    schedule = parse_cron(call["expression"])
    found: list[str | None] = []
    at = moment(call["from"])
    while len(found) < call["count"]:
        following = schedule.next(at)
        if following is None:
            break
        at = following
        found.append(time_json(at))
    return {"next": found}


async def _unique_key(session: Session, call: Call) -> Json:
    options = call["options"]
    period = options["by_period_nanos"]
    if period % 1000:
        raise UnsupportedError("by_period_nanos must be whole microseconds")
    selected = call.get("selected_unique_components")
    opts = UniqueOpts(
        by_args=(selected or True) if options["by_args"] else False,
        by_period=timedelta(microseconds=period // 1000) if period else None,
        by_queue=options["by_queue"],
        by_state=states(options.get("by_state")),
        exclude_kind=options["exclude_kind"],
    )
    unique.validate(opts)
    scheduled_at = call.get("scheduled_at")
    key = unique.unique_key(
        opts,
        kind=call["kind"],
        encoded_args=compact_json(call.text("args")),
        queue=call["queue"],
        scheduled_at=moment(scheduled_at if scheduled_at is not None else call["now"]),
    )
    return {"sha256": key.hex(), "state_mask": unique.state_mask(opts)}


METHODS = (
    Method("clock_set", Members({"now": Moment()}, ("now",)), _clock_set),
    Method(
        "cron_next",
        Members(
            {"count": Integer(minimum=1), "expression": Text(), "from": Moment()},
            ("count", "expression", "from"),
        ),
        _cron_next,
    ),
    Method(
        "retry_delay",
        Members(
            {"error_count": Integer(minimum=1), "job_id": Integer()}, ("error_count", "job_id")
        ),
        _retry_delay,
    ),
    Method(
        "rng_seed",
        Members({"seed": Integer(minimum=0, maximum=2**64 - 1)}, ("seed",)),
        _rng_seed,
    ),
    Method(
        "unique_key",
        Members(
            {
                "args": Anything(),
                "expected_error": Text(choices=("rejected",)),
                "expected_sha256": Text(),
                "expected_state_mask": Integer(),
                "kind": Text(choices=_KINDS),
                "name": Text(),
                "now": Moment(),
                "options": _OPTIONS,
                "queue": Text(),
                "scheduled_at": Nullable(Moment()),
                "selected_unique_components": Items(TEXT_LIST),
                "selected_unique_paths": Nullable(TEXT_LIST),
            },
            ("args", "kind", "now", "options", "queue"),
        ),
        _unique_key,
    ),
)
"""The methods of this group."""
