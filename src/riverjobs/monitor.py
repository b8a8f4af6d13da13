"""The fleet's monitors: stuck workflows, cleanup, metrics, health, reconciliation.

Each is a function to call by hand and a periodic job, inserted by the leader and worked on the
queue ``scheduled``; what it found is logged and kept as the job's output.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from riverengine import (
    InsertOpts,
    Job,
    Json,
    PeriodicInterval,
    PeriodicJob,
    Worker,
    parse_cron,
    record_output,
)
from riverjobs.execution import WorkflowExecution
from riverjobs.orchestrator import WorkflowOrchestrator
from riverjobs.queries.execution import (
    execution_count,
    execution_delete_completed,
    execution_durations,
    execution_get_stuck,
)
from riverjobs.queries.queue_depth import queue_depths
from riverjobs.reconciler import reconcile
from riverjobs.river_manager import QUEUE_SCHEDULED

STUCK_AFTER = timedelta(hours=1)
KEEP_COMPLETED = timedelta(days=30)
_DURATIONS_WITHIN = timedelta(days=1)
_MAX_STUCK = 1_000
_CLEANUP_BATCH = 1_000


async def stuck_workflows(
    orchestrator: WorkflowOrchestrator, *, older_than: timedelta = STUCK_AFTER
) -> list[WorkflowExecution]:
    """Workflows that run longer than this, the oldest first."""
    return await execution_get_stuck(
        orchestrator.client.pool, older_than=older_than, limit=_MAX_STUCK
    )


async def cleanup(
    orchestrator: WorkflowOrchestrator, *, older_than: timedelta = KEEP_COMPLETED
) -> int:
    """Delete completed workflows older than this, with steps and history; returns how many."""
    deleted = 0
    while True:
        ids = await execution_delete_completed(
            orchestrator.client.pool, older_than=older_than, limit=_CLEANUP_BATCH
        )
        deleted += len(ids)
        if len(ids) < _CLEANUP_BATCH:
            return deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """A moment's figures.

    workflows: type, status, number.  durations: type, number, median and 95th percentile seconds of
    those completed in the last day.  queues: queue, job state, number, seconds the oldest due job
    waits.
    """

    workflows: Sequence[tuple[str, str, int]]
    durations: Sequence[tuple[str, int, float, float]]
    queues: Sequence[tuple[str, str, int, float]]


async def metrics(orchestrator: WorkflowOrchestrator) -> Metrics:
    """Count workflows and jobs."""
    pool = orchestrator.client.pool
    return Metrics(
        workflows=[(kind, status.value, n) for kind, status, n in await execution_count(pool)],
        durations=await execution_durations(pool, within=_DURATIONS_WITHIN),
        queues=await queue_depths(pool, schema=orchestrator.client.config.schema),
    )


async def health(orchestrator: WorkflowOrchestrator) -> list[str]:
    """What is wrong at the moment; empty when all is well."""
    problems = list((await orchestrator.river_manager.health()).problems)
    if not problems:
        stuck = await stuck_workflows(orchestrator)
        if stuck:
            problems.append(f"{len(stuck)} workflow(s) run longer than an hour")
    return problems


@dataclass(frozen=True, slots=True)
class StuckMonitorArgs:
    """Looks for workflows running longer than an hour."""

    kind: ClassVar[str] = "workflow_stuck_monitor"


@dataclass(frozen=True, slots=True)
class CleanupArgs:
    """Deletes workflows completed more than 30 days ago."""

    kind: ClassVar[str] = "workflow_cleanup"


@dataclass(frozen=True, slots=True)
class MetricsArgs:
    """Counts workflows and jobs."""

    kind: ClassVar[str] = "workflow_metrics"


@dataclass(frozen=True, slots=True)
class HealthArgs:
    """Checks database, schema and workflows."""

    kind: ClassVar[str] = "workflow_health"


@dataclass(frozen=True, slots=True)
class ReconcileArgs:
    """Tells workflows of jobs that ended behind their back."""

    kind: ClassVar[str] = "workflow_reconcile"


class StuckMonitorWorker(Worker[StuckMonitorArgs]):
    """Warns of every workflow that is stuck."""

    def __init__(self, orchestrator: WorkflowOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def work(self, job: Job[StuckMonitorArgs]) -> None:
        """Look, warn, record."""
        found = await stuck_workflows(self._orchestrator)
        for execution in found:
            self._orchestrator.logger.warning(
                "workflow is stuck",
                extra={
                    "fields": {
                        "workflow_id": execution.workflow_id,
                        "workflow_type": execution.workflow_type,
                        "hours": _hours_since(execution.started_at or execution.created_at),
                    }
                },
            )
        record_output({"stuck": [execution.workflow_id for execution in found]})


class CleanupWorker(Worker[CleanupArgs]):
    """Deletes old workflows."""

    def __init__(self, orchestrator: WorkflowOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def work(self, job: Job[CleanupArgs]) -> None:
        """Delete, record."""
        deleted = await cleanup(self._orchestrator)
        self._orchestrator.logger.info("old workflows deleted", extra={"fields": {"n": deleted}})
        record_output({"deleted": deleted})


class MetricsWorker(Worker[MetricsArgs]):
    """Logs the figures."""

    def __init__(self, orchestrator: WorkflowOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def work(self, job: Job[MetricsArgs]) -> None:
        """Count, log, record."""
        found: Json = dataclasses.asdict(await metrics(self._orchestrator))
        self._orchestrator.logger.info("workflow metrics", extra={"fields": found})
        record_output(found)


class HealthWorker(Worker[HealthArgs]):
    """Warns of what is wrong."""

    def __init__(self, orchestrator: WorkflowOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def work(self, job: Job[HealthArgs]) -> None:
        """Check, warn, record."""
        problems = await health(self._orchestrator)
        for problem in problems:
            self._orchestrator.logger.warning("health: %s", problem)
        record_output({"ok": not problems, "problems": problems})


class ReconcileWorker(Worker[ReconcileArgs]):
    """Runs the reconciler."""

    def __init__(self, orchestrator: WorkflowOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def work(self, job: Job[ReconcileArgs]) -> None:
        """Reconcile, record."""
        ended = await reconcile(self._orchestrator.client)
        if ended:
            self._orchestrator.logger.warning("%d step(s) had lost their job", ended)
        record_output({"ended": ended})


def register_monitors(orchestrator: WorkflowOrchestrator) -> None:
    """Add the monitors' workers and periodic jobs to the orchestrator's manager."""
    manager = orchestrator.river_manager
    manager.workers.add(StuckMonitorWorker(orchestrator))
    manager.workers.add(CleanupWorker(orchestrator))
    manager.workers.add(MetricsWorker(orchestrator))
    manager.workers.add(HealthWorker(orchestrator))
    manager.workers.add(ReconcileWorker(orchestrator))
    opts = InsertOpts(queue=QUEUE_SCHEDULED, max_attempts=3)
    manager.periodic_jobs += [
        PeriodicJob(
            PeriodicInterval(timedelta(minutes=5)),
            lambda: (StuckMonitorArgs(), opts),
            id="workflow_stuck_monitor",
        ),
        PeriodicJob(parse_cron("0 3 * * *"), lambda: (CleanupArgs(), opts), id="workflow_cleanup"),
        PeriodicJob(
            PeriodicInterval(timedelta(minutes=10)),
            lambda: (MetricsArgs(), opts),
            id="workflow_metrics",
        ),
        PeriodicJob(
            PeriodicInterval(timedelta(minutes=1)),
            lambda: (HealthArgs(), opts),
            id="workflow_health",
        ),
        PeriodicJob(
            PeriodicInterval(timedelta(seconds=30)),
            lambda: (ReconcileArgs(), opts),
            id="workflow_reconcile",
            run_on_start=True,
        ),
    ]


def _hours_since(at: datetime) -> float:
    return round((datetime.now(UTC) - at).total_seconds() / 3600, 1)
