"""Works one job of a worker inside a test's transaction, through the real insert and execution.

Source: rivertest/worker.go at v0.51.1.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import asyncpg

from riverengine.client import Client, InsertManyParams
from riverengine.config import Config
from riverengine.insert.options import InsertOpts
from riverengine.insert.plan import InsertPlan
from riverengine.queries.job_finish import job_finish_many
from riverengine.queries.statement import Record
from riverengine.queries.testing import job_start_attempt, transaction_is_aborted
from riverengine.run.clock import Clock
from riverengine.run.completer import Completion
from riverengine.run.executor import Executor
from riverengine.testing.transaction_pool import TransactionPool
from riverengine.types.errors import JobNotFoundError
from riverengine.types.event import EventKind
from riverengine.types.job import JobId, JobRow
from riverengine.work.error_handler import ErrorHandler, ErrorHandlerResult
from riverengine.work.outcome import completed_at, event_of
from riverengine.work.registry import Workers
from riverengine.work.worker import Worker

ArgsT = TypeVar("ArgsT")


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What became of a worked job.

    event_kind: the event a subscriber would have been told; None for none.  job: the row
    afterwards.  error: what failed the attempt; None for a job that completed, snoozed, was
    cancelled or interrupted.
    """

    event_kind: EventKind | None
    job: JobRow
    error: BaseException | None

    def raise_error(self) -> None:
        """Raise what failed the attempt, with its traceback; nothing after any other end."""
        if self.error is not None:
            raise self.error


class WorkerTester(Generic[ArgsT]):
    """Inserts and works jobs of one worker in the caller's transaction.

    worker: the one under test.  config: as for a client; its queues are not worked.  workers: the
    kinds the worker may insert; None for any.  clock: for what is written; None for the real one.

    Middleware, hooks, timeouts, retries, ``client_from_context``, ``record_output`` and all else
    behave as in a client, but unique jobs are not: tests that run side by side would skip each
    other's.  A worker's own use of the client happens in the transaction too. If the work leaves
    the transaction aborted, what it wrote is rolled back and the outcome still stored.  Example::

        async def test_it(river_tx):
            tester = WorkerTester(EmailWorker())
            result = await tester.work(river_tx, EmailArgs(to="ann@example.com"))
            assert result.event_kind is EventKind.JOB_COMPLETED
    """

    def __init__(
        self,
        worker: Worker[ArgsT],
        *,
        config: Config | None = None,
        workers: Workers | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._config = config or Config()
        self._insertable = workers
        self._clock = clock
        self._workers = Workers()
        self._workers.add(worker)

    async def work(
        self, tx: asyncpg.Connection, args: ArgsT, opts: InsertOpts | None = None
    ) -> WorkResult:
        """Insert a job and work it at once, whatever state and time ``opts`` give it.

        tx: a connection inside a transaction.  Raises ``InsertError`` for refused args or options.
        """
        inserted = await self._client(tx, _Failures()).insert(args, opts, tx=tx)
        return await self.work_job(tx, inserted.job)

    async def work_job(self, tx: asyncpg.Connection, job: JobRow | JobId) -> WorkResult:
        """Work a job the database holds, whatever its state.

        tx: a connection inside a transaction that sees the job.  Raises ``JobNotFoundError``.
        """
        failures = _Failures(self._config.error_handler)
        client = self._client(tx, failures)
        record = await job_start_attempt(
            tx,
            schema=self._config.schema,
            job_id=job.id if isinstance(job, JobRow) else job,
            client_id=client.id,
            attempted_at=client.clock.now(),
        )
        savepoint = tx.transaction()
        await savepoint.start()
        completion = await client.execute(record)
        if await transaction_is_aborted(tx):
            await savepoint.rollback()
        else:
            await savepoint.commit()
        finish = completion.finish or completed_at(completion.ended_at)
        found = await job_finish_many(
            tx,
            schema=self._config.schema,
            client_id=client.id,
            claims=[completion],
            finishes=[finish],
        )
        if completion.id not in found:
            raise JobNotFoundError(completion.id)
        after, _ = found[completion.id]
        return WorkResult(event_of(after.state, finish), after, failures.error)

    def _client(self, tx: asyncpg.Connection, failures: _Failures) -> _TestClient:
        return _TestClient(
            TransactionPool(tx),
            dataclasses.replace(self._config, error_handler=failures),
            clock=self._clock,
            workers=self._workers,
            tested=self._workers,
            insertable=self._insertable,
        )


class _TestClient(Client):
    """Plans, inserts and executes as any client, but without unique keys; it is never started."""

    __test__ = False

    def __init__(
        self, *args: Any, tested: Workers, insertable: Workers | None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._tested = tested
        self._insertable = insertable

    async def execute(self, record: Record) -> Completion:
        """Run one attempt of a claimed row: what it would write."""
        executor = Executor(record, self._work_settings(self._tested), _ignore_stuck)
        ends: list[Completion] = []

        async def run() -> None:
            ends.append(await executor.execute())

        executor.task = asyncio.create_task(run(), name=f"riverengine:job:{executor.kind}")
        try:
            await executor.task
        finally:
            await self._end_pools()
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            # The attempt took the cancellation of the test itself for the end of its work.
            raise asyncio.CancelledError
        return ends[0]

    def _known_kinds(self) -> Container[str] | None:
        if self._insertable is None or self.config.skip_unknown_job_check:
            return None
        return self._insertable

    def _plan(self, jobs: Sequence[object | InsertManyParams]) -> list[InsertPlan]:
        return [
            dataclasses.replace(plan, unique_key=None, unique_states=None)
            for plan in super()._plan(jobs)
        ]


class _Failures:
    """An error handler that remembers what failed the attempt and asks the configured one."""

    def __init__(self, asked: ErrorHandler | None = None) -> None:
        self.error: BaseException | None = None
        self._asked = asked

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        self.error = error
        return None if self._asked is None else await self._asked.handle_error(job, error)


def _ignore_stuck(_: Executor) -> None:
    """A stuck job is the test's time-out to report."""
