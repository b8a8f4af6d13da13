"""Jobs as the harness describes them, and the filters of lists, as the engine's own types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from riverengine.client.insert import InsertManyParams
from riverengine.conformance.echo import BEHAVIORS, EchoArgs
from riverengine.conformance.shapes import (
    AnyObject,
    Flag,
    Integer,
    Items,
    Members,
    Moment,
    Shape,
    Text,
    moment,
)
from riverengine.insert.options import InsertOpts, UniqueOpts
from riverengine.types.job import JobState, Json

STATES = [state.value for state in JobState]

JOB_ID = Integer(minimum=1)
LIMIT = Integer(minimum=1)
SCHEMA = Text()
HANDLE = Text(shortest=1)
NAME = Text(shortest=1)
STATE_LIST = Items(Text(choices=STATES))
TEXT_LIST = Items(Text())

UNIQUE = Members(
    {
        "by_args": Flag(),
        "by_period_ms": Integer(minimum=0),
        "by_queue": Flag(),
        "by_state": STATE_LIST,
        "exclude_kind": Flag(),
    }
)
OPTS = Members(
    {
        "max_attempts": Integer(minimum=1),
        "metadata": AnyObject(),
        "pending": Flag(),
        "priority": Integer(),
        "queue": Text(),
        "scheduled_at": Moment(),
        "tags": TEXT_LIST,
        "unique": UNIQUE,
    }
)
JOB = Members(
    {
        "behavior": Text(choices=BEHAVIORS),
        "duration_ms": Integer(minimum=0),
        "message": Text(),
        "opts": OPTS,
    }
)

LIST_FIELDS: Mapping[str, Shape] = {
    "after": Text(shortest=1),
    "direction": Text(choices=("asc", "desc")),
    "ids": Items(JOB_ID),
    "kinds": TEXT_LIST,
    "limit": LIMIT,
    "metadata": AnyObject(),
    "order_by": Text(choices=("finalized_at", "id", "scheduled_at", "time")),
    "priorities": Items(Integer()),
    "queues": TEXT_LIST,
    "states": STATE_LIST,
    "tags_all": TEXT_LIST,
    "tags_any": TEXT_LIST,
}
DELETE_FIELDS: Mapping[str, Shape] = {
    "all": Flag(),
    "ids": Items(JOB_ID),
    "kinds": TEXT_LIST,
    "limit": LIMIT,
    "queues": TEXT_LIST,
    "states": STATE_LIST,
}


def echo_args(job: Mapping[str, Json]) -> EchoArgs:
    """The args of a described job; all three are stored, also those left out."""
    return EchoArgs(job.get("behavior", ""), job.get("duration_ms", 0), job.get("message", ""))


def insert_params(job: Mapping[str, Json]) -> InsertManyParams:
    """Args and options of a described job."""
    return InsertManyParams(echo_args(job), insert_opts(job.get("opts", {})))


def insert_opts(opts: Mapping[str, Json]) -> InsertOpts:
    """The options of a described job. Zero and "" leave the choice open, as they do in River."""
    scheduled_at = opts.get("scheduled_at")
    return InsertOpts(
        max_attempts=opts.get("max_attempts"),
        metadata=opts.get("metadata"),
        pending=opts.get("pending", False),
        priority=opts.get("priority") or None,
        queue=opts.get("queue") or None,
        scheduled_at=None if scheduled_at is None else moment(scheduled_at),
        tags=opts.get("tags"),
        unique_opts=_unique_opts(opts.get("unique")),
    )


def states(names: list[str] | None) -> list[JobState] | None:
    """The named states; None for None."""
    return None if names is None else [JobState(name) for name in names]


def _unique_opts(unique: Mapping[str, Json] | None) -> UniqueOpts | None:
    if unique is None:
        return None
    period = unique.get("by_period_ms", 0)
    return UniqueOpts(
        by_args=unique.get("by_args", False),
        by_period=timedelta(milliseconds=period) if period else None,
        by_queue=unique.get("by_queue", False),
        by_state=states(unique.get("by_state")),
        exclude_kind=unique.get("exclude_kind", False),
    )
