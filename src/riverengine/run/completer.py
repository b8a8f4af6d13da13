"""Writes outcomes to the database in batches.

Source: internal/jobcompleter/job_completer.go at v0.51.1 for what is retried and when. An outcome
is kept until it is written, refused, or the pool is closed; a row that is refused, or locked by
somebody else, never holds up the others of its batch for long. What is refused for an unknown
reason is tried apart from the others, a bounded number of times (:mod:`riverengine.run.refusals`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from riverengine.queries.job_finish import (
    job_complete_plain,
    job_complete_plain_returning,
    job_finish_many,
)
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.events import EventHub
from riverengine.run.refusals import Suspicion, Verdict, verdict_of
from riverengine.run.service import Service, backoff
from riverengine.run.test_signal import TestSignal
from riverengine.types.event import Event, EventKind, JobStats
from riverengine.types.job import JobId, JobRow, JobState
from riverengine.work.outcome import JobFinish, completed_at, event_of
from riverengine.work.worker import RowSource

MAX_BATCH = 5_000
"""Outcomes written by one statement."""

MAX_PENDING = 10_000
"""Outcomes waiting; above it workers wait before they take another job."""

_TIMEOUT = 10.0
_GATHER = 0.005


@dataclass(slots=True)
class Completion:
    """The end of one attempt; id, attempt and attempted_at are its claim.

    source: knows the row as claimed.  finish: None for a job that is completed, at ``ended_at``,
    and nothing else.  suspicion: of an outcome that was refused, which is tried alone since.
    """

    source: RowSource
    id: JobId
    attempt: int
    attempted_at: datetime
    finish: JobFinish | None
    started_at: datetime
    ended_at: datetime
    suspicion: Suspicion | None = None


class Completer(Service):
    """Collects outcomes and writes those that came together with one statement."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        schema: str | None,
        client_id: str,
        events: EventHub,
        clock: Clock,
        logger: logging.Logger,
        retry_scale: float = 1.0,
    ) -> None:
        """retry_scale: factor on the pauses after database errors and refusals."""
        super().__init__("completer", logger)
        self._pool = pool
        self._schema = schema
        self._client_id = client_id
        self._events = events
        self._clock = clock
        self._retry_scale = retry_scale
        self._pending: list[Completion] = []
        self._being_written: list[Completion] = []
        self._apart: list[Completion] = []
        self._batch_size = MAX_BATCH
        self._failures = 0
        self._written = 0
        self._asked = False
        self._ending = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.refused: set[JobId] = set()
        """Jobs whose outcome could not be stored; they are left to the rescuer."""
        self.errors: int = 0
        """Failed writes, each tried again."""
        self.signal_written: TestSignal[int] = TestSignal()

    def add(self, completion: Completion) -> None:
        """Take over an outcome; it is written within moments."""
        self._pending.append(completion)
        self._idle.clear()
        self._arrived.set()
        if len(self._pending) + len(self._apart) >= MAX_PENDING:
            self._room.clear()

    async def wait_for_room(self) -> None:
        """Return at once, or when a full completer has written enough."""
        await self._room.wait()

    @property
    def pending(self) -> int:
        """Outcomes not yet written."""
        return len(self._pending) + len(self._being_written) + len(self._apart)

    def pending_ids(self) -> list[JobId]:
        """Jobs that ended but are still running in the database."""
        unwritten = (*self._pending, *self._being_written, *self._apart)
        return [*(each.id for each in unwritten), *self.refused]

    async def drain(self) -> None:
        """Return when every outcome handed over is written or refused."""
        idle = asyncio.create_task(self._idle.wait(), name="riverengine:completer:drain")
        self._ending = True
        try:
            if self._task is not None:
                await asyncio.wait({idle, self._task}, return_when=asyncio.FIRST_COMPLETED)
            while not self._idle.is_set():
                # Somebody cancelled the service's task: what it left is written here.
                await self._until_due()
                await self._flush()
        finally:
            self._ending = False
            idle.cancel()

    async def run(self) -> None:
        """Write until cancelled."""
        self.started.set()
        last = 0.0
        while True:
            await self._until_due()
            # A burst is gathered; a single outcome after a quiet while goes out at once. So do the
            # parts of a batch that was refused: the others wait for them.
            may_grow = self._batch_size == MAX_BATCH > len(self._pending)
            if may_grow and self._clock.monotonic() - last < _GATHER:
                await asyncio.sleep(_GATHER)
            await self._flush()
            last = self._clock.monotonic()

    async def _until_due(self) -> None:
        """Return when outcomes have arrived, or the pause of one set apart is over."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(map(_due, self._apart), default=None)):
                    await self._arrived.wait()
            now = loop.time()
            self._pending += [each for each in self._apart if _due(each) <= now]
            self._apart = [each for each in self._apart if _due(each) > now]
            if self._pending:
                self._arrived.set()
                return

    def _next_batch(self) -> list[Completion]:
        """The first outcomes; one that was refused stands alone."""
        head = self._pending[: self._batch_size]
        alone = next((at for at, each in enumerate(head) if each.suspicion is not None), len(head))
        return head[: alone or 1]

    async def _flush(self) -> None:
        """Write the next outcomes; those that fail are put back, and tried again."""
        size = self._batch_size
        self._being_written = self._next_batch()
        self._pending = self._pending[len(self._being_written) :]
        if not self._pending:
            self._arrived.clear()
        number = len(self._being_written)
        self._asked = False
        pause = 0.0
        try:
            await self._write()
            self._failures = 0
            self._written += 1
            self._batch_size = min(2 * size, MAX_BATCH)
            self.signal_written.fire(number)
        except DATABASE_ERRORS as error:
            pause = self._not_written(error)
        finally:
            if self._being_written:
                self._pending = self._being_written + self._pending
                self._being_written = []
                self._arrived.set()
            if len(self._pending) + len(self._apart) < MAX_PENDING // 2:
                self._room.set()
            if not self._pending and not self._apart:
                self._idle.set()
        if pause:
            await asyncio.sleep(pause)

    def _not_written(self, error: Exception) -> float:
        """What becomes of the batch; returns the pause before the next one, in seconds."""
        if self._pool.is_closed:
            while self._being_written:
                self._refuse(self._being_written.pop(), error)
            return 0.0
        verdict = verdict_of(error) if self._asked else Verdict.LATER
        if verdict is Verdict.LATER:
            return self._failed(error)
        if len(self._being_written) > 1:
            # Halved until the outcome that is refused is found, and left out.
            self._batch_size = -(-len(self._being_written) // 2)
        elif verdict is Verdict.NEVER:
            self._refuse(self._being_written.pop(), error)
        else:
            self._set_apart(self._being_written.pop(), error)
        return 0.0

    def _set_apart(self, completion: Completion, error: Exception) -> None:
        """Keep a refused outcome for another try, unless that was the last."""
        self.errors += 1
        given = completion.suspicion = completion.suspicion or Suspicion()
        if given.refused(
            written=self._written,
            ending=self._ending,
            now=asyncio.get_running_loop().time(),
            scale=self._retry_scale,
        ):
            self._refuse(completion, error)
            return
        self._apart.append(completion)
        if given.tries == 1 and len(self._apart) == 1:
            # Where all are refused, one line tells it.
            self.logger.warning(
                "the outcome of job %d was refused (%s); it is tried again apart from the others",
                *(completion.id, type(error).__name__),
            )

    def _failed(self, error: Exception) -> float:
        """Note a failure of the database; returns the pause before the next try, in seconds."""
        self.errors += 1
        self._failures += 1
        pause = self._retry_scale * backoff(self._failures, max_exponent=2).total_seconds()
        self.logger.warning(
            "writing %d outcome(s) failed (%s); tried again in %.1f s",
            *(len(self._being_written), type(error).__name__, pause),
        )
        if self._asked:
            # One outcome may be what fails them all: the others go first, a few at a time.
            self._batch_size = 1
            self._pending += self._being_written
            self._being_written = []
            self._arrived.set()
        return pause

    async def _write(self) -> None:
        """Write the batch; what is written leaves it at once."""
        finished = [each for each in self._being_written if each.finish is not None]
        plain = [each for each in self._being_written if each.finish is None]
        if plain:
            async with self._pool.statements(timeout=_TIMEOUT) as connection:
                self._asked = True
                left = await self._complete_plain(connection, plain)
                self._being_written = left + finished
        if self._being_written:
            # Waiting for a connection again is no outcome's fault.
            self._asked = False
            async with self._pool.statements(timeout=_TIMEOUT) as connection:
                self._asked = True
                await self._finish_many(connection, self._being_written)
                self._being_written = []

    async def _complete_plain(
        self, connection: asyncpg.Connection, batch: list[Completion]
    ) -> list[Completion]:
        if not self._events.is_listened_to:
            completed = await job_complete_plain(
                connection,
                schema=self._schema,
                client_id=self._client_id,
                claims=batch,
                timeout=_TIMEOUT,
            )
            # Where some were not, the full statement finds out which, and why.
            return [] if completed == len(batch) else batch
        stored = await job_complete_plain_returning(
            connection,
            schema=self._schema,
            client_id=self._client_id,
            claims=batch,
            timeout=_TIMEOUT,
        )
        for each in batch:
            if each.id in stored:
                row = dataclasses.replace(
                    each.source.row,
                    state=JobState.COMPLETED,
                    finalized_at=each.ended_at,
                    metadata_json=stored[each.id],
                )
                self._publish(each, row, EventKind.JOB_COMPLETED)
        return [each for each in batch if each.id not in stored]

    async def _finish_many(self, connection: asyncpg.Connection, batch: list[Completion]) -> None:
        finishes = [each.finish or completed_at(each.ended_at) for each in batch]
        rows = await job_finish_many(
            connection,
            schema=self._schema,
            client_id=self._client_id,
            claims=batch,
            finishes=finishes,
            timeout=_TIMEOUT,
        )
        for each, finish in zip(batch, finishes, strict=True):
            self._report(each, finish, rows.get(each.id))

    def _report(
        self, completion: Completion, finish: JobFinish, found: tuple[JobRow, bool] | None
    ) -> None:
        if found is None:
            self.logger.info("job %d was deleted while it ran", completion.id)
            return
        row, finished = found
        if not finished and (row.attempt > completion.attempt or row.state is JobState.RUNNING):
            self.logger.warning(
                "attempt %d of job %d no longer owns the job; its outcome is dropped",
                *(completion.attempt, completion.id),
            )
            return
        self._publish(completion, row, event_of(row.state, finish))

    def _publish(self, completion: Completion, row: JobRow, kind: EventKind | None) -> None:
        if kind is None or not self._events.is_listened_to:
            return
        stats = JobStats(
            complete=self._clock.now() - completion.ended_at,
            queue_wait=completion.started_at - completion.source.row.scheduled_at,
            run=completion.ended_at - completion.started_at,
        )
        self._events.publish(Event(kind=kind, job=row, stats=stats))

    def _refuse(self, completion: Completion, error: Exception) -> None:
        self.refused.add(completion.id)
        self.logger.error(
            "the outcome of job %d cannot be stored (%s); the job is left to the rescuer",
            *(completion.id, type(error).__name__),
        )


def _due(completion: Completion) -> float:
    return completion.suspicion.due if completion.suspicion is not None else 0.0
