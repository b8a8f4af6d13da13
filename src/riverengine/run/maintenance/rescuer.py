"""Gives jobs back whose worker never reported.

Source: internal/maintenance/job_rescuer.go at v0.51.1. Deviations, all towards keeping jobs: a kind
unknown here is retried unless ``Config.rescuer_discards_unknown_kinds``, and left alone while its
client lives, an odd row never stops the run, and the horizon is the database's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from riverengine.config import Config
from riverengine.queries.client import client_living
from riverengine.queries.job_row import job_row_from_record
from riverengine.queries.maintenance import (
    Rescue,
    database_horizon,
    job_get_stuck,
    job_rescue_many,
)
from riverengine.queries.statement import Record
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.heartbeat import HeartbeatTimings
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings
from riverengine.run.refusals import by_halves
from riverengine.types.errors import ArgsDecodeError
from riverengine.types.job import JobRow, JobState
from riverengine.work.args import decode_args
from riverengine.work.registry import RegisteredWorker, Workers
from riverengine.work.retry import DefaultRetryPolicy
from riverengine.work.worker import Job, Worker

ERROR_TEXT = "Stuck job rescued by JobRescuer"
"""Text of the error a rescue appends to the job."""

_ZERO_TIMES = frozenset({None, "", "null", "0001-01-01T00:00:00Z"})
_TIMEOUT = 30.0
_HEARD_WITHIN = HeartbeatTimings().dead_after


@dataclass(frozen=True, slots=True)
class _Retry:
    """The job counts as failed. at: the next attempt's time, None to discard it at once."""

    at: datetime | None


