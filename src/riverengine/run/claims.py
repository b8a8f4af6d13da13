"""Claims the jobs of one queue; none that this client claimed stays without its work.

Source: producer.go and riverpgxv5 JobGetAvailable at v0.51.1. Beyond River: claims that were stored
although their answer was lost are found again, and an answer too large to arrive in time is asked
for in parts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from riverengine.config import Config
from riverengine.queries.job_fetch import job_get_available, job_get_claimed
from riverengine.queries.statement import Record
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.queue_watch import TIMEOUT
from riverengine.types.job import JobId
from riverengine.types.metric import (
    JobGetAvailableCountMetric,
    JobGetAvailableDurationMetric,
    Metric,
)

_MOST = 10_000
_AGAIN = 1.0
_STRAGGLES = 120.0
"""Seconds in which a statement that was given up may still arrive and be stored: the longest pause
after which TCP sends once more what a broken path swallowed."""


class Claims:
    """Takes jobs for one producer, by one call at a time."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        queue: str,
        config: Config,
        client_id: str,
        kinds: Sequence[str] | None,
        known: Callable[[], Collection[JobId]],
        start: Callable[[Sequence[Record]], None],
        clock: Clock,
        logger: logging.Logger,
    ) -> None:
        """kinds: claim only these, None for all.  known: jobs of the client that were started.

        start: called with what was claimed, before the connection goes back.
        """
        self._pool = pool
        self._queue = queue
        self._schema = config.schema
        self._client_id = client_id
        self._kinds = kinds
        self._known = known
        self._start = start
        self._clock = clock
        self._logger = logger
        self._metric_hooks = config.extensions.metric_emit
        self._at_most = _MOST
        self._unsure = False
        self._look_at = float("inf")
        self.due_at: float = float("inf")
        """When (monotonic) to take again though nobody asked for jobs."""

    async def take(self, limit: int) -> tuple[int, bool]:
        """Start up to ``limit`` jobs; returns their number, and whether there may be more.

        After an error there may be claimed jobs that were not started: the next call looks for
        them, and another one later on.
        """
        limit = min(limit, self._at_most)
        due = self._clock.monotonic() >= self._look_at
        looks = self._unsure or due
        # Whatever goes wrong from here on, there may be claimed rows whose jobs were not started.
        self._unsure = True
        try:
            taken = await (self._find(limit) if looks else self._claim(limit))
        except BaseException:
            now = self._clock.monotonic()
            self._at_most = max(limit // 2, 1)
            self._look_at = now + _STRAGGLES
            self.due_at = now + _AGAIN
            raise
        self._at_most = max(self._at_most, 2 * limit)
        self._unsure = looks and taken >= limit
        if due and not self._unsure:
            self._look_at = float("inf")
        self.due_at = self._look_at
        return taken, looks or taken >= limit

    async def _claim(self, limit: int) -> int:
        began = self._clock.monotonic()
        async with self._pool.statements(timeout=TIMEOUT) as connection:
            records = await job_get_available(
                connection,
                schema=self._schema,
                queue=self._queue,
                kinds=self._kinds,
                limit=limit,
                client_id=self._client_id,
                timeout=TIMEOUT,
            )
            ended = self._clock.monotonic()
            self._start(records)
        if self._metric_hooks:
            duration = timedelta(seconds=ended - began)
            self._emit(JobGetAvailableDurationMetric(duration, self._queue))
            self._emit(JobGetAvailableCountMetric(len(records), self._queue))
        return len(records)

    async def _find(self, limit: int) -> int:
        """Start jobs this client claimed without hearing of it."""
        known = sorted(self._known())
        async with self._pool.statements(timeout=TIMEOUT) as connection:
            records = await job_get_claimed(
                connection,
                schema=self._schema,
                queue=self._queue,
                client_id=self._client_id,
                known=known,
                limit=limit,
                timeout=TIMEOUT,
            )
            self._start(records)
        return len(records)

    def _emit(self, metric: Metric) -> None:
        for hook in self._metric_hooks:
            try:
                hook.metric_emit(metric)
            except Exception:
                # The jobs are claimed: nothing may keep them from being started.
                self._logger.exception("the metric hook %s failed", type(hook).__name__)
