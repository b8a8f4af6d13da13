"""Lists of jobs: filters, order, pages.

Source: job_list_params.go and dblist/db_list.go at v0.51.1 (protocol 10.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from riverengine.queries.job_filter import (
    JobFilter,
    Option,
    check_limit,
    filter_options,
    render,
)
from riverengine.queries.job_list_cursor import JobListCursor
from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, statement
from riverengine.types.errors import InvalidParamsError
from riverengine.types.job import FINAL_STATES, JobRow, JobState

_LIST = statement("job_many.sql", "job_list")
_LIST_FINAL = statement("job_many.sql", "job_list_final")
_LIST_SCHEDULED = statement("job_many.sql", "job_list_scheduled")
_FINAL = tuple(state for state in JobState if state.is_final)
_INFINITY = datetime.max.replace(tzinfo=UTC)


class JobListOrderBy(StrEnum):
    """What a list is ordered by; the id decides between equals.

    FINALIZED_AT: only of final jobs, and of all three final states unless ``states`` says less.
    TIME: the field of the FIRST state listed, for all jobs: ``attempted_at`` of running ones,
    ``finalized_at`` of final ones, else ``scheduled_at``.
    """

    ID = "id"
    FINALIZED_AT = "finalized_at"
    SCHEDULED_AT = "scheduled_at"
    TIME = "time"


class SortOrder(StrEnum):
    """Direction of a list: null times come last ascending, and first descending."""

    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, kw_only=True)
class JobListParams(JobFilter):
    """Which jobs to list, in what order, and where to start.

    after: the ``last_cursor`` of the page before.  limit: 1 to 10,000.  Raises
    ``InvalidParamsError``.
    """

    order_by: JobListOrderBy = JobListOrderBy.ID
    direction: SortOrder = SortOrder.ASC
    after: JobListCursor | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limit(self.limit)
        try:
            object.__setattr__(self, "order_by", JobListOrderBy(self.order_by))
            object.__setattr__(self, "direction", SortOrder(self.direction))
        except ValueError as error:
            raise InvalidParamsError("order_by", str(error)) from error
        if self.order_by is JobListOrderBy.FINALIZED_AT:
            if self.states is None:
                object.__setattr__(self, "states", _FINAL)
            self._check_final(self.states or ())

    def _check_final(self, states: Sequence[JobState]) -> None:
        if not states:
            raise InvalidParamsError(
                "states", "cannot order by finalized_at without finalized state filters"
            )
        others = [state.value for state in states if not state.is_final]
        if others:
            raise InvalidParamsError(
                "states",
                "cannot order by finalized_at with non-finalized state filters"
                f" [{' '.join(others)}]",
            )

    @property
    def time_field(self) -> str | None:
        """The column the list is ordered by before the id; None for the id alone."""
        match self.order_by:
            case JobListOrderBy.ID:
                return None
            case JobListOrderBy.TIME:
                first = self.states[0] if self.states else JobState.AVAILABLE
                if first is JobState.RUNNING:
                    return "attempted_at"
                return "finalized_at" if first.is_final else "scheduled_at"
        return self.order_by.value

    @property
    def is_time_nullable(self) -> bool:
        """Whether jobs without a time may be listed."""
        match self.time_field:
            case "attempted_at":
                return True
            case "finalized_at":
                # As in Go River, a condition of the caller's own counts as reaching any state.
                return (
                    bool(self.predicates) or self.metadata is not None or not self.lists_final_only
                )
        return False

    @property
    def is_by_state_and_queue(self) -> bool:
        """Whether no other filter narrows the jobs."""
        return replace(self, states=None, queues=None).is_empty

    @property
    def lists_final_only(self) -> bool:
        """Whether the states listed are final ones."""
        return bool(self.states) and FINAL_STATES.issuperset(self.states or ())


@dataclass(frozen=True, slots=True)
class JobListResult:
    """A page of jobs. last_cursor: where the next one starts; None when the page is empty."""

    jobs: list[JobRow]
    last_cursor: JobListCursor | None


async def job_list(
    db: Executor, *, schema: str | None, params: JobListParams, timeout: float | None = None
) -> JobListResult:
    """A page of the jobs that fit; raises ``NamedArgError``. timeout: seconds."""
    sql, arguments = job_list_query(schema, params)
    jobs = [
        job_row_from_record(record) for record in await db.fetch(sql, *arguments, timeout=timeout)
    ]
    last = _cursor(jobs[-1], params) if jobs else None
    return JobListResult(jobs, last)


def job_list_query(schema: str | None, params: JobListParams) -> tuple[str, list[object]]:
    """The list's statement and its arguments; raises ``NamedArgError``."""
    field, direction = params.time_field, params.direction
    query = _LIST
    fixed: dict[int, object] = {1: params.limit}
    options = filter_options(params)
    lines = [f"{field}_{direction}"] if field is not None else []
    if direction is SortOrder.DESC:
        lines.append("id_desc")
    if field == "finalized_at" and params.lists_final_only:
        # No job is lost by it, and the index on finalized_at is partial.
        lines.append("finalized")
        if len(params.states or ()) > 1:
            query = _LIST_FINAL
    elif field == "scheduled_at" and params.is_by_state_and_queue:
        query, options = _LIST_SCHEDULED, []
        fixed |= {5: params.queues, 6: params.states}
    if params.after is not None:
        after = _placed(params.after, params)
        suffix, name = f"{field}_{direction}", "after_id"
        if field is None or (after.time is None and not params.is_time_nullable):
            options.append(Option(f"after_id_{direction}", 12, after.id, name))
        elif after.time is None:
            options.append(Option(f"after_null_{suffix}", 12, after.id, name))
        else:
            if suffix == "finalized_at_asc" and not params.lists_final_only:
                suffix = "nullable_finalized_at_asc"
            options.append(Option(f"after_{suffix}", 12, after.id, name))
            options.append(Option(f"after_{suffix}", 13, _database_time(after.time), "cursor_time"))
    return render(
        query,
        schema,
        options=options,
        lines=lines,
        fixed=fixed,
        predicates=params.predicates,
    )


def _placed(cursor: JobListCursor, params: JobListParams) -> JobListCursor:
    return cursor if cursor.job is None else _cursor(cursor.job, params)


def _cursor(job: JobRow, params: JobListParams) -> JobListCursor:
    field = params.time_field
    time: datetime | None = None if field is None else getattr(job, field)
    if field is not None and time is None and not params.is_time_nullable:
        raise InvalidParamsError("after", f"the cursor's job has no {field}, the list's order")
    return JobListCursor(job.id, job.kind, job.queue, params.order_by.value, time)


def _database_time(time: datetime) -> datetime:
    # The driver writes PostgreSQL's infinity for the greatest time without a zone only.
    return time.replace(tzinfo=None) if time == _INFINITY else time
