"""What the leader's services share: a staggered start, a ticker, batches, a circuit breaker."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from riverengine.run.clock import Clock
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.service import Service
from riverengine.run.test_signal import TestSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceTimings:
    """Durations and sizes every maintenance service knows; River's unless a test changes them.

    stagger: longest random pause before the first run.  batch_size: rows per statement.
    reduced_batch_size: the same once the circuit breaker opened.  batch_pause: shortest and longest
    pause between two batches.  ..._interval: between two runs of a service; the scheduler's is also
    how early a job becomes available, and the longest delay of a retry or snooze that leaves a job
    available.
    """

    stagger: timedelta = timedelta(seconds=1)
    batch_size: int = 10_000
    reduced_batch_size: int = 1_000
    batch_pause: tuple[timedelta, timedelta] = (timedelta(milliseconds=50), timedelta(seconds=1))
    job_cleaner_interval: timedelta = timedelta(seconds=30)
    queue_cleaner_interval: timedelta = timedelta(hours=1)
    rescuer_interval: timedelta = timedelta(seconds=30)
    scheduler_interval: timedelta = timedelta(seconds=5)


class CircuitBreaker:
    """Opens after ``limit`` failures in a row within ``window``, and stays open.

    Any success in between starts the count again. Source: rivershared/circuitbreaker.
    """

    def __init__(
        self, clock: Clock, *, limit: int = 3, window: timedelta = timedelta(minutes=10)
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window.total_seconds()
        self._failures: deque[float] = deque()
        self.is_open: bool = False

    def fail(self) -> None:
        """Count a failure."""
        now = self._clock.monotonic()
        self._failures.append(now)
        while self._failures[0] <= now - self._window:
            self._failures.popleft()
        if len(self._failures) >= self._limit:
            self.is_open = True

    def succeed(self) -> None:
        """Forget earlier failures, unless the breaker is open."""
        self._failures.clear()


class IntervalService(Service):
    """Runs :meth:`run_once` at the start and then every ``interval``, until stopped.

    An error ends one run: it is logged, counted in ``failures``, and the next tick tries again. A
    tick that falls into a run is dropped.
    """

    def __init__(
        self,
        name: str,
        *,
        interval: timedelta,
        clock: Clock,
        timings: MaintenanceTimings,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(name, logger)
        self.interval = interval
        self.clock = clock
        self.timings = timings
        self.breaker: CircuitBreaker = CircuitBreaker(clock)
        self.failures: int = 0
        self.signal_ran: TestSignal[int] = TestSignal()
        """Fired after every good run with the number of rows it touched."""
        self.signal_failed: TestSignal[Exception] = TestSignal()

    @abstractmethod
    async def run_once(self) -> int:
        """One run; returns how many rows it touched."""

    @property
    def batch_size(self) -> int:
        """Rows per statement, fewer once the circuit breaker opened."""
        if self.breaker.is_open:
            return self.timings.reduced_batch_size
        return self.timings.batch_size

    def _count_failure(self) -> None:
        self.failures += 1

    async def run(self) -> None:
        """Tick until cancelled."""
        await asyncio.sleep(random.random() * self.timings.stagger.total_seconds())
        self.started.set()
        every = self.interval.total_seconds()
        due = self.clock.monotonic()
        while True:
            try:
                rows = await self.run_once()
            except Exception as error:
                self._count_failure()
                self.logger.warning(
                    "%s: a run failed (%s); the next tick tries again",
                    *(self.name, type(error).__name__),
                    # An outage of the database says nothing by its trace, and comes in hundreds.
                    exc_info=None if isinstance(error, DATABASE_ERRORS) else error,
                )
                self.signal_failed.fire(error)
            else:
                self.signal_ran.fire(rows)
            now = self.clock.monotonic()
            due += every * max(1, -(-(now - due) // every))
            await asyncio.sleep(max(0.0, due - now))

    async def one_batch(self, batch: Callable[[int], Awaitable[int]]) -> tuple[int, bool]:
        """Run ``batch(limit)`` once; returns its row count and whether more rows may be left.

        A time-out counts for the circuit breaker and is raised.
        """
        size = self.batch_size
        try:
            rows = await batch(size)
        except (TimeoutError, asyncpg.QueryCanceledError):
            self.breaker.fail()
            raise
        self.breaker.succeed()
        return rows, rows >= size

    async def all_batches(self, batch: Callable[[int], Awaitable[int]]) -> int:
        """Run batches until one is not full; returns the rows of all of them."""
        total = 0
        while True:
            rows, more = await self.one_batch(batch)
            total += rows
            if not more:
                return total
            await self.pause_between_batches()

    async def pause_between_batches(self) -> None:
        """Leave the database some air."""
        shortest, longest = (pause.total_seconds() for pause in self.timings.batch_pause)
        await asyncio.sleep(random.uniform(shortest, longest))
