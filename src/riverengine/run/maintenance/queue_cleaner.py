"""Forgets queues nobody works any more.

Source: internal/maintenance/queue_cleaner.go at v0.51.1; ages are measured by the database's clock.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from riverengine.config import Config
from riverengine.queries.maintenance import queue_delete_expired
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings

RETENTION = timedelta(hours=24)
"""A queue's row goes this long after the last heartbeat of a client, paused or not."""

_TIMEOUT = 30.0


class QueueCleaner(IntervalService):
    """Deletes rows of ``river_queue`` without a heartbeat, every hour."""

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
            "queue_cleaner",
            interval=timings.queue_cleaner_interval,
            clock=clock,
            timings=timings,
            logger=logger,
        )
        self._pool = pool
        self._config = config

    async def run_once(self) -> int:
        """Delete what is due."""

        async def batch(limit: int) -> int:
            names = await queue_delete_expired(
                self._pool,
                schema=self._config.schema,
                age=RETENTION,
                limit=limit,
                timeout=_TIMEOUT,
            )
            if names:
                self.logger.info("%d queue(s) without a heartbeat were deleted", len(names))
            return len(names)

        return await self.all_batches(batch)
