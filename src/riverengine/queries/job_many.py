"""Changing and counting all jobs that fit a filter.

Deleting is River's (client.go and delete_many_params.go at v0.51.1); cancelling and retrying many
is ours, by the same rules as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from riverengine.queries.conflicts import conflict_of, origin_of
from riverengine.queries.job_filter import (
    INT64,
    JobFilter,
    Option,
    check_at_most,
    check_limit,
    check_numbers,
    filter_options,
    render,
)
from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.notification import TOPIC_CONTROL
from riverengine.queries.statement import Executor, Statement, statement
from riverengine.types.errors import InvalidParamsError, UnfilteredError
from riverengine.types.job import JobId, JobRow
from riverengine.work.go_json import encode_json

_FILE = "job_many.sql"
_COUNT = statement(_FILE, "job_count")
_DELETE = statement(_FILE, "job_delete_many")
_CANCEL = statement(_FILE, "job_cancel_many")
_RETRY = statement(_FILE, "job_retry_many")


@dataclass(frozen=True, kw_only=True)
class JobManyParams(JobFilter):
    """Which jobs to change, in order of their ids.

    limit: at most how many by one call, 1 to 10,000.  after_id: only those behind this id: the
    ``last_id`` of the call before, where more fit than one call changes.  unsafe_all: change all
    jobs, without any filter; without it no filter at all is an ``UnfilteredError``.
    """

    limit: int = 100
    after_id: int | None = None
    unsafe_all: bool = False

    unfiltered: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limit(self.limit)
        check_numbers("after_id", None if self.after_id is None else [self.after_id], INT64)
        if self.unsafe_all and not self.is_empty:
            raise InvalidParamsError(
                "unsafe_all", "unsafe_all is no longer meaningful with filters applied"
            )

    def check(self) -> None:
        """Refuse to reach all jobs by accident; raises ``UnfilteredError``."""
        if self.is_empty and not self.unsafe_all:
            raise UnfilteredError(self.unfiltered)


class JobDeleteManyParams(JobManyParams):
    """Which jobs to delete; running ones never are, and locked ones are left out."""

    unfiltered = (
        "delete with no filters not allowed to prevent accidental deletion of all jobs; either"
        " specify a predicate (e.g. JobDeleteManyParams.IDs, JobDeleteManyParams.Kinds, ...) or"
        " call JobDeleteManyParams.All"
    )


class JobCancelManyParams(JobManyParams):
    """Which jobs to cancel; final ones stay as they are."""

    unfiltered = (
        "cancel with no filters not allowed to prevent accidental cancellation of all jobs; either"
        " give a filter (ids, kinds, ...) or unsafe_all"
    )


class JobRetryManyParams(JobManyParams):
    """Which jobs to retry; running ones, and those that are due, stay as they are."""

    unfiltered = (
        "retry with no filters not allowed to prevent running all jobs again by accident; either"
        " give a filter (ids, kinds, ...) or unsafe_all"
    )


@dataclass(frozen=True, slots=True)
class JobManyResult:
    """The jobs a call changed, by id, as they are then; deleted ones as they were."""

    jobs: list[JobRow]

    @property
    def last_id(self) -> JobId | None:
        """The greatest id the call reached, for ``after_id`` of the next; None for no job."""
        return self.jobs[-1].id if self.jobs else None


class JobDeleteManyResult(JobManyResult):
    """The jobs deleted, as they were. Locked ones were skipped: no job proves nothing."""


class JobCancelManyResult(JobManyResult):
    """The jobs cancelled, and those that run: their clients were told, and their workers decide."""


@dataclass(frozen=True, slots=True)
class JobRetryManyResult(JobManyResult):
    """The jobs made available.

    conflicts: jobs that stay as they are because another job holds their unique key, or took it by
    this very call.
    """

    conflicts: list[JobRow] = field(default_factory=list)

    @property
    def last_id(self) -> JobId | None:
        """The greatest id the call reached, for ``after_id`` of the next; None for no job."""
        return max((job.id for job in (*self.jobs, *self.conflicts)), default=None)


async def job_count(
    db: Executor,
    *,
    schema: str | None,
    filters: JobFilter,
    at_most: int | None = None,
    timeout: float | None = None,
) -> int:
    """How many jobs fit. at_most: stop counting there.  timeout: seconds."""
    check_at_most(at_most)
    sql, arguments = render(
        _COUNT,
        schema,
        options=filter_options(filters),
        fixed={1: at_most},
        predicates=filters.predicates,
    )
    found: int = await db.fetchval(sql, *arguments, timeout=timeout)
    return found


async def job_delete_many(
    db: Executor,
    *,
    schema: str | None,
    params: JobDeleteManyParams,
    timeout: float | None = None,
) -> JobDeleteManyResult:
    """Delete the first jobs that fit; raises ``UnfilteredError`` or ``NamedArgError``."""
    sql, arguments = change_query(_DELETE, schema, params)
    records = await db.fetch(sql, *arguments, timeout=timeout)
    return JobDeleteManyResult([job_row_from_record(record) for record in records])


async def job_cancel_many(
    db: Executor,
    *,
    schema: str | None,
    params: JobCancelManyParams,
    attempted_at: datetime,
    timeout: float | None = None,
) -> JobCancelManyResult:
    """Cancel the first jobs that fit, or ask the clients of running ones to.

    attempted_at: the process's clock.  Raises ``UnfilteredError`` or ``NamedArgError``.
    """
    more = {13: schema, 14: TOPIC_CONTROL, 15: encode_json(attempted_at)}
    sql, arguments = change_query(_CANCEL, schema, params, more)
    records = await db.fetch(sql, *arguments, timeout=timeout)
    return JobCancelManyResult([job_row_from_record(record) for record in records])


async def job_retry_many(
    db: Executor,
    *,
    schema: str | None,
    params: JobRetryManyParams,
    timeout: float | None = None,
) -> JobRetryManyResult:
    """Make the first jobs that fit available; raises ``UnfilteredError`` or ``NamedArgError``.

    A unique key taken by another transaction while this one runs raises
    ``UniqueConflictError``, as for one job.
    """
    retried: list[JobRow] = []
    conflicts: list[JobRow] = []
    sql, arguments = change_query(_RETRY, schema, params)
    try:
        records = await db.fetch(sql, *arguments, timeout=timeout)
    except Exception as error:
        conflict = conflict_of(error)
        if conflict is not None:
            raise conflict from origin_of(error)
        raise
    for record in records:
        row = job_row_from_record(record)
        (conflicts if record["is_conflict"] else retried).append(row)
    return JobRetryManyResult(retried, conflicts)


def change_query(
    query: Statement,
    schema: str | None,
    params: JobManyParams,
    more: Mapping[int, object] | None = None,
) -> tuple[str, list[object]]:
    """A change's statement and its arguments; more: values of the statement's own positions."""
    params.check()
    options = filter_options(params)
    if params.after_id is not None:
        options.append(Option("after_id", 12, params.after_id, "after_id"))
    return render(
        query,
        schema,
        options=options,
        fixed={1: params.limit, **(more or {})},
        predicates=params.predicates,
    )
