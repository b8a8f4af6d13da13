"""Finishing a job inside the caller's transaction.

Source: job_complete_tx.go at v0.51.1, widened from completion to every outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries.job_finish import RowClaim, job_finish_many
from riverengine.types.errors import JobNotRunningError
from riverengine.types.job import JobRow, JobState, Json
from riverengine.work.context import recorded_metadata
from riverengine.work.outcome import Completed, Failed, Outcome, finish_of
from riverengine.work.registry import Workers
from riverengine.work.worker import Job


class FinishApi(ClientCore):
    """The part of the client that finishes a running job from inside its worker."""

    id: str
    workers: Workers | None

    async def job_finish_tx(
        self,
        tx: AsyncTransaction,
        job: Job[Any],
        outcome: Outcome,
        *,
        metadata: Mapping[str, Json] | None = None,
    ) -> JobRow:
        """Write the outcome of the running attempt together with the caller's own changes.

        tx: an open transaction; roll it back when this raises.  metadata: merged besides what the
        attempt recorded.  Raises ``JobNotRunningError`` when the attempt lost the job meanwhile.
        Afterwards the worker may return or raise: the attempt has ended once ``tx`` commits, and
        ends as usual if it does not.
        """
        row = job.row
        if row.attempted_at is None or row.state is not JobState.RUNNING:
            raise JobNotRunningError(row.id, row.attempt)
        retry_at = None
        if isinstance(outcome, Failed) and row.attempt < row.max_attempts:
            retry_at = outcome.retry_at or self._retry_at(job)
        finish = finish_of(
            outcome,
            row=row,
            now=self.clock.now(),
            started_at=row.attempted_at,
            retry_at=retry_at,
            metadata={**recorded_metadata(), **(metadata or {})},
        )
        found = await job_finish_many(
            await self.executor(tx),
            schema=self.config.schema,
            client_id=row.attempted_by[-1],
            claims=[RowClaim(row.id, row.attempt, row.attempted_at)],
            finishes=[finish],
        )
        stored = found.get(row.id)
        if stored is None or not stored[1]:
            raise JobNotRunningError(row.id, row.attempt)
        return stored[0]

    async def job_complete_tx(
        self,
        tx: AsyncTransaction,
        job: Job[Any],
        *,
        metadata: Mapping[str, Json] | None = None,
    ) -> JobRow:
        """Complete the running job together with the caller's own changes.

        River's JobCompleteTx: :meth:`job_finish_tx` with the outcome ``Completed``.
        """
        return await self.job_finish_tx(tx, job, Completed(), metadata=metadata)

    def _retry_at(self, job: Job[Any]) -> datetime:
        registered = self.workers.get(job.row.kind) if self.workers is not None else None
        given = registered.worker.next_retry(job) if registered is not None else None
        return given or self.config.retry_policy.next_retry(job.row, self.clock.now())
