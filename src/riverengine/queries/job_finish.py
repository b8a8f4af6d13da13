"""Statements that write the outcome of attempts, fenced by the attempt's identity.

Source: riverpgxv5 JobSetStateIfRunningMany at v0.51.1. Beyond River, a row changes only if it is
still under the attempt that reports: same attempt number, claim time and claimant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.statement import Executor, statement
from riverengine.types.job import JobId, JobRow
from riverengine.work.outcome import JobFinish

_FILE = "job_finish.sql"
_COMPLETE_PLAIN = statement(_FILE, "job_complete_plain")
_COMPLETE_PLAIN_RETURNING = statement(_FILE, "job_complete_plain_returning")
_FINISH_MANY = statement(_FILE, "job_finish_many")


class Claim(Protocol):
    """The identity of an attempt; with the claiming client's id it fences the outcome."""

    @property
    def id(self) -> JobId: ...

    @property
    def attempt(self) -> int: ...

    @property
    def attempted_at(self) -> datetime: ...


class CompletedClaim(Claim, Protocol):
    """An attempt whose work was done at ``ended_at``."""

    @property
    def ended_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class RowClaim:
    """The claim of a row at hand."""

    id: JobId
    attempt: int
    attempted_at: datetime


async def job_complete_plain(
    db: Executor,
    *,
    schema: str | None,
    client_id: str,
    claims: Sequence[CompletedClaim],
    timeout: float | None = None,
) -> int:
    """Complete jobs and change nothing else: how many were.

    An attempt that lost its job leaves the row unchanged.
    """
    tag = await db.execute(
        _COMPLETE_PLAIN.sql(schema), *_claimed(claims), client_id, timeout=timeout
    )
    return int(tag.rpartition(" ")[2])


async def job_complete_plain_returning(
    db: Executor,
    *,
    schema: str | None,
    client_id: str,
    claims: Sequence[CompletedClaim],
    timeout: float | None = None,
) -> dict[JobId, str]:
    """As :func:`job_complete_plain`: the stored metadata by id, of the jobs that were completed."""
    records = await db.fetch(
        _COMPLETE_PLAIN_RETURNING.sql(schema), *_claimed(claims), client_id, timeout=timeout
    )
    return {JobId(record["id"]): record["metadata"] for record in records}


def _claimed(claims: Sequence[CompletedClaim]) -> tuple[Sequence[object], ...]:
    return (
        [claim.id for claim in claims],
        [claim.attempt for claim in claims],
        [claim.attempted_at for claim in claims],
        [claim.ended_at for claim in claims],
    )


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
