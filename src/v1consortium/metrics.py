"""Prometheus metrics of one worker process, and of the database it works on.

Labels are names of kinds, queues, states and types only: never ids, errors or values.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from riverengine import Event, Subscription
from riverengine.run.database_errors import DATABASE_ERRORS
from riverjobs import WorkflowOrchestrator
from riverjobs.monitor import metrics as count_all

REFRESH = timedelta(seconds=15)
"""How often the database is counted."""

_UNKNOWN = "unknown"


class WorkerMetrics:
    """Counts a client's events and, now and then, the database's rows; serves both over HTTP."""

    def __init__(
        self,
        orchestrator: WorkflowOrchestrator,
        *,
        logger: logging.Logger,
        refresh: timedelta = REFRESH,
    ) -> None:
        """refresh: how often the database is counted."""
        self._orchestrator = orchestrator
        self._logger = logger
        self._refresh = refresh.total_seconds()
        self.registry = CollectorRegistry()
        self._ended = Counter(
            "riverjobs_jobs_ended",
            "Attempts that ended, by kind and event",
            ["kind", "event"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "riverjobs_job_seconds", "Run time of attempts", ["kind"], registry=self.registry
        )
        self._running = self._gauge("running_jobs", "Jobs running in this process", "queue")
        self._dropped = self._gauge("events_dropped", "Events the metrics missed")
        self._jobs = self._gauge("queue_jobs", "Unfinished jobs in the database", "queue", "state")
        self._oldest = self._gauge(
            "queue_oldest_wait_seconds", "How long the oldest due job waits", "queue"
        )
        self._workflows = self._gauge("workflows", "Workflows in the database", "type", "status")
        self._durations = self._gauge(
            "workflow_seconds", "Of those completed in the last day", "type", "quantile"
        )

    async def run(self, port: int, *, host: str = "0.0.0.0") -> None:  # noqa: S104 - scraped
        """Serve on ``port`` until cancelled; raises ``OSError`` when the port is taken."""
        server, thread = start_http_server(port, addr=host, registry=self.registry)
        try:
            async with (
                self._orchestrator.client.subscribe(buffer=10_000) as events,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._count_events(events))
                group.create_task(self._count_database(events))
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()

    def observe(self, event: Event) -> None:
        """Count one event."""
        if event.job is None or event.stats is None:
            return
        workers = self._orchestrator.river_manager.workers
        kind = event.job.kind if workers.get(event.job.kind) is not None else _UNKNOWN
        self._ended.labels(kind, event.kind.value).inc()
        self._seconds.labels(kind).observe(event.stats.run.total_seconds())

    async def refresh(self) -> None:
        """Count the database's jobs and workflows; raises the database's errors."""
        found = await count_all(self._orchestrator)
        for gauge in (self._jobs, self._oldest, self._workflows, self._durations):
            gauge.clear()
        for queue, state, number, oldest in found.queues:
            self._jobs.labels(queue, state).set(number)
            if state == "available":
                self._oldest.labels(queue).set(oldest)
        for kind, status, number in found.workflows:
            self._workflows.labels(kind, status).set(number)
        for kind, _, median, p95 in found.durations:
            self._durations.labels(kind, "0.5").set(median)
            self._durations.labels(kind, "0.95").set(p95)
        for name, producer in self._orchestrator.client.producers.items():
            self._running.labels(name).set(producer.running)

    async def _count_events(self, events: Subscription) -> None:
        async for event in events:
            self.observe(event)

    async def _count_database(self, events: Subscription) -> None:
        while True:
            try:
                await self.refresh()
            except DATABASE_ERRORS as error:
                self._logger.warning("counting for metrics failed: %s", type(error).__name__)
            self._dropped.set(events.dropped)
            await asyncio.sleep(self._refresh)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"riverjobs_{name}", text, labels, registry=self.registry)
