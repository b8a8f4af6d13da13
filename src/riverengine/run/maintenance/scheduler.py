"""Makes scheduled and retryable jobs available when their time comes.

Source: internal/maintenance/job_scheduler.go at v0.51.1; the present is the database's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import asyncpg

from riverengine.config import Config
from riverengine.queries.maintenance import job_schedule
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings

NotifyInsertFunc = Callable[[asyncpg.Connection, Sequence[str]], Awaitable[None]]
"""Tells the producers of these queues about new jobs, in the connection's open transaction."""

_DUE_WITHIN = timedelta(milliseconds=5)
_TIMEOUT = 30.0
_CONFLICT_RETRIES = 10


class JobScheduler(IntervalService):
    """Runs every 5 s and looks 5 s ahead."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        config: Config,
        notify_insert: NotifyInsertFunc,
        clock: Clock,
        timings: MaintenanceTimings,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(
            "job_scheduler",
            interval=timings.scheduler_interval,
            clock=clock,
            timings=timings,
            logger=logger,
        )
        self._pool = pool
        self._config = config
        self._notify_insert = notify_insert

    async def run_once(self) -> int:
        """Schedule what is due within the look-ahead."""
        return await self.all_batches(self._batch)

    async def _batch(self, limit: int) -> int:
        for _ in range(_CONFLICT_RETRIES):
            try:
                return await self._schedule(limit)
            except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError) as error:
                # A job took the key while the statement ran; a second look sees it.
                self.logger.info("scheduling starts again: %s", type(error).__name__)
        return await self._schedule(limit)

    async def _schedule(self, limit: int) -> int:
        async with self._pool.transaction(timeout=_TIMEOUT) as conn:
            jobs = await job_schedule(
                conn,
                schema=self._config.schema,
                look_ahead=self.interval,
                due_within=_DUE_WITHIN,
                limit=limit,
                timeout=_TIMEOUT,
            )
            queues = sorted({job.queue for job in jobs if job.due_now})
            if queues:
                await self._notify_insert(conn, queues)
        discarded = sum(job.discarded for job in jobs)
        if discarded:
            self.logger.info("%d job(s) discarded: their unique key was taken", discarded)
        return len(jobs)
