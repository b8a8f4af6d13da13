"""What every worker of a workflow step shares."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from riverengine import (
    Job,
    JobCancel,
    JobNotRunningError,
    JobRow,
    JobSnooze,
    Json,
    Worker,
    WorkerMiddleware,
)
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.work.context import timed_out
from riverengine.work.middleware import WorkNext
from riverjobs.args import BaseJobArgs
from riverjobs.errors import WorkflowError, retry_after
from riverjobs.step_attempt import OnCommit, RefusedError, StepAttempt, StepContext

if TYPE_CHECKING:
    from riverjobs.orchestrator import WorkflowOrchestrator

ArgsT = TypeVar("ArgsT", bound=BaseJobArgs)

DEFAULT_TIMEOUT = timedelta(minutes=5)
DEFAULT_RETRY_BASE = timedelta(minutes=1)
MAX_RETRY_DELAY = timedelta(hours=1)
_COMMIT_TRIES = 3

StepCode = Callable[[StepContext], Awaitable[Mapping[str, Json] | None]]
"""A step's code: returns what is merged into the context."""


class StepTimeoutError(WorkflowError, TimeoutError):
    """A step did not end within its worker's timeout."""


class WorkerBase(Worker[ArgsT]):
    """A worker of a workflow step: ``class SignupWorker(WorkerBase[SignupArgs])``.

    Its ``work`` calls :meth:`execute_with_workflow_tracking` with the step's code. Timeout 5
    minutes; failed attempts are tried again after 1, 2, 4, 8 ... minutes, at most an hour, give or
    take a tenth.
    """

    retry_base: timedelta = DEFAULT_RETRY_BASE
    """Wait after the first failure; it doubles with each further one."""

    def __init__(self, orchestrator: WorkflowOrchestrator) -> None:
        self.orchestrator = orchestrator
        self.logger: logging.Logger = orchestrator.logger

    def timeout(self, job: Job[ArgsT]) -> timedelta | None:
        """Five minutes."""
        return DEFAULT_TIMEOUT

    def next_retry(self, job: Job[ArgsT]) -> datetime | None:
        """``retry_base`` doubled with every attempt, up to an hour, with jitter."""
        doublings = min(max(job.row.attempt - 1, 0), 16)
        delay: timedelta = self.retry_base * (1 << doublings)
        return datetime.now(UTC) + min(delay, MAX_RETRY_DELAY) * random.uniform(0.9, 1.1)

    def middleware(self, job: JobRow) -> Sequence[WorkerMiddleware]:
        """Logs start and end of each attempt."""
        return (LogMiddleware(self.logger),)

    async def execute_with_workflow_tracking(
        self, job: Job[ArgsT], step: StepCode, *, on_commit: OnCommit | None = None
    ) -> None:
        """Run the step's code and store its result, the context and the next step at once.

        step: runs with no transaction open; may run again after a crash, so what it does at a
        provider must be keyed by ``StepContext.idempotency_key`` or looked up first.  on_commit:
        writes the application's rows in the same transaction.  Whatever the step raises ends the
        attempt: errors are tried again unless permanent (see :mod:`riverjobs.errors`),
        ``JobCancel`` fails the workflow, ``JobSnooze`` runs the step again later.
        """
        attempt = StepAttempt(
            self.orchestrator.client,
            self.orchestrator.definition(job.args.workflow_type),
            job,
            self.orchestrator.max_context_bytes,
        )
        try:
            context = await attempt.begin()
            if context is None:
                await attempt.finish_again()
                return
        except RefusedError as refusal:
            raise JobCancel(str(refusal)) from None
        try:
            try:
                output = await step(context)
            except asyncio.CancelledError:
                if not timed_out():
                    raise
                raise StepTimeoutError(f"step {context.step_name} timed out") from None
            await self._commit(attempt, output, on_commit)
        except JobNotRunningError:
            raise
        except RefusedError as refusal:
            raise JobCancel(str(refusal)) from None
        except JobSnooze as snooze:
            await attempt.put_off(snooze.duration)
            raise
        except JobCancel as cancel:
            await attempt.refuse(str(cancel.reason))
            raise
        except Exception as error:
            await self._fail(attempt, job, error)
            raise

    async def _commit(
        self, attempt: StepAttempt, output: Mapping[str, Json] | None, on_commit: OnCommit | None
    ) -> None:
        """Commit; after a broken connection look whether it happened, and try again if not."""
        for tries in range(1, _COMMIT_TRIES + 1):
            try:
                await attempt.commit(output, on_commit)
                return
            except JobNotRunningError:
                if tries > 1 and await attempt.is_committed():
                    return
                raise
            except DATABASE_ERRORS as error:
                if tries == _COMMIT_TRIES:
                    raise
                self.logger.warning(
                    "committing step %s failed (%s); tried again",
                    *(attempt.job.args.step_name, type(error).__name__),
                )
                await asyncio.sleep(0.1 * 2**tries)

    async def _fail(self, attempt: StepAttempt, job: Job[ArgsT], error: Exception) -> None:
        now = datetime.now(UTC)
        retry_at = self.next_retry(job) or now + self.retry_base
        asked = retry_after(error)
        if asked is not None:
            retry_at = max(retry_at, now + min(asked, MAX_RETRY_DELAY))
        try:
            await attempt.fail(error, retry_at=retry_at)
        except (JobNotRunningError, RefusedError) as lost:
            self.logger.warning("a failure was not recorded: %s", lost)
        except DATABASE_ERRORS as failure:
            # The executor writes the job's failure; the workflow learns of it at the next attempt
            # or from the reconciler.
            self.logger.warning("a failure was not recorded: %s", type(failure).__name__)


class LogMiddleware:
    """Logs an attempt's start and end with its workflow, step and duration."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """Run around the job."""
        args = job.args if isinstance(job.args, dict) else {}
        fields = {
            "job_id": job.id,
            "kind": job.kind,
            "queue": job.queue,
            "attempt": job.attempt,
            "workflow_id": args.get("workflow_id"),
            "workflow_type": args.get("workflow_type"),
            "step_name": args.get("step_name"),
        }
        began = time.monotonic()
        self._logger.info("job started", extra={"fields": fields})
        try:
            await next_()
        except BaseException as error:
            fields |= {"error_type": type(error).__name__, "seconds": _since(began)}
            self._logger.warning("job ended with an error", extra={"fields": fields})
            raise
        self._logger.info("job ended", extra={"fields": fields | {"seconds": _since(began)}})


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