class JobRescuer(IntervalService):
    """Looks for jobs running longer than ``rescue_stuck_jobs_after``, every 30 s."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        config: Config,
        workers: Workers | None,
        clock: Clock,
        timings: MaintenanceTimings,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(
            "rescuer",
            interval=timings.rescuer_interval,
            clock=clock,
            timings=timings,
            logger=logger,
        )
        self._pool = pool
        self._config = config
        self._workers = workers
        self._unknown_kind_policy = DefaultRetryPolicy()

    async def run_once(self) -> int:
        """Rescue every stuck job; returns how many."""
        schema = self._config.schema
        now, horizon = await database_horizon(self._pool, age=self._config.effective_rescue_after)
        rescued = 0
        after_id = -(2**63)

        async def select(limit: int) -> int:
            records.extend(
                await job_get_stuck(
                    self._pool,
                    schema=schema,
                    horizon=horizon,
                    after_id=after_id,
                    limit=limit,
                    timeout=_TIMEOUT,
                )
            )
            return len(records)

        while True:
            records: list[Record] = []
            _, more = await self.one_batch(select)
            left = await self._left_to_their_clients(records)
            rescues = [
                rescue
                for record in records
                if record["id"] not in left and (rescue := self._decide(record, now)) is not None
            ]
            if rescues:
                rescued += await self._rescue(rescues, horizon)
            if not more:
                return rescued
            after_id = records[-1]["id"]
            await self.pause_between_batches()

    async def _rescue(self, rescues: Sequence[Rescue], horizon: datetime) -> int:
        """Change what is stuck; a row that cannot be changed costs only itself."""
        changed, refused = await by_halves(
            rescues,
            lambda part: job_rescue_many(
                self._pool, schema=self._config.schema, rescues=part, horizon=horizon
            ),
        )
        if refused:
            self._count_failure()
            rescue, error = refused[0]
            self.logger.warning(
                "%d stuck job(s) cannot be rescued (%s), job %d first; the next run tries again",
                *(len(refused), type(error).__name__, rescue.id),
            )
        number = sum(map(len, changed))
        self.logger.info("%d stuck job(s) rescued", number)
        return number

    async def _left_to_their_clients(self, records: Sequence[Record]) -> set[int]:
        """Jobs of unknown kinds whose clients live: these may run for hours by right."""
        if self._config.rescuer_discards_unknown_kinds:
            return set()
        holders = {
            record["id"]: record["attempted_by"][-1]
            for record in records
            if record["attempted_by"]
            and isinstance(record["attempted_by"][-1], str)
            and record["cancel_attempted_at"] in _ZERO_TIMES
            and self._registered(record["kind"]) is None
        }
        if not holders:
            return set()
        try:
            living = await client_living(
                self._pool,
                schema=self._config.schema,
                client_ids=[*set(holders.values())],
                within=_HEARD_WITHIN,
            )
        except asyncpg.UndefinedTableError:
            # Without our table nobody has heartbeats.
            return set()
        return {job_id for job_id, holder in holders.items() if holder in living}

    def _registered(self, kind: str) -> RegisteredWorker | None:
        return self._workers.get(kind) if self._workers is not None else None

    def _decide(self, record: Record, now: datetime) -> Rescue | None:
        """What becomes of one stuck job; None leaves it running."""
        attempt, max_attempts = record["attempt"], record["max_attempts"]
        state, finalized_at, scheduled_at = JobState.RETRYABLE, None, None
        if record["cancel_attempted_at"] not in _ZERO_TIMES:
            state, finalized_at = JobState.CANCELLED, now
        else:
            retry = self._retry(record, now)
            if retry is None:
                return None
            if attempt < max_attempts and retry.at is not None:
                scheduled_at = retry.at
            else:
                state, finalized_at = JobState.DISCARDED, now
        return Rescue(
            id=record["id"],
            state=state,
            error_json=_error_json(now, max(attempt, 0)),
            finalized_at=finalized_at,
            scheduled_at=scheduled_at,
        )

    def _retry(self, record: Record, now: datetime) -> _Retry | None:
        """When to retry the job; None when its worker may still run it."""
        try:
            row = job_row_from_record(record)
        except Exception:
            self.logger.exception("stuck job %d has an unreadable row", record["id"])
            return _Retry(now + timedelta(minutes=1))
        registered = self._registered(row.kind)
        if registered is None and self._config.rescuer_discards_unknown_kinds:
            self.logger.error(
                "stuck job %d has a kind unknown to this client; it is discarded", row.id
            )
            return _Retry(None)
        if registered is None:
            self.logger.warning(
                "stuck job %d has a kind unknown to this client; it is retried", row.id
            )
            return _Retry(self._unknown_kind_policy.next_retry(row, now))
        try:
            args: object = decode_args(registered.args_type, row.encoded_args, kind=row.kind)
        except ArgsDecodeError:
            self.logger.warning("the args of stuck job %d do not decode; it is retried", row.id)
            return _Retry(self._policy_retry(row, now))
        job: Job[Any] = Job(row, args)
        if self._may_still_run(registered.worker, job, now):
            return None
        try:
            at = registered.worker.next_retry(job)
            if at is not None and at.tzinfo is not None:
                return _Retry(at)
        except Exception:
            self.logger.exception("next_retry of kind %s failed", row.kind)
        return _Retry(self._policy_retry(row, now))

    def _may_still_run(self, worker: Worker[Any], job: Job[Any], now: datetime) -> bool:
        try:
            timeout = worker.timeout(job)
        except Exception:
            self.logger.exception("timeout of kind %s failed", job.row.kind)
            timeout = None
        if timeout is None:
            timeout = self._config.job_timeout
        if timeout < timedelta(0):
            return True
        attempted_at = job.row.attempted_at
        return attempted_at is not None and now - attempted_at < timeout

    def _policy_retry(self, row: JobRow, now: datetime) -> datetime:
        try:
            at = self._config.retry_policy.next_retry(row, now)
            if at.tzinfo is not None:
                return at
            self.logger.error("the retry policy returned an instant without a time zone")
        except Exception:
            self.logger.exception("the retry policy failed for stuck job %d", row.id)
        return self._unknown_kind_policy.next_retry(row, now)


def _error_json(now: datetime, attempt: int) -> str:
    at = now.isoformat().removesuffix("+00:00") + "Z"
    return json.dumps({"at": at, "attempt": attempt, "error": ERROR_TEXT, "trace": ""})
