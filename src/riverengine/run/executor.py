"""Runs one claimed job from its row to its outcome.

Source: internal/jobexecutor/job_executor.go at v0.51.1 (protocol 7.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import logging
import types
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor as ThreadPool
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from riverengine.config import Config
from riverengine.queries.job_row import job_row_from_record, undecodable_job_row
from riverengine.queries.statement import Record
from riverengine.run.clock import Clock
from riverengine.run.completer import Completion
from riverengine.run.pipeline import Attempt, WorkChains
from riverengine.run.process_pool import ProcessPool
from riverengine.types.errors import JobRowDecodeError, UnknownJobKindError
from riverengine.types.job import JobId, JobRow
from riverengine.work.args import decode_args
from riverengine.work.context import bind_loop, enter_work
from riverengine.work.outcome import Failed, Interrupted, JobFinish, finish_of, outcome_of
from riverengine.work.process_task import ProcessTask
from riverengine.work.registry import RegisteredWorker
from riverengine.work.resumable import ResumableState, begin_resumable, end_resumable
from riverengine.work.retry import DefaultRetryPolicy
from riverengine.work.worker import Job, Worker


class CancelCause(Enum):
    """Why the client cancels a running job."""

    REMOTE = "remote"
    STOP = "stop"
    TIMEOUT = "timeout"


_NO_CAUSE: frozenset[CancelCause] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """What all executions of a client share.

    work: the workers, with what surrounds them.  threads: the pool for workers that are plain
    functions.  processes: the pool for workers that want one.  short_delay: the longest delay after
    which a job is not left to the scheduler.
    """

    config: Config
    work: WorkChains
    client: object
    clock: Clock
    logger: logging.Logger
    threads: Callable[[], ThreadPool]
    processes: Callable[[], ProcessPool]
    short_delay: timedelta


class Executor(Attempt):
    """Runs one attempt; :meth:`cancel` may be called at any time.

    The row is decoded only when somebody looks at it: most jobs need a few of its columns.
    """

    __slots__ = (
        *("attempt", "attempted_at", "causes", "id", "is_abandoned", "is_stuck", "kind", "task"),
        *("_decode_error", "_job", "_on_stuck", "_record", "_registered", "_settings"),
        *("_cancellable", "_timeout", "_timer"),
    )

    def __init__(
        self, record: Record, settings: WorkSettings, on_stuck: Callable[[Executor], None]
    ) -> None:
        """record: a claimed row.  on_stuck: called once if the worker does not return in time after
        its timeout.
        """
        super().__init__(None, settings.client)
        self.id: JobId = JobId(record["id"])
        self.kind: str = record["kind"]
        self.attempt: int = max(record["attempt"], 0)
        self.attempted_at: datetime = record["attempted_at"]
        self.causes: frozenset[CancelCause] = _NO_CAUSE
        self.is_abandoned: bool = False
        self.is_stuck: bool = False
        self.task: asyncio.Task[None] | None = None
        self._record = record
        self._settings = settings
        self._on_stuck = on_stuck
        self._decode_error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timeout: timedelta | None = None
        self._cancellable = False
        self._job: Job[Any] | None = None
        self._registered: RegisteredWorker | None = None

    def cancel(self, cause: CancelCause) -> None:
        """Cancel the work; before it began: a coroutine at its first pause, a function wholly."""
        if cause in self.causes:
            return
        self.causes |= {cause}
        self.cancel_requested: bool = True
        if self._cancellable and self.task is not None:
            self.task.cancel()

    async def execute(self) -> Completion:
        """Work the job: what to write, when the work began and ended. Never raises errors."""
        settings = self._settings
        clock = settings.clock
        started_at = clock.now()
        registered: RegisteredWorker | None = None
        error: BaseException | None = None
        try:
            registered, chain = settings.work.get(self.kind)
            self._registered = registered
            if self._record["errors"]:
                # Only old errors can be of a shape that does not decode.
                self.row  # noqa: B018 - read for its failure
                if self._decode_error is not None:
                    raise JobRowDecodeError(self._decode_error)
            if registered is None:
                raise UnknownJobKindError(self.kind)
            enter_work(self)
            begin_resumable(self, self._record["metadata"])
            self._cancellable = True
            if self.causes:
                # Cancelled between claim and start: the work begins already cancelled.
                assert self.task is not None
                self.task.cancel()
            if chain is None:
                await self.decode_and_work()
            else:
                await chain(self)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - whatever ends the work is its outcome
            error = raised
        finally:
            self._cancellable = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self.resumable is not None:
            error = end_resumable(self, error)
        ended_at = clock.now()
        finish = None
        if error is not None or self.metadata:
            finish = await self._finish(error, registered, started_at, ended_at)
        return Completion(
            self, self.id, self.attempt, self.attempted_at, finish, started_at, ended_at
        )

    def abandon(self) -> Completion:
        """Give the attempt back although its code still runs; whatever that does is void."""
        self.is_abandoned = True
        now = self._settings.clock.now()
        finish = finish_of(Interrupted(), row=self.row, now=now, started_at=self.attempted_at)
        return Completion(
            self, self.id, self.attempt, self.attempted_at, finish, self.attempted_at, now
        )

    async def _finish(
        self,
        error: BaseException | None,
        registered: RegisteredWorker | None,
        started_at: datetime,
        ended_at: datetime,
    ) -> JobFinish:
        settings = self._settings
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
        return finish_of(
            outcome,
            row=self.row,
            now=ended_at,
            started_at=started_at,
            retry_at=retry_at,
            metadata=self.metadata,
            short_delay=settings.short_delay,
        )

    def _read_row(self) -> JobRow:
        try:
            return job_row_from_record(self._record)
        except Exception as error:  # noqa: BLE001 - told by the attempt
            # The row is claimed: it gets an execution, which fails, or it would be stuck.
            self._decode_error = error
            return undecodable_job_row(self._record)

    @property
    def is_decoded(self) -> bool:
        """Whether the args were decoded, so that the work began."""
        return self._job is not None

    async def decode_and_work(self) -> None:
        """Decode the args and work the job, watched by the timeout."""
        registered = self._registered
        assert registered is not None
        # A hook may have replaced the row, and its args with it.
        encoded: str = self._record["args"] if self._row is None else self._row.encoded_args
        args: object = decode_args(registered.args_type, encoded, kind=self.kind)
        job: Job[Any] = Job(self, args)
        self._job = job
        worker = registered.worker
        timeout = worker.timeout(job) if registered.has_timeout else None
        if timeout is None:
            timeout = self._settings.config.job_timeout
        if registered.is_async:
            await self._drive(worker.work(job), timeout)  # type: ignore[arg-type] # is_async
            return
        if self.causes:
            # A coroutine hears of it at its first pause; a function must not begin at all.
            await asyncio.sleep(0)
        if registered.in_process:
            await self._work_in_process(worker, job, timeout)
        else:
            self._arm(timeout)
            await self._work_in_thread(worker.work, job)

    @types.coroutine
    def _drive(
        self, work: Coroutine[Any, Any, None], timeout: timedelta
    ) -> Generator[Any, Any, None]:
        """Await the work; the timeout's timer is set only if it does not end at its first step."""
        try:
            awaited = work.send(None)
            self._arm(timeout)
            while True:
                try:
                    yield awaited
                except BaseException as raised:  # noqa: BLE001 - handed on to the work
                    awaited = work.throw(raised)
                else:
                    awaited = work.send(None)
        except StopIteration:
            return

    async def _work_in_thread(self, work: Callable[[Job[Any]], object], job: Job[Any]) -> None:
        loop = asyncio.get_running_loop()
        context = copy_context()
        context.run(bind_loop, loop)
        future = loop.run_in_executor(self._settings.threads(), context.run, _called, work, job)
        while not future.done():
            # A thread cannot be interrupted: giving the job up while it runs would run it twice.
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                self.cancel_requested = True
        result = future.result()
        if inspect.isawaitable(result):
            await result

    async def _work_in_process(
        self, worker: Worker[Any], job: Job[Any], timeout: timedelta
    ) -> None:
        result = await self._settings.processes().run(
            ProcessTask(worker, job, self.resumable), lambda: self._arm(timeout)
        )
        self.metadata.update(result.metadata)
        self.resumable: ResumableState | None = result.resumable
        if result.error is not None:
            raise result.error.error()

    def _arm(self, timeout: timedelta) -> None:
        if timeout <= timedelta(0):
            return
        self._timeout = timeout
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout.total_seconds(), self._time_out)

    def _time_out(self) -> None:
        self.timed_out = True
        self.cancel(CancelCause.TIMEOUT)
        threshold = self._settings.config.job_stuck_threshold.total_seconds()
        self._timer = asyncio.get_running_loop().call_later(threshold, self._report_stuck)

    def _report_stuck(self) -> None:
        self.is_stuck = True
        self._on_stuck(self)

    async def _is_cancelled_by_handler(self, error: BaseException) -> bool:
        handler = self._settings.config.error_handler
        if handler is None:
            return False
        if self.causes:
            # A cancellation for which the work never paused is not meant for the handler.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        self._cancellable = True
        try:
            result = await handler.handle_error(self.row, error)
        except (Exception, asyncio.CancelledError):
            self._settings.logger.exception("the error handler failed for kind %s", self.kind)
            return False
        finally:
            self._cancellable = False
        return result is not None and result.set_cancelled

    def _next_retry(self, registered: RegisteredWorker | None, now: datetime) -> datetime:
        if registered is not None and self._job is not None:
            try:
                at = registered.worker.next_retry(self._job)
                if at is not None:
                    return self._checked(at, now)
            except Exception:
                self._settings.logger.exception("next_retry of kind %s failed", self.kind)
        try:
            return self._checked(self._settings.config.retry_policy.next_retry(self.row, now), now)
        except Exception:
            self._settings.logger.exception("the retry policy failed for kind %s", self.kind)
        return DefaultRetryPolicy().next_retry(self.row, now)

    def _checked(self, at: datetime, now: datetime) -> datetime:
        if at.tzinfo is not None and at >= now:
            return at
        self._settings.logger.warning(
            "the retry time for kind %s lies in the past or has no zone; River's policy is used",
            self.kind,
        )
        return DefaultRetryPolicy().next_retry(self.row, now)

    def _log_failure(self, error: BaseException | None) -> None:
        self._settings.logger.info(
            "job failed: id=%d kind=%s queue=%s attempt=%d/%d error=%s",
            *(self.row.id, self.kind, self.row.queue, self.row.attempt),
            *(self.row.max_attempts, type(error).__name__),
        )


def _called(work: Callable[[Job[Any]], object], job: Job[Any]) -> object:
    try:
        return work(job)
    except StopIteration as error:
        # A future does not take it, and would never be done; a coroutine turns it into this, too.
        raise RuntimeError("work raised StopIteration") from error
