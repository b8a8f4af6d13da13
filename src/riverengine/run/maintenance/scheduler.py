"""Makes scheduled and retryable jobs available when their time comes.

Source: internal/maintenance/job_scheduler.go at v0.51.1; the present is the database's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

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
_KEYS_TIMEOUT = 5.0
"""For jobs that take a unique key, which somebody may be about to take for ever, while it keeps the
others waiting."""

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
        # Whether jobs that take a unique key wait for whoever is about to take it: the others go
        # first then.
        self._apart = False

    async def run_once(self) -> int:
        """Schedule what is due within the look-ahead."""
        if not self._apart:
            try:
                return await self.all_batches(partial(self._batch, None))
            except (TimeoutError, asyncpg.QueryCanceledError):
                self._apart = True
                self.logger.warning(
                    "scheduling timed out: jobs that take a unique key are left to the end"
                )
        number = await self.all_batches(partial(self._batch, False))
        number += await self.all_batches(partial(self._batch, True))
        self._apart = False
        return number

    async def _batch(self, take_keys: bool | None, limit: int) -> int:
        for _ in range(_CONFLICT_RETRIES):
            try:
                return await self._schedule(take_keys, limit)
            except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError) as error:
                # A job took the key while the statement ran; a second look sees it.
                self.logger.info("scheduling starts again: %s", type(error).__name__)
        return await self._schedule(take_keys, limit)

    async def _schedule(self, take_keys: bool | None, limit: int) -> int:
        timeout = _KEYS_TIMEOUT if take_keys else _TIMEOUT
        async with self._pool.transaction(timeout=timeout) as conn:
            jobs = await job_schedule(
                conn,
                schema=self._config.schema,
                look_ahead=self.interval,
                due_within=_DUE_WITHIN,
                limit=limit,
                take_keys=take_keys,
                timeout=timeout,
            )
            queues = sorted({job.queue for job in jobs if job.due_now})
            if queues:
                await self._notify_insert(conn, queues)
        discarded = sum(job.discarded for job in jobs)
        if discarded:
            self.logger.info("%d job(s) discarded: their unique key was taken", discarded)
        return len(jobs)
