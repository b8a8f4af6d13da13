"""Deletes jobs that ended long ago.

Source: internal/maintenance/job_cleaner.go at v0.51.1; ages are measured by the database's clock.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from riverengine.config import FOREVER, Config
from riverengine.queries.maintenance import job_delete_before
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings


class JobCleaner(IntervalService):
    """Deletes cancelled, completed and discarded jobs after their retention, every 30 s."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        config: Config,
        clock: Clock,
        timings: MaintenanceTimings,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(
            "job_cleaner",
            interval=timings.job_cleaner_interval,
            clock=clock,
            timings=timings,
            logger=logger,
        )
        self._pool = pool
        self._config = config

    async def run_once(self) -> int:
        """Delete what is due; no query is sent when every state is kept for ever."""
        cancelled = _age(self._config.cancelled_job_retention_period)
        completed = _age(self._config.completed_job_retention_period)
        discarded = _age(self._config.discarded_job_retention_period)
        if cancelled is None and completed is None and discarded is None:
            return 0

        async def batch(limit: int) -> int:
            return await job_delete_before(
                self._pool,
                schema=self._config.schema,
                cancelled=cancelled,
                completed=completed,
                discarded=discarded,
                limit=limit,
                timeout=self._config.job_cleaner_timeout.total_seconds(),
            )

        return await self.all_batches(batch)


def _age(retention: timedelta) -> timedelta | None:
    return None if retention == FOREVER else retention
