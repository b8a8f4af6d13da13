"""Statements that write the outcome of attempts, fenced by the attempt's identity.

Source: riverpgxv5 JobSetStateIfRunningMany at v0.51.1. Beyond River, a row changes only if it is
still under the attempt that reports: same attempt number, claim time and claimant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, statement
from riverengine.types.job import JobId, JobRow
from riverengine.work.outcome import JobFinish

_FILE = "job_finish.sql"
_COMPLETE_PLAIN = statement(_FILE, "job_complete_plain")
_FINISH_MANY = statement(_FILE, "job_finish_many")


@dataclass(frozen=True, slots=True)
class Claim:
    """The identity of an attempt; with the claiming client's id it fences the outcome."""

    id: JobId
    attempt: int
    attempted_at: datetime


async def job_complete_plain(
    db: Executor,
    *,
    schema: str | None,
    client_id: str,
    claims: Sequence[Claim],
    finalized_at: Sequence[datetime],
    timeout: float | None = None,
) -> dict[JobId, str]:
    """Complete jobs and change nothing else: the stored metadata by id.

    An attempt that lost its job is missing from the result, its row unchanged.
    """
    records = await db.fetch(
        _COMPLETE_PLAIN.sql(schema),
        [claim.id for claim in claims],
        [claim.attempt for claim in claims],
        [claim.attempted_at for claim in claims],
        list(finalized_at),
        client_id,
        timeout=timeout,
    )
    return {JobId(record["id"]): record["metadata"] for record in records}


async def job_finish_many(
    db: Executor,
    *,
    schema: str | None,
    client_id: str,
    claims: Sequence[Claim],
    finishes: Sequence[JobFinish],
    timeout: float | None = None,
) -> dict[JobId, tuple[JobRow, bool]]:
    """Write outcomes: by id, the row afterwards and whether this call finished the attempt.

    A row is False when the attempt had ended before, or lost its job. Deleted rows are missing.
    """
    records = await db.fetch(
        _FINISH_MANY.sql(schema),
        [claim.id for claim in claims],
        [claim.attempt for claim in claims],
        [claim.attempted_at for claim in claims],
        [finish.state.value for finish in finishes],
        [finish.attempt for finish in finishes],
        [finish.error_json for finish in finishes],
        [finish.finalized_at for finish in finishes],
        [finish.metadata_json for finish in finishes],
        [finish.scheduled_at for finish in finishes],
        client_id,
        timeout=timeout,
    )
    return {
        JobId(record["id"]): (job_row_from_record(record), record["finished"]) for record in records
    }
