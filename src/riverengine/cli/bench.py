"""``bench``: how many jobs a second one process works.

Source: cmd/river/riverbench/river_bench.go: the same settings, numbers and lines.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg

from riverengine.cli.database import Database
from riverengine.cli.durations import format_duration, truncated
from riverengine.client import Client
from riverengine.config import Config, QueueConfig
from riverengine.queries.bench import bench_other_kinds, bench_place, bench_reset
from riverengine.run.events import Subscription
from riverengine.types.errors import ConfigError
from riverengine.types.event import EventKind
from riverengine.types.job import JobState
from riverengine.work.registry import Workers
from riverengine.work.worker import Job, Worker

MAX_WORKERS = 2_000
INSERT_BATCH = 5_000
JOBS_READY = 75_000
"""Jobs kept waiting: more than a process works between two looks."""

ITERATION = timedelta(seconds=2)
_LOOK_EVERY = 0.25
_POOL_SIZE = 20


@dataclass(frozen=True)
class BenchmarkArgs:
    """Args of the one kind; Go's benchmark uses the same."""

    kind: ClassVar[str] = "benchmark"
    num: int = 0


class BenchmarkWorker(Worker[BenchmarkArgs]):
    """Does nothing."""

    async def work(self, job: Job[BenchmarkArgs]) -> None:
        """Nothing."""


async def bench(options: Namespace, database: Database) -> int:
    """The subcommand."""
    async with database.pool(_POOL_SIZE) as pool:
        await _empty(pool, options)
        await _Bench(pool, options).run()
    return 0


async def _empty(pool: asyncpg.Pool, options: Namespace) -> None:
    """Delete all jobs, unless there are some that are not a benchmark's."""
    async with pool.acquire() as connection:
        place = await bench_place(connection, schema=options.schema)
        kinds = await bench_other_kinds(connection, schema=options.schema, kind=BenchmarkArgs.kind)
        table = f"{place.schema}.river_job of database {place.database}"
        if kinds and not options.truncate:
            raise ConfigError(
                "--truncate",
                f"{table} holds jobs of other kinds than the benchmark's ({', '.join(kinds)}); "
                "the benchmark deletes every job: give --truncate if that is wanted",
            )
        sys.stderr.write(f"bench: DELETING EVERY JOB in {table}\n")
        await bench_reset(connection, schema=options.schema)


class _Bench:
    """One run."""

    def __init__(self, pool: asyncpg.Pool, options: Namespace) -> None:
        workers = Workers()
        workers.add(BenchmarkWorker())
        self._client = Client(
            pool,
            Config(
                schema=options.schema,
                fetch_cooldown=timedelta(milliseconds=2),
                fetch_poll_interval=timedelta(milliseconds=20),
                queues={"default": QueueConfig(max_workers=MAX_WORKERS)},
            ),
            workers=workers,
        )
        self._duration: timedelta | None = options.duration
        self._total: int | None = options.num_total_jobs
        self._inserted = 0
        self._worked = 0
        self._last_worked_at = 0.0
        self._end = asyncio.Event()
        """Set by a signal, and when all jobs of ``--num-total-jobs`` are worked."""

    async def run(self) -> None:
        """Insert, work and tell, until the end; a failure of either ends the other."""
        with self._signals():
            await self._fill(JOBS_READY if self._total is None else self._total)
            if self._end.is_set():
                return
            # Jobs are counted when their outcome is stored, not when their worker returned.
            subscription = self._client.subscribe(
                *(EventKind.JOB_CANCELLED, EventKind.JOB_COMPLETED, EventKind.JOB_FAILED),
                buffer=2 * JOBS_READY,
            )
            async with subscription:
                await self._client.start()
                try:
                    await self._measure(subscription)
                finally:
                    await self._client.stop()

    async def _measure(self, subscription: Subscription) -> None:
        started = time.monotonic()
        self._last_worked_at = started
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(self._count(subscription))]
                if self._total is None:
                    background.append(group.create_task(self._keep_filled()))
                await self._tell()
                for task in background:
                    task.cancel()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        took = self._last_worked_at - started
        rate = self._worked / took if took > 0 else 0.0
        _say(
            f"bench: total jobs worked [ {self._worked:10d} ], total jobs inserted "
            f"[ {self._inserted:10d} ], overall job/sec [ {rate:10.1f} ], running "
            f"{format_duration(timedelta(seconds=took))}"
        )

    async def _tell(self) -> None:
        """A line now and after every iteration."""
        period, iterations = timedelta(0), 0
        worked_before, inserted_before = 0, 0
        while self._duration is None or iterations * ITERATION < self._duration:
            worked, inserted = self._worked - worked_before, self._inserted - inserted_before
            rate = worked / period.total_seconds() if period else 0.0
            _say(
                f"bench: jobs worked [ {worked:10d} ], inserted [ {inserted:10d} ], "
                f"job/sec [ {rate:10.1f} ] [{format_duration(truncated(period))}]"
            )
            worked_before, inserted_before = self._worked, self._inserted
            if self._end.is_set():
                return
            left = self._duration - iterations * ITERATION if self._duration else ITERATION
            period = await _wait(self._end, min(left, ITERATION))
            iterations += 1

    async def _count(self, subscription: Subscription) -> None:
        async for event in subscription:
            if event.kind is not EventKind.JOB_COMPLETED:
                assert event.job is not None
                self._client.logger.error(
                    "bench: job %d ended as %s", event.job.id, event.job.state
                )
                if event.job.state is not JobState.DISCARDED:
                    continue
            self._worked += 1
            self._last_worked_at = time.monotonic()
            if self._worked == self._total:
                self._end.set()

    async def _keep_filled(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self._fill(JOBS_READY)

    async def _fill(self, wanted: int) -> None:
        """Insert in batches until so many jobs wait."""
        while (missing := wanted - (self._inserted - self._worked)) > 0 and not self._end.is_set():
            batch = [
                BenchmarkArgs(self._inserted + n + 1) for n in range(min(missing, INSERT_BATCH))
            ]
            self._inserted += await self._client.insert_many_fast(batch)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let the first signal end the run and the second cancel what still runs."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def received() -> None:
            if self._end.is_set():
                sys.stderr.write("second signal received; stopping at once\n")
                task.cancel()
            self._end.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, received)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def _wait(event: asyncio.Event, duration: timedelta) -> timedelta:
    """Return when the event is set, or after the duration: how long that was, the duration at most.

    Iterations are counted, not timed, so that a run lasts as long as it was told to.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(duration.total_seconds()):
            await event.wait()
    except TimeoutError:
        return duration
    return min(timedelta(seconds=time.monotonic() - began), duration)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
