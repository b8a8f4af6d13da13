"""Fetches the jobs of one queue and keeps as many running as the queue's settings allow.

Source: producer.go at v0.51.1 (protocol 5.2). Deviations, for speed: the pace of fetches
(``fetch_limiter.py``); and while a backlog is known, free slots are refilled at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from riverengine.config import Config, QueueConfig
from riverengine.queries.job_fetch import in_order
from riverengine.queries.queue import queue_upsert
from riverengine.queries.statement import Record
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.claims import Claims
from riverengine.run.clock import Clock
from riverengine.run.completer import Completer
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.events import EventHub
from riverengine.run.executor import CancelCause, Executor
from riverengine.run.fetch_limiter import FetchLimiter
from riverengine.run.notifier import Notifier
from riverengine.run.queue_pause import QueuePause
from riverengine.run.queue_watch import TIMEOUT, QueueWatch
from riverengine.run.service import Service
from riverengine.run.stuck_jobs import StuckJobs
from riverengine.run.test_signal import TestSignal
from riverengine.types.job import JobId

_STARTED_AT_ONCE = 100
"""Jobs started before the event loop turns to other things."""

ExecutorFor = Callable[[Record, Callable[[Executor], None]], Executor]
"""Builds the executor of a claimed row; the callable is told when the job is stuck."""


class Producer(Service):
    """One queue's fetching and running jobs."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        queue: str,
        settings: QueueConfig,
        config: Config,
        client_id: str,
        kinds: Sequence[str] | None,
        notifier: Notifier | None,
        completer: Completer,
        events: EventHub,
        executor_for: ExecutorFor,
        clock: Clock,
        logger: logging.Logger,
        stuck_in_client: Callable[[], int] | None = None,
        recheck_interval: timedelta | None = None,
    ) -> None:
        """kinds: fetch only these, None for all.  notifier: None to rely on polling.

        stuck_in_client: stuck jobs of all queues; None where there is one.  recheck_interval: how
        often to look for missed cancellations, pauses and resumptions; None for River's.
        """
        super().__init__(f"producer:{queue}", logger)
        self.queue = queue
        self._pool = pool
        self._settings = settings
        self._config = config
        self._completer = completer
        self._events = events
        self._executor_for = executor_for
        self._clock = clock
        cooldown = settings.fetch_cooldown or config.fetch_cooldown
        self.limiter: FetchLimiter = FetchLimiter(cooldown.total_seconds(), clock)
        poll = settings.fetch_poll_interval or config.fetch_poll_interval
        self._poll_interval = poll.total_seconds()
        self._active: dict[JobId, Executor] = {}
        self._superseded: set[Executor] = set()
        self._left_to_rescuer: set[JobId] = set()
        self._stuck = StuckJobs(
            queue,
            handler=config.job_stuck_handler,
            total=stuck_in_client or (lambda: self.stuck),
            on_slot=self.poll,
            logger=self.logger,
        )
        self._pause = QueuePause(queue, events)
        self._may_fetch = False
        self._draining = False
        self._fetching = False
        self._backlog = False
        self._requested = True
        self._announced = False
        self._cancelled_while_fetching: set[int] = set()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.fetch_errors: int = 0
        """Failed fetches since the start, for metrics."""
        self.signal_fetched: TestSignal[int] = TestSignal()
        self._claims = Claims(
            pool,
            queue=queue,
            config=config,
            client_id=client_id,
            kinds=kinds,
            known=self._known_jobs,
            start=self._start_jobs,
            clock=clock,
            logger=self.logger,
        )
        self.watch: QueueWatch = QueueWatch(
            pool,
            queue=queue,
            schema=config.schema,
            notifier=notifier,
            active=self._active,
            on_insert=self.request_fetch,
            on_cancel=self._cancel,
            on_paused=self._set_paused,
            logger=self.logger,
            recheck_interval=recheck_interval,
        )

    @property
    def running(self) -> int:
        """Jobs whose outcome is not yet known."""
        return len(self._active) + len(self._superseded)

    @property
    def stuck(self) -> int:
        """Running jobs that ignore their timeout."""
        return len(self._stuck)

    @property
    def is_paused(self) -> bool:
        """Whether the queue is paused, as far as this client knows."""
        return self._pause.is_paused

    @property
    def max_workers(self) -> int:
        """Jobs run at a time."""
        return self._settings.max_workers

    async def register(self) -> None:
        """Write the queue's row and learn whether it is paused; errors are the caller's."""
        row = await queue_upsert(
            self._pool, schema=self._config.schema, name=self.queue, timeout=TIMEOUT
        )
        self._pause.is_paused = row.paused_at is not None

    @property
    def is_drained(self) -> bool:
        """Whether nothing is fetched any more and no job is running."""
        return self._draining and self._empty.is_set()

    def begin(self) -> None:
        """Claim jobs from now on; until then the service only listens."""
        self._may_fetch = True
        self._wake.set()

    def stop_fetching(self) -> None:
        """Claim nothing more; what runs goes on."""
        self._draining = True
        self._wake.set()

    async def drain(self) -> None:
        """Stop fetching and return when no job is running; jobs can still be cancelled."""
        self.stop_fetching()
        await self._empty.wait()

    def cancel_all(self, cause: CancelCause) -> None:
        """Cancel every running job."""
        for executor in (*self._active.values(), *self._superseded):
            executor.cancel(cause)

    def abandon_all(self) -> None:
        """Give back what still runs; its code is left behind, and its outcome will be dropped."""
        for executor in self._active.values():
            self.logger.error(
                "job %d of kind %s ignores its cancellation; it is abandoned and given back",
                *(executor.id, executor.kind),
            )
            self._completer.add(executor.abandon())
        for executor in self._superseded:
            executor.is_abandoned = True
        self._active.clear()
        self._superseded.clear()
        if not self._fetching:
            self._empty.set()

    async def run(self) -> None:
        """Fetch and run until cancelled."""
        subscriptions = self.watch.listen()
        try:
            async with asyncio.TaskGroup() as group:
                for name, loop in (
                    ("fetch", self._fetch_loop()),
                    ("recheck", self.watch.recheck_loop()),
                    ("heartbeat", self.watch.heartbeat_loop()),
                ):
                    group.create_task(loop, name=f"riverengine:{self.name}:{name}")
                self.started.set()
        finally:
            for subscription in subscriptions:
                subscription.close()

    async def stop(self) -> None:
        """Fetch no more, and ask nobody about stuck jobs; what runs goes on."""
        await super().stop()
        await self._stuck.close()

    # Fetching

    async def _fetch_loop(self) -> None:
        poll_at = self._next_poll()
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            if now >= poll_at:
                self._requested = True
                poll_at = self._next_poll()
            if now >= self._claims.due_at:
                self._requested = True
            delay = self._fetch_delay()
            if delay is not None and delay <= 0:
                await self._fetch()
                continue
            look_at = poll_at if self._requested else min(poll_at, self._claims.due_at)
            until = look_at - now
            try:
                async with asyncio.timeout(until if delay is None else min(delay, until)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _next_poll(self) -> float:
        jitter = random.uniform(0, max(self._poll_interval / 10, 0.01))
        return self._clock.monotonic() + self._poll_interval + jitter

    def _free(self) -> int:
        return self._settings.max_workers - self.running + self._stuck.slots

    def _fetch_delay(self) -> float | None:
        """Seconds until the next fetch; None while none is wanted."""
        free = self._free()
        if not self._may_fetch or self._draining or self.is_paused:
            return None
        if not self._requested or free <= 0:
            return None
        if self._backlog and free * 2 >= self._settings.max_workers:
            return 0.0
        return self.limiter.delay()

    async def _fetch(self) -> None:
        await self._completer.wait_for_room()
        limit = self._free()
        if self._draining or self.is_paused or limit <= 0:
            return
        self.limiter.begin(announced=self._announced)
        self._requested = self._announced = False
        self._fetching = True
        self._empty.clear()
        claim = asyncio.create_task(self._claims.take(limit), name=f"riverengine:{self.name}:claim")
        try:
            try:
                claimed, self._backlog = await asyncio.shield(claim)
            except asyncio.CancelledError:
                # The rows may be claimed already: they run, or they would wait for the rescuer.
                await asyncio.wait({claim})
                raise
            self.limiter.end(found=claimed > 0)
            self._requested = self._requested or self._backlog
            self.signal_fetched.fire(claimed)
        except DATABASE_ERRORS as error:
            self.fetch_errors += 1
            self._backlog = False
            self.logger.warning(
                "fetching from queue %s failed: %s", self.queue, type(error).__name__
            )
        finally:
            self._fetching = False
            self._cancelled_while_fetching.clear()
            self._pause.tell()
            if not self.running:
                self._empty.set()

    def _known_jobs(self) -> set[JobId]:
        return {*self._active, *self._completer.pending_ids(), *self._left_to_rescuer}

    def _start_jobs(self, records: Sequence[Record]) -> None:
        executors = []
        for record in in_order(records):
            executor = self._executor_for(record, self._stuck.add)
            former = self._active.get(executor.id)
            if former is not None:
                # It lost its job to a rescue, and the job came back here: its outcome is fenced.
                self._superseded.add(former)
                former.cancel(CancelCause.REMOTE)
            self._active[executor.id] = executor
            if executor.id in self._cancelled_while_fetching:
                executor.cancel(CancelCause.REMOTE)
            executors.append(executor)
        self._start_some(iter(executors))

    def _start_some(self, waiting: Iterator[Executor]) -> None:
        """Start a few at a time: between them the next fetch and the first outcomes get a turn."""
        loop = asyncio.get_running_loop()
        for started, executor in enumerate(waiting, start=1):
            if executor.is_abandoned:
                continue
            executor.task = asyncio.Task(
                self._work(executor), loop=loop, name=f"riverengine:job:{executor.kind}"
            )
            if started == _STARTED_AT_ONCE:
                loop.call_soon(self._start_some, waiting)
                return

    async def _work(self, executor: Executor) -> None:
        try:
            completion = await executor.execute()
            if executor.is_abandoned:
                self.logger.warning("abandoned job %d ended at last", executor.id)
            else:
                self._completer.add(completion)
        except Exception:
            self._left_to_rescuer.add(executor.id)
            self.logger.exception(
                "job %d ended without an outcome; it is left to the rescuer", executor.id
            )
        finally:
            # No await follows: a cancellation that came too late must not lose the outcome.
            if self._active.get(executor.id) is executor:
                del self._active[executor.id]
            else:
                self._superseded.discard(executor)
            if executor.is_stuck:
                self._stuck.remove(executor)
            if not self._active and not self._superseded and not self._fetching:
                self._empty.set()
            if self._requested:
                self._wake.set()

    # Control

    def request_fetch(self) -> None:
        """Jobs were announced: fetch as soon as the cooldown and free slots allow it."""
        self._announced = True
        self.poll()

    def poll(self) -> None:
        """Look for jobs, though nobody announced any."""
        self._requested = True
        self._wake.set()

    def _cancel(self, job_id: int) -> None:
        executor = self._active.get(JobId(job_id))
        if executor is not None:
            executor.cancel(CancelCause.REMOTE)
        elif self._fetching:
            self._cancelled_while_fetching.add(job_id)

    def _set_paused(self, paused: bool) -> None:
        if not self._pause.change(paused):
            return
        if not self._fetching:
            self._pause.tell()
        if not paused:
            self.request_fetch()
