"""What a running attempt writes about itself before it ends."""

from __future__ import annotations

from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, statement
from riverengine.types.errors import JobNotRunningError
from riverengine.types.job import JobRow

_CHECKPOINT = statement("job_checkpoint.sql", "job_checkpoint")


async def job_checkpoint(
    db: Executor, *, schema: str | None, row: JobRow, metadata_json: str
) -> JobRow:
    """Merge into the metadata of a job while ``row``'s attempt owns it; the row as stored.

    Raises ``JobNotRunningError`` when the attempt lost the job, or it is gone.
    """
    if row.attempted_at is None or not row.attempted_by:
        raise JobNotRunningError(row.id, row.attempt)
    record = await db.fetchrow(
        _CHECKPOINT.sql(schema),
        *(row.id, row.attempt, row.attempted_at, row.attempted_by[-1], metadata_json),
    )
    if record is None:
        raise JobNotRunningError(row.id, row.attempt)
    return job_row_from_record(record)
