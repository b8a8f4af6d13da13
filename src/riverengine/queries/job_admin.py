"""Statements on single jobs.

Source: riverpgxv5 river_job.sql at v0.51.1 (protocol 10.1). Operations of two statements expect a
transaction: the second reads, under its lock, the row the first left as it was.
"""

from __future__ import annotations

from datetime import datetime

from riverengine.queries.conflicts import conflict_of, origin_of
from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.notification import TOPIC_CONTROL
from riverengine.queries.statement import Executor, Record, Statement, statement
from riverengine.types.errors import JobNotFoundError, JobRunningError
from riverengine.types.job import JobRow
from riverengine.work.go_json import encode_json

_FILE = "job_admin.sql"
_GET = statement(_FILE, "job_get")
_LOCK = statement(_FILE, "job_lock")
_CANCEL = statement(_FILE, "job_cancel")
_RETRY = statement(_FILE, "job_retry")
_DELETE = statement(_FILE, "job_delete")
_UPDATE_METADATA = statement(_FILE, "job_update_metadata")


async def job_get(db: Executor, *, schema: str | None, job_id: int) -> JobRow:
    """The job; raises ``JobNotFoundError``."""
    return await _row(db, _GET, schema, job_id)


async def job_cancel(
    db: Executor, *, schema: str | None, job_id: int, attempted_at: datetime
) -> JobRow:
    """Cancel a waiting job, or ask a running one's client to; final jobs stay as they are.

    attempted_at: the process's clock, stored with the job.  Raises ``JobNotFoundError``.
    """
    record = await db.fetchrow(
        _CANCEL.sql(schema), job_id, schema, TOPIC_CONTROL, encode_json(attempted_at)
    )
    return await _changed_or_locked(db, schema, job_id, record)


async def job_retry(db: Executor, *, schema: str | None, job_id: int) -> JobRow:
    """Make a job available at once, whatever ended it; raises ``JobNotFoundError``.

    A running job, or one that is due already, stays as it is.  A unique key held by another job
    meanwhile raises ``UniqueConflictError``.
    """
    try:
        record = await db.fetchrow(_RETRY.sql(schema), job_id)
    except Exception as error:
        conflict = conflict_of(error)
        if conflict is not None:
            raise conflict from origin_of(error)
        raise
    return await _changed_or_locked(db, schema, job_id, record)


async def job_delete(db: Executor, *, schema: str | None, job_id: int) -> JobRow:
    """Delete a job and return it; raises ``JobNotFoundError`` or ``JobRunningError``."""
    record = await db.fetchrow(_DELETE.sql(schema), job_id)
    if record is None:
        await _row(db, _LOCK, schema, job_id)
        raise JobRunningError(job_id)
    return job_row_from_record(record)


async def job_update_metadata(
    db: Executor, *, schema: str | None, job_id: int, metadata_json: str
) -> JobRow:
    """Merge into a job's metadata at top level; raises ``JobNotFoundError``."""
    record = await db.fetchrow(_UPDATE_METADATA.sql(schema), job_id, metadata_json)
    if record is None:
        raise JobNotFoundError(job_id)
    return job_row_from_record(record)


async def _changed_or_locked(
    db: Executor, schema: str | None, job_id: int, record: Record | None
) -> JobRow:
    if record is not None:
        return job_row_from_record(record)
    return await _row(db, _LOCK, schema, job_id)


async def _row(db: Executor, query: Statement, schema: str | None, job_id: int) -> JobRow:
    record = await db.fetchrow(query.sql(schema), job_id)
    if record is None:
        raise JobNotFoundError(job_id)
    return job_row_from_record(record)
