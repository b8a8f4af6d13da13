"""The client's life: start, work, stop.

Source: client.go at v0.51.1, Start and Stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import asyncpg

from riverengine.client.admin import AdminApi
from riverengine.client.finish import FinishApi
from riverengine.client.health import HealthApi
from riverengine.client.running_jobs import RunningJobs
from riverengine.client.worked_queues import WorkedQueues
from riverengine.config import Config, QueueConfig
from riverengine.queries.statement import Record
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.client_id import new_client_id
from riverengine.run.clock import Clock, SystemClock
from riverengine.run.completer import Completer
from riverengine.run.connect import connect_beside
from riverengine.run.elector import Elector, ElectorTimings
from riverengine.run.events import DEFAULT_BUFFER, EventHub, Subscription
from riverengine.run.executor import CancelCause, Executor, WorkSettings
from riverengine.run.heartbeat import HeartbeatTimings
from riverengine.run.insert_limiter import InsertLimiter
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.maintainer import Maintainer
from riverengine.run.maintenance.periodic_job import PeriodicJob, PeriodicJobBundle
from riverengine.run.notifier import Notifier
from riverengine.run.pipeline import WorkChains
from riverengine.run.pooler import open_notifier, warn_of_kept_statements
from riverengine.run.presence import Presence
from riverengine.run.process_pool import ProcessPool, check_process_workers
from riverengine.run.producer import Producer
from riverengine.schema.migrator import check_schema
from riverengine.types.errors import (
    ConfigError,
    DatabaseUnavailableError,
    StopTimeoutError,
)
from riverengine.types.event import EventKind
from riverengine.work.registry import Workers

_CONNECT_TIMEOUT = 10.0
_NO_LIMIT = 1_000_000
"""Of threads: one is made for a job when no other is idle."""


class Client(AdminApi, FinishApi, HealthApi):
    """Inserts and administers jobs; with queues and workers, and once started, works them.

    Example::

        workers = Workers()
        workers.add(EmailWorker())
        config = Config(queues={"default": QueueConfig(max_workers=100)})
        async with asyncpg.create_pool(url) as pool:
            client = Client(pool, config, workers=workers)
            await client.start()
            await client.insert(EmailArgs(to="ann@example.com"))
            ...
            await client.stop()
    """

    database: BoundedPool
    stopped: asyncio.Event
    """Set while the client works no queue: before the start, and once a stop has ended."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        config: Config | None = None,
        *,
        workers: Workers | None = None,
        periodic_jobs: Sequence[PeriodicJob] = (),
        connect: Callable[[], Awaitable[asyncpg.Connection]] | None = None,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
        elector_timings: ElectorTimings | None = None,
        maintenance_timings: MaintenanceTimings | None = None,
        heartbeat_timings: HeartbeatTimings | None = None,
    ) -> None:
        """pool: stays the caller's to close.  connect: opens a connection beside the pool, in the
        event loop that uses it: for listening, for index rebuilds, and for heartbeats, which have a
        loop of their own; None for one with the pool's settings.  The timings are the defaults
        unless given.

        Raises ``UnsupportedDriverError`` for anything else than a pool of asyncpg's, and
        ``ConfigError`` for settings that contradict each other.
        """
        if not isinstance(workers, Workers | None):
            raise ConfigError("workers", f"must be Workers, not {type(workers).__name__}")
        clock = clock or SystemClock()
        super().__init__(
            BoundedPool(pool, logger=logger),
            config or Config(),
            clock=clock,
            logger=logger or logging.getLogger("riverengine"),
        )
        self.pool = pool
        if self.config.leader_election_disabled and periodic_jobs:
            raise ConfigError(
                "periodic_jobs", "must be empty when leader_election_disabled is true"
            )
        self.id: str = self.config.id or new_client_id(clock.now())
        self.workers = workers
        self._periodic_jobs: PeriodicJobBundle = PeriodicJobBundle(periodic_jobs)
        self.stopped = asyncio.Event()
        self.stopped.set()
        self._connect = connect or (lambda: connect_beside(pool))
        self._insert_limiter = InsertLimiter(self.config.fetch_cooldown, clock)
        self._events = EventHub(self.logger)
        self._elector_timings = elector_timings
        self._maintenance_timings = maintenance_timings or MaintenanceTimings()
        self._jobs = RunningJobs(self.config)
        self._presence = Presence(
            self.database,
            connect=self._connect,
            schema=self.config.schema,
            client_id=self.id,
            named=self.config.id is not None,
            max_deaths=self.config.max_process_deaths,
            on_replaced=self._give_way,
            on_restored=self._jobs.suspect_losses,
            clock=clock,
            logger=self.logger,
            timings=heartbeat_timings,
            maintenance_timings=maintenance_timings,
        )
        self._producers = self._jobs.producers
        self._queues = WorkedQueues(self.config, self._producers, self._producer_for)
        self._notifier: Notifier | None = None
        self._completer: Completer | None = None
        self._elector: Elector | None = None
        self._maintainer: Maintainer | None = None
        self._leader_callbacks: list[Callable[[bool], None]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPool | None = None
        self._work: WorkSettings | None = None
        self._starting = asyncio.Lock()
        self._shutdown: asyncio.Task[None] | None = None

    def subscribe(self, *kinds: EventKind, buffer: int = DEFAULT_BUFFER) -> Subscription:
        """Receive events of these kinds (all if none is given), for the jobs this client works.

        buffer: events kept for a slow subscriber; beyond it they are dropped and counted.  Raises
        ``ConfigError`` on a client without queues, which has no events, ``ValueError`` for a kind
        that River does not have.
        """
        if not self.config.queues:
            raise ConfigError("queues", "a client that works no queue has no events")
        chosen = frozenset(EventKind(kind) for kind in kinds or EventKind)
        return self._events.subscribe(chosen, buffer)

    @property
    def dropped_events(self) -> int:
        """Events lost to subscribers that fell behind, since the client was made."""
        return self._events.dropped

    # Start and stop

    async def start(self) -> None:
        """Work the queues; nothing happens when the client works already.

        Raises ``ConfigError``, ``DatabaseUnavailableError`` or ``SchemaVersionError``; nothing runs
        then.
        """
        async with self._starting:
            if self.is_started:
                return
            if not self.config.queues or self.workers is None:
                raise ConfigError(
                    "queues", "client queues and workers must be configured for a client to start"
                )
            if not len(self.workers):
                raise ConfigError("workers", "at least one worker must be added")
            check_process_workers(self.workers)
            await self._check_database()
            self._jobs.begin()
            self.stopped.clear()
            try:
                await self._start_services()
            except BaseException:
                await self._end()
                self.stopped.set()
                raise

    async def stop(self, *, timeout: timedelta | None = None) -> None:
        """Fetch nothing more, let running jobs end, write their outcomes, stop.

        timeout: how long to wait; ``StopTimeoutError`` then tells how many jobs still run, and
        the stop goes on.  ``Config.soft_stop_timeout`` cancels what runs longer.
        """
        await self._stop(timeout)

    async def stop_and_cancel(self, *, timeout: timedelta | None = None) -> None:
        """As :meth:`stop`, cancelling the running jobs; they become available again.

        Plain functions in threads cannot be cancelled: they are waited for, as is whatever ignores
        its cancellation, unless ``Config.hard_stop_timeout`` abandons it.
        """
        if self.is_started:
            self._jobs.cancel()
        await self._stop(timeout)

    async def add_queue(self, name: str, settings: QueueConfig) -> None:
        """Work another queue: at once when the client is started, else from its next start on.

        Raises ``QueueAlreadyAddedError``, and ``ConfigError`` for a bad name or setting, or when
        ``Config.queues`` is empty. After an error of the database the queue is not added.
        """
        await self._queues.add(name, settings)

    async def remove_queue(self, name: str, *, timeout: timedelta | None = None) -> None:
        """Fetch nothing more from a queue, and stop working it once its running jobs have ended.

        timeout: how long to wait; ``StopTimeoutError`` then tells how many still run, and another
        call goes on waiting.  Raises ``QueueNotFoundError``.
        """
        await self._queues.remove(name, timeout)

    # Parts

    def _wake(self, queue: str) -> None:
        producer = self._producers.get(queue)
        if producer is not None:
            producer.request_fetch()

    def _known_kinds(self) -> Container[str] | None:
        if self.workers is None or self.config.skip_unknown_job_check:
            return None
        return self.workers

    async def _check_database(self) -> None:
        try:
            async with self.database.acquire(timeout=_CONNECT_TIMEOUT) as connection:
                await check_schema(connection, schema=self.config.schema)
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError) as error:
            raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {error}") from error

    async def _start_services(self) -> None:
        config, logger = self.config, self.logger
        assert self.workers is not None
        self._work = self._work_settings(self.workers)
        await self._presence.start()
        if config.poll_only:
            await warn_of_kept_statements(database=self.database, pool=self.pool, logger=logger)
        else:
            self._notifier = await open_notifier(
                self._connect,
                database=self.database,
                pool=self.pool,
                schema=config.schema,
                logger=logger,
            )
        if self._notifier is not None:
            await self._notifier.start()
        self._completer = Completer(
            self.database,
            schema=config.schema,
            client_id=self.id,
            events=self._events,
            clock=self.clock,
            logger=logger,
        )
        await self._completer.start()
        await self._queues.open()
        if not config.leader_election_disabled:
            await self._start_leadership()
        for producer in [*self._producers.values()]:
            await producer.started.wait()
        if self._notifier is not None:
            await self._notifier.wait_until_listening()
        # Last, with nothing behind it that may fail: a job that has begun cannot be taken back.
        if not self._jobs.is_cancelling:
            self._queues.begin()

    def _producer_for(self, name: str, settings: QueueConfig) -> Producer:
        assert self._completer is not None
        assert self.workers is not None
        return Producer(
            self.database,
            queue=name,
            settings=settings,
            config=self.config,
            client_id=self.id,
            kinds=self.workers.kinds() if self.config.fetch_only_known_kinds else None,
            notifier=self._notifier,
            completer=self._completer,
            events=self._events,
            executor_for=self._executor_for,
            stuck_in_client=lambda: self.stuck_jobs,
            clock=self.clock,
            logger=self.logger,
        )

    def _work_settings(self, workers: Workers) -> WorkSettings:
        return WorkSettings(
            config=self.config,
            work=WorkChains(self.extensions, workers),
            client=self,
            clock=self.clock,
            logger=self.logger,
            threads=self._thread_pool,
            processes=self._process_pool,
            short_delay=self._maintenance_timings.scheduler_interval,
        )

    def _executor_for(self, record: Record, on_stuck: Callable[[Executor], None]) -> Executor:
        assert self._work is not None
        executor = Executor(record, self._work, on_stuck)
        if self._jobs.is_cancelling:
            executor.cancel(CancelCause.STOP)
        return executor

    def _thread_pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            # The queues' slots are the limit: they may grow, and stuck jobs hold threads beyond it.
            self._threads = ThreadPoolExecutor(_NO_LIMIT, thread_name_prefix="riverengine")
        return self._threads

    def _process_pool(self) -> ProcessPool:
        if self._processes is None:
            self._processes = ProcessPool(
                limit=self.config.max_processes or os.cpu_count() or 1,
                grace=self.config.process_kill_grace,
                logger=self.logger,
            )
        return self._processes

    async def _end_pools(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
        if self._processes is not None:
            await self._processes.close()
            self._processes = None

    async def _stop(self, timeout: timedelta | None) -> None:
        if not self.is_started:
            return
        shutdown = self._begin_shutdown()
        seconds = None if timeout is None else timeout.total_seconds()
        await asyncio.wait({shutdown}, timeout=seconds)
        if not shutdown.done():
            raise StopTimeoutError(self.running)
        shutdown.result()

    def _begin_shutdown(self) -> asyncio.Task[None]:
        if self._shutdown is None or self._shutdown.done():
            self._shutdown = asyncio.create_task(self._shut_down(), name="riverengine:shutdown")
        return self._shutdown

    def _give_way(self) -> None:
        """Another process took the id, and with it the jobs that run here."""
        self.logger.error("another process took the client id %s: this client stops", self.id)
        if self.is_started:
            self._jobs.cancel()
            self._begin_shutdown()

    async def _shut_down(self) -> None:
        async with self._starting:
            # What is being started has to be there to be stopped.
            await self._queues.close()
        await self._end()
        self._events.close_all()
        self._shutdown = None
        self.stopped.set()

    async def _end(self) -> None:
        """Let the jobs end, write their outcomes, stop everything."""
        await self._jobs.drain()
        if self._completer is not None:
            await self._completer.drain()
        await self._queues.stop()
        # The maintainer ends its services while the term is still held; then the elector resigns.
        services = (self._maintainer, self._elector, self._notifier, self._completer)
        self._maintainer = self._elector = None
        self._notifier = self._completer = None
        for service in services:
            if service is not None:
                await service.stop()
        await self._presence.stop()
        await self._end_pools()
