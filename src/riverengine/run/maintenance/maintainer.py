"""Runs the maintenance services while this client leads.

Source: internal/maintenance/queue_maintainer_leader.go at v0.51.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import TypeVar

import asyncpg

from riverengine.config import Config
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock, SystemClock
from riverengine.run.elector import Elector
from riverengine.run.maintenance.cleaner import JobCleaner
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.periodic import InsertFunc, PeriodicEnqueuer
from riverengine.run.maintenance.periodic_job import PeriodicJobBundle
from riverengine.run.maintenance.queue_cleaner import QueueCleaner
from riverengine.run.maintenance.reindexer import Reindexer
from riverengine.run.maintenance.rescuer import JobRescuer
from riverengine.run.maintenance.scheduler import JobScheduler, NotifyInsertFunc
from riverengine.run.service import Service
from riverengine.run.test_signal import TestSignal
from riverengine.types.queue import Leader
from riverengine.work.registry import Workers

ServiceT = TypeVar("ServiceT", bound=Service)

MAX_STARTS = 3
"""Failed starts after which the elector is asked to resign the term."""


class Maintainer(Service):
    """Starts the services when leadership is gained, stops them when it is lost."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        elector: Elector,
        config: Config,
        workers: Workers | None,
        periodic_jobs: PeriodicJobBundle,
        insert: InsertFunc,
        notify_insert: NotifyInsertFunc,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        clock: Clock | None = None,
        timings: MaintenanceTimings | None = None,
        logger: logging.Logger | None = None,
        services: Sequence[Service] | None = None,
        retry_scale: float = 1.0,
    ) -> None:
        """insert: plans into the connection's transaction, notifying as any insert does.

        notify_insert: tells the queues' producers, in the connection's transaction.  connect: opens
        a connection of the reindexer's own; closed after use.  services: instead of River's seven,
        for tests.  retry_scale: factor on the pauses between failed starts.
        """
        super().__init__("queue_maintainer", logger)
        clock = clock or SystemClock()
        timings = timings or MaintenanceTimings()
        self._elector = elector
        self._wanted: Leader | None = None
        self._changed = asyncio.Event()
        self._retry_scale = retry_scale
        self.signal_running: TestSignal[Leader] = TestSignal()
        self.signal_stopped: TestSignal[Leader] = TestSignal()
        self.signal_gave_up: TestSignal[Leader] = TestSignal()

        def known_kinds() -> Container[str] | None:
            if workers is None or config.skip_unknown_job_check:
                return None
            return workers

        self.services: Sequence[Service] = (
            services
            if services is not None
            else (
                JobCleaner(pool, config=config, clock=clock, timings=timings, logger=logger),
                JobRescuer(
                    pool,
                    config=config,
                    workers=workers,
                    clock=clock,
                    timings=timings,
                    logger=logger,
                ),
                JobScheduler(
                    pool,
                    config=config,
                    notify_insert=notify_insert,
                    clock=clock,
                    timings=timings,
                    logger=logger,
                ),
                QueueCleaner(pool, config=config, clock=clock, timings=timings, logger=logger),
                Reindexer(connect, config=config, clock=clock, timings=timings, logger=logger),
                PeriodicEnqueuer(
                    pool,
                    config=config,
                    jobs=periodic_jobs,
                    insert=insert,
                    clock=clock,
                    term=lambda: self._elector.term,
                    known_kinds=known_kinds,
                    timings=timings,
                    logger=logger,
                ),
            )
        )

    def service(self, service_type: type[ServiceT]) -> ServiceT:
        """The service of this type; raises ``LookupError`` when there is none."""
        for service in self.services:
            if isinstance(service, service_type):
                return service
        raise LookupError(f"no {service_type.__name__} is built")

    async def run(self) -> None:
        """Follow the elector until cancelled; the services are stopped at the end."""
        subscription = self._elector.subscribe(self._want, lambda _term: self._want(None))
        self.started.set()
        running: Leader | None = None
        try:
            while True:
                self._changed.clear()
                if running != self._wanted:
                    if running is not None:
                        await self._stop_services()
                        self.signal_stopped.fire(running)
                    running = self._wanted
                    if running is not None:
                        await self._start_services(running)
                    continue
                await self._changed.wait()
        finally:
            subscription.close()
            self._wanted = None
            await self._stop_services()

    def _want(self, term: Leader | None) -> None:
        self._wanted = term
        self._changed.set()

    async def _start_services(self, term: Leader) -> None:
        """Start all services; after ``MAX_STARTS`` failures give up this term."""
        for failures in range(1, MAX_STARTS + 1):
            try:
                for service in self.services:
                    await service.start()
            except Exception:
                self.logger.exception("starting the maintenance services failed (%d)", failures)
                await self._stop_services()
            else:
                self.signal_running.fire(term)
                return
            if failures < MAX_STARTS:
                try:
                    pause = 2.0 ** (failures - 1) * self._retry_scale
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                return
        self._elector.request_resign(term)
        self.signal_gave_up.fire(term)

    async def _stop_services(self) -> None:
        results = await asyncio.gather(
            *(service.stop() for service in self.services), return_exceptions=True
        )
        for service, result in zip(self.services, results, strict=True):
            if isinstance(result, Exception):
                self.logger.error("%s did not stop cleanly", service.name, exc_info=result)
