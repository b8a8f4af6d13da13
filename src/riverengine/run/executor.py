"""Runs one claimed job from its row to its outcome.

Source: internal/jobexecutor/job_executor.go at v0.51.1 (protocol 7.1).
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor as ThreadPool
from contextvars import copy_context
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from riverengine.config import Config
from riverengine.run.clock import Clock
from riverengine.types.errors import JobRowDecodeError, UnknownJobKindError
from riverengine.types.job import JobRow
from riverengine.work.args import decode_args
from riverengine.work.context import WorkContext, enter_work
from riverengine.work.middleware import WorkerMiddleware, WorkNext
from riverengine.work.outcome import Failed, JobFinish, finish_of, outcome_of
from riverengine.work.registry import RegisteredWorker, Workers
from riverengine.work.resumable import begin_resumable, end_resumable
from riverengine.work.retry import DefaultRetryPolicy
from riverengine.work.worker import Job


class CancelCause(Enum):
    """Why the client cancels a running job."""

    REMOTE = "remote"
    STOP = "stop"
    TIMEOUT = "timeout"


class Executor:
    """Runs one attempt; :meth:`cancel` may be called at any time."""

    def __init__(
        self,
        row: JobRow,
        *,
        decode_error: Exception | None,
        config: Config,
        workers: Workers,
        client: object,
        clock: Clock,
        logger: logging.Logger,
        threads: Callable[[], ThreadPool],
        on_stuck: Callable[[Executor], None],
    ) -> None:
        """decode_error: why the stored row could not be decoded; it then fails without a worker.

        threads: the pool for workers that are plain functions.  on_stuck: called once if the worker
        does not return in time after its timeout.
        """
        self.row = row
        self.causes: set[CancelCause] = set()
        self.is_stuck = False
        self.task: asyncio.Task[None] | None = None
        self._decode_error = decode_error
        self._config = config
        self._workers = workers
        self._clock = clock
        self._logger = logger
        self._threads = threads
        self._on_stuck = on_stuck
        self._context = WorkContext(row, client)
        self._timer: asyncio.TimerHandle | None = None
        self._timeout: timedelta | None = None
        self._working = False
        self._job: Job[Any] | None = None

    def cancel(self, cause: CancelCause) -> None:
        """Cancel the work; before it began, it is cancelled at its first pause."""
        if cause in self.causes:
            return
        self.causes.add(cause)
        self._context.cancel_requested = True
        if self._working and self.task is not None:
            self.task.cancel()

    async def execute(self) -> tuple[JobFinish, datetime, datetime]:
        """Work the job: what to write, when the work began, when it ended. Never raises errors."""
        started_at = self._clock.now()
        registered = self._workers.get(self.row.kind)
        error: BaseException | None = None
        try:
            if self._decode_error is not None:
                raise JobRowDecodeError(self._decode_error)
            if registered is None:
                raise UnknownJobKindError(self.row.kind)
            await self._run(registered)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - whatever ends the work is its outcome
            error = raised
        finally:
            self._disarm()
        ended_at = self._clock.now()
        outcome = outcome_of(
            error,
            cancelled_remotely=CancelCause.REMOTE in self.causes,
            stopping=CancelCause.STOP in self.causes,
            timed_out=self._timeout if CancelCause.TIMEOUT in self.causes else None,
        )
        retry_at = None
        if isinstance(outcome, Failed):
            self._log_failure(error)
            if error is not None and await self._is_cancelled_by_handler(error):
                outcome = dataclasses.replace(outcome, cancelled=True)
            if not outcome.permanent and self.row.attempt < self.row.max_attempts:
                retry_at = outcome.retry_at or self._next_retry(registered, ended_at)
        finish = finish_of(
            outcome,
            row=self.row,
            now=ended_at,
            started_at=started_at,
            retry_at=retry_at,
            metadata=self._context.metadata,
        )
        return finish, started_at, ended_at

    async def _run(self, registered: RegisteredWorker) -> None:
        """Middleware around decoding and work."""
        enter_work(self._context)
        worker = registered.worker

        async def innermost() -> None:
            args: object = decode_args(
                registered.args_type, self.row.encoded_args, kind=self.row.kind
            )
            job: Job[Any] = Job(self.row, args)
            self._job = job
            self._arm(worker.timeout(job))
            if inspect.iscoroutinefunction(worker.work):
                await worker.work(job)
            else:
                await self._work_in_thread(worker.work, job)

        middleware = [*self._config.worker_middleware, *worker.middleware(self.row)]
        self._working = True
        try:
            if self.causes:
                # Cancelled between claim and start: the work begins already cancelled.
                assert self.task is not None
                self.task.cancel()
            await self._resumably(_wrap(middleware, self.row, innermost))
        finally:
            self._working = False

    async def _resumably(self, work: WorkNext) -> None:
        """Outside of all middleware: what resumable steps read and leave."""
        begin_resumable(self._context)
        try:
            await work()
        except BaseException as error:
            end_resumable(self._context, error)
            raise
        end_resumable(self._context, None)

    async def _work_in_thread(self, work: Callable[[Job[Any]], object], job: Job[Any]) -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads(), copy_context().run, work, job)
        while not future.done():
            # A thread cannot be interrupted: giving the job up while it runs would run it twice.
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                self._context.cancel_requested = True
        result = future.result()
        if inspect.isawaitable(result):
            await result

    def _arm(self, given: timedelta | None) -> None:
        timeout = self._config.job_timeout if given is None else given
        if timeout <= timedelta(0):
            return
        self._timeout = timeout
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout.total_seconds(), self._time_out)

    def _time_out(self) -> None:
        self._context.timed_out = True
        self.cancel(CancelCause.TIMEOUT)
        threshold = self._config.job_stuck_threshold.total_seconds()
        self._timer = asyncio.get_running_loop().call_later(threshold, self._report_stuck)

    def _report_stuck(self) -> None:
        self.is_stuck = True
        self._on_stuck(self)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _is_cancelled_by_handler(self, error: BaseException) -> bool:
        handler = self._config.error_handler
        if handler is None:
            return False
        try:
            result = await handler.handle_error(self.row, error)
        except Exception:
            self._logger.exception("the error handler failed for kind %s", self.row.kind)
            return False
        return result is not None and result.set_cancelled

    def _next_retry(self, registered: RegisteredWorker | None, now: datetime) -> datetime:
        if registered is not None and self._job is not None:
            try:
                at = registered.worker.next_retry(self._job)
                if at is not None:
                    return self._checked(at, now)
            except Exception:
                self._logger.exception("next_retry of kind %s failed", self.row.kind)
        try:
            return self._checked(self._config.retry_policy.next_retry(self.row, now), now)
        except Exception:
            self._logger.exception("the retry policy failed for kind %s", self.row.kind)
        return DefaultRetryPolicy().next_retry(self.row, now)

    def _checked(self, at: datetime, now: datetime) -> datetime:
        if at.tzinfo is not None and at >= now:
            return at
        self._logger.warning(
            "the retry time for kind %s lies in the past or has no zone; River's policy is used",
            self.row.kind,
        )
        return DefaultRetryPolicy().next_retry(self.row, now)

    def _log_failure(self, error: BaseException | None) -> None:
        self._logger.info(
            "job failed: id=%d kind=%s queue=%s attempt=%d/%d error=%s",
            *(self.row.id, self.row.kind, self.row.queue, self.row.attempt),
            *(self.row.max_attempts, type(error).__name__),
        )


def _wrap(
    middleware: list[WorkerMiddleware], row: JobRow, innermost: Callable[[], Awaitable[None]]
) -> WorkNext:
    """The middleware around ``innermost``, the first one outermost."""
    wrapped: WorkNext = innermost
    for each in reversed(middleware):
        wrapped = _around(each, row, wrapped)
    return wrapped


def _around(middleware: WorkerMiddleware, row: JobRow, next_: WorkNext) -> WorkNext:
    async def call() -> None:
        await middleware.work(row, next_)

    return call
