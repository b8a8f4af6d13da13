"""Options of an insert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riverengine.types.job import JobState, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueOpts:
    """What makes a job unique; all unset means it is not.

    by_args: True for the fields that the args type marks with ``Unique``, or for all args if it
    marks none; or the JSON names that count: a text is a path whose dots lead into objects, a
    sequence holds the names of a path as they are.  by_period: one job per period, at least 1 s.
    by_queue: one per queue.  by_state: states in which an existing job blocks, must contain
    available, pending, running and scheduled; None for River's default.  exclude_kind: compare
    across kinds; needs one of the other dimensions.
    """

    by_args: bool | Sequence[str | Sequence[str]] = False
    by_period: timedelta | None = None
    by_queue: bool = False
    by_state: Sequence[JobState] | None = None
    exclude_kind: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertOpts:
    """Options of one insert; None leaves the choice to the args type, then the client, then River's
    default.

    max_attempts: default 25.  priority: 1 (first) to 4, default 1.  queue: default "default".
    scheduled_at: earliest run; any value, even a past one, inserts the job as ``scheduled``.  tags:
    replace the args type's, never merge.  pending: insert as ``pending``.  metadata: a JSON object.
    """

    max_attempts: int | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    tags: Sequence[str] | None = None
    metadata: Mapping[str, Json] | None = None
    pending: bool = False
    unique_opts: UniqueOpts | None = None
