"""What a running client did, as ``runtime_stats`` tells it."""

from __future__ import annotations

from collections.abc import Sequence

from riverengine.insert.plan import InsertPlan
from riverengine.run.events import Subscription
from riverengine.types.job import JobRow, Json
from riverengine.work.error_handler import ErrorHandlerResult
from riverengine.work.hooks import HookPeriodicJobsStartParams, WorkEndResult
from riverengine.work.middleware import InsertNext, InsertResults, WorkNext


class Observations:
    """Counters and traces of one client, from its start on."""

    def __init__(self) -> None:
        self.cancelled_at_start = 0
        self.error_handler_calls = 0
        self.events: list[str] = []
        self.periodic_starts = 0
        self.resumable_first_runs = 0
        self.resumable_second_runs = 0
        self.trace: list[str] = []

    async def collect(self, events: Subscription) -> None:
        """Note every event's kind until the subscription ends."""
        async for event in events:
            self.events.append(event.kind.value)

    def as_json(self, *, stuck_jobs: int) -> Json:
        """All observations."""
        return {
            "cancelled_at_start": self.cancelled_at_start,
            "error_handler_calls": self.error_handler_calls,
            "events": list(self.events),
            "periodic_starts": self.periodic_starts,
            "resumable_first_runs": self.resumable_first_runs,
            "resumable_second_runs": self.resumable_second_runs,
            "stuck_jobs": stuck_jobs,
            "trace": list(self.trace),
        }


class TraceMiddleware:
    """Notes when inserts and work begin and end, outside of all hooks."""

    def __init__(self, observations: Observations) -> None:
        self._trace = observations.trace

    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        """Note an insert."""
        self._trace.append("middleware:insert_before")
        results = await next_(plans)
        self._trace.append("middleware:insert_after")
        return results

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """Note an attempt, also one that fails."""
        self._trace.append("middleware:work_before")
        try:
            await next_()
        finally:
            self._trace.append("middleware:work_after")


class TraceHooks:
    """Notes what happens inside of all middleware, and when periodic jobs begin."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations

    async def insert_begin(self, params: InsertPlan) -> None:
        """Note a job about to be inserted."""
        self._observations.trace.append("hook:insert_begin")

    async def work_begin(self, job: JobRow) -> None:
        """Note an attempt that begins."""
        self._observations.trace.append("hook:work_begin")

    async def work_end(self, job: JobRow, error: BaseException | None) -> WorkEndResult:
        """Note an attempt that ends, and leave its error."""
        self._observations.trace.append("hook:work_end")
        return None

    async def periodic_jobs_start(self, params: HookPeriodicJobsStartParams) -> None:
        """Count a term in which this client inserts periodic jobs."""
        self._observations.periodic_starts += 1


class CancellingErrorHandler:
    """Cancels every job whose attempt failed, and counts."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        """Cancel."""
        self._observations.error_handler_calls += 1
        return ErrorHandlerResult(set_cancelled=True)
