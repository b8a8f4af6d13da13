"""Inserting jobs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.insert.options import InsertOpts
from riverengine.insert.plan import InsertPlan, plan_insert
from riverengine.queries.job_insert import job_insert_many, job_insert_many_fast
from riverengine.queries.notification import TOPIC_INSERT, insert_payload, notify_many
from riverengine.queries.statement import Executor
from riverengine.run.bounded_pool import TIMEOUT
from riverengine.run.insert_limiter import InsertLimiter
from riverengine.run.pipeline import insert_through, surrounds_insert
from riverengine.types.errors import InsertError
from riverengine.types.insert import InsertResult
from riverengine.types.job import JobState
from riverengine.work.middleware import InsertResults


@dataclass(frozen=True, slots=True)
class InsertManyParams:
    """One job of a batch whose options differ from its args type's."""

    args: object
    opts: InsertOpts | None = None


class InsertApi(ClientCore):
    """The part of the client that inserts jobs."""

    _insert_limiter: InsertLimiter

    async def insert(
        self, args: object, opts: InsertOpts | None = None, *, tx: AsyncTransaction | None = None
    ) -> InsertResult:
        """Insert one job.

        tx: the caller's transaction, on any driver known, in which the job appears and is announced
        on commit; None for one of its own.  Raises ``InsertError`` or ``UnknownJobKindError``
        before any SQL, ``NoTransactionError`` for a ``tx`` that commits each statement by itself,
        ``UnsupportedDriverError`` for an unknown driver, ``AmbiguousCommitError`` when the
        connection breaks while the own transaction commits.
        """
        return (await self.insert_many([InsertManyParams(args, opts)], tx=tx))[0]

    async def insert_many(
        self,
        jobs: Sequence[object | InsertManyParams],
        *,
        tx: AsyncTransaction | None = None,
    ) -> list[InsertResult]:
        """Insert jobs by one statement: all or none, results in the order given.

        jobs: args, or args with options.  tx: as for :meth:`insert`.  Two jobs of the batch with
        the same unique key raise ``DuplicateInBatchError``.  Unique keys are written in one order
        by everybody, so that batches do not deadlock each other; a deadlock with other writers of
        the same jobs is tried again, outside of ``tx``.
        """
        plans = self._plan(jobs)
        if tx is None and not surrounds_insert(self.extensions, plans):
            return await self._again(lambda: self._insert_at_once(plans), tx)

        async def insert() -> list[InsertResult]:
            async with self.transaction(tx, timeout=_limit(plans)) as connection:
                return await self.insert_plans(connection, plans)

        return await self._again(insert, tx)

    async def insert_many_fast(
        self,
        jobs: Sequence[object | InsertManyParams],
        *,
        tx: AsyncTransaction | None = None,
    ) -> int:
        """Insert jobs by COPY, faster for thousands, and return their number.

        A unique key that is held, or comes twice, raises ``UniqueConflictError``: nothing is
        inserted.  Through SQLAlchemy, which offers no COPY, it is one INSERT without results.
        Insert middleware gets None for each job's result.  A deadlock is tried again, outside of
        ``tx``.
        """
        plans = self._plan(jobs)

        async def insert() -> int:
            async with self.transaction(tx, timeout=_limit(plans)) as connection:

                async def copy(planned: Sequence[InsertPlan]) -> InsertResults:
                    number = await job_insert_many_fast(
                        connection, schema=self.config.schema, plans=planned, now=self.clock.now()
                    )
                    await self.notify_insert(connection, _announced_queues(planned))
                    return [None] * number

                return len(await insert_through(self.extensions, plans, copy))

        return await self._again(insert, tx)

    async def insert_plans(
        self, connection: Executor, plans: Sequence[InsertPlan]
    ) -> list[InsertResult]:
        """Insert planned rows in the connection's transaction, with middleware and announcement."""

        async def insert(planned: Sequence[InsertPlan]) -> InsertResults:
            with self._insert_limiter.announcing(_announced_queues(planned)) as allowed:
                rows = await job_insert_many(
                    connection.fetch,
                    schema=self.config.schema,
                    plans=planned,
                    now=self.clock.now(),
                    payloads=[insert_payload(queue) for queue in allowed],
                )
            return [InsertResult(row, duplicate) for row, duplicate in rows]

        results = await insert_through(self.extensions, plans, insert)
        found = [result for result in results if result is not None]
        if len(found) != len(plans):
            raise InsertError(
                f"middleware must return the result of every job: {len(found)} for {len(plans)}"
            )
        return found

    async def _insert_at_once(self, plans: Sequence[InsertPlan]) -> list[InsertResult]:
        """Insert and announce by one statement, where nobody needs to see the transaction."""
        queues = _announced_queues(plans)
        with self._insert_limiter.announcing(queues) as allowed:
            rows = await job_insert_many(
                self.database.write,
                schema=self.config.schema,
                plans=plans,
                now=self.clock.now(),
                payloads=[insert_payload(queue) for queue in allowed],
                timeout=_limit(plans),
            )
        for queue in set(queues).difference(allowed):
            self._wake(queue)
        return [InsertResult(row, duplicate) for row, duplicate in rows]

    def _wake(self, queue: str) -> None:
        """Let this client's own producer hear of jobs whose announcement was suppressed."""

    async def notify_insert(self, db: Executor, queues: Sequence[str]) -> None:
        """Announce new jobs to the queues' producers, in the connection's transaction."""
        payloads = [insert_payload(queue) for queue in self._insert_limiter.allowed(queues)]
        await notify_many(db, schema=self.config.schema, topic=TOPIC_INSERT, payloads=payloads)

    def _known_kinds(self) -> Container[str] | None:
        """Kinds that may be inserted; None for all."""
        return None

    def _plan(self, jobs: Sequence[object | InsertManyParams]) -> list[InsertPlan]:
        if not jobs:
            raise InsertError("no jobs to insert")
        known, now = self._known_kinds(), self.clock.now()
        plans = []
        for job in jobs:
            params = job if isinstance(job, InsertManyParams) else InsertManyParams(job)
            plans.append(
                plan_insert(
                    params.args,
                    params.opts,
                    now=now,
                    max_attempts=self.config.max_attempts,
                    max_args_bytes=self.config.max_args_bytes,
                    known_kinds=known,
                )
            )
        return plans


def _announced_queues(plans: Sequence[InsertPlan]) -> list[str]:
    return [plan.queue for plan in plans if plan.state is JobState.AVAILABLE]


def _limit(plans: Sequence[InsertPlan]) -> float:
    """Seconds an insert may take: a thousand jobs take far less than a second."""
    return TIMEOUT + len(plans) / 1_000
