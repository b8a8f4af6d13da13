"""What a worker's method needs to be called directly, without database or client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from riverengine.client import Client
from riverengine.insert.options import InsertOpts
from riverengine.insert.plan import plan_insert
from riverengine.types.job import JobId, JobRow, JobState
from riverengine.work.context import WorkContext, enter_work, leave_work
from riverengine.work.worker import Job

ArgsT = TypeVar("ArgsT")


def job_of(
    args: ArgsT,
    opts: InsertOpts | None = None,
    *,
    id: int = 1,  # noqa: A002 - the column's name
    attempt: int = 1,
    now: datetime | None = None,
) -> Job[ArgsT]:
    """A running job with these args that no database holds.

    opts: as for an insert, with River's defaults.  attempt: 1 for the first.  now: when it was
    inserted and started; None for now.  Raises ``InsertError`` for what an insert refuses.
    """
    at = now or datetime.now(UTC)
    plan = plan_insert(
        args, opts, now=at, max_attempts=25, max_args_bytes=1024 * 1024, known_kinds=None
    )
    row = JobRow(
        id=JobId(id),
        state=JobState.RUNNING,
        attempt=attempt,
        max_attempts=plan.max_attempts,
        attempted_at=at,
        created_at=at,
        finalized_at=None,
        scheduled_at=plan.scheduled_at or at,
        priority=plan.priority,
        encoded_args=plan.encoded_args,
        attempted_by=("test",),
        errors=(),
        kind=plan.kind,
        metadata_json=plan.metadata_json,
        queue=plan.queue,
        tags=plan.tags,
        unique_key=plan.unique_key,
        unique_states=None,
    )
    return Job(row, args)


@contextmanager
def work_context(job: Job[ArgsT], client: Client | None = None) -> Iterator[WorkContext]:
    """Inside the block the code seems to run in ``job``'s worker.

    ``current_job``, ``client_from_context``, ``metadata_set`` and ``record_output`` work; what they
    recorded is in the yielded context's ``metadata``.  client: what ``client_from_context`` gives.

    Example::

        job = job_of(EmailArgs(to="ann@example.com"))
        with work_context(job, client) as context:
            await EmailWorker().work(job)
        assert context.metadata == {"output": "sent"}
    """
    context = WorkContext(job.row, client)
    token = enter_work(context)
    try:
        yield context
    finally:
        leave_work(token)
