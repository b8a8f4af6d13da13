"""Writes outcomes to the database in batches.

Source: internal/jobcompleter/job_completer.go at v0.51.1 for what is retried and when. An outcome
is kept until it is written, refused, or the pool is closed; a row that is refused, or locked by
somebody else, never holds up the others of its batch for long.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
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

_REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.PLPGSQLError,
    asyncpg.ProgramLimitExceededError,
)
"""Errors of a row, or of a trigger's rule for it: trying again cannot help."""


@dataclass(slots=True)
class Completion:
    """The end of one attempt; id, attempt and attempted_at are its claim.

    source: knows the row as claimed.  finish: None for a job that is completed, at ``ended_at``,
    and nothing else.
    """

    source: RowSource
    id: JobId
    attempt: int
    attempted_at: datetime
    finish: JobFinish | None
    started_at: datetime
    ended_at: datetime


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
        """retry_scale: factor on the pauses after database errors."""
        super().__init__("completer", logger)
        self._pool = pool
        self._schema = schema
        self._client_id = client_id
        self._events = events
        self._clock = clock
        self._retry_scale = retry_scale
        self._pending: list[Completion] = []
        self._being_written: list[Completion] = []
        self._batch_size = MAX_BATCH
        self._failures = 0
        self._asked = False
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
        if len(self._pending) >= MAX_PENDING:
            self._room.clear()

    async def wait_for_room(self) -> None:
        """Return at once, or when a full completer has written enough."""
        await self._room.wait()

    @property
    def pending(self) -> int:
        """Outcomes not yet written."""
        return len(self._pending) + len(self._being_written)

    def pending_ids(self) -> list[JobId]:
        """Jobs that ended but are still running in the database."""
        unwritten = (each.id for each in (*self._pending, *self._being_written))
        return [*unwritten, *self.refused]

    async def drain(self) -> None:
        """Return when every outcome handed over is written or refused."""
        idle = asyncio.create_task(self._idle.wait(), name="riverengine:completer:drain")
        try:
            if self._task is not None:
                await asyncio.wait({idle, self._task}, return_when=asyncio.FIRST_COMPLETED)
            while not self._idle.is_set():
                # Somebody cancelled the service's task: what it left is written here.
                await self._flush()
        finally:
            idle.cancel()

    async def run(self) -> None:
        """Write until cancelled."""
        self.started.set()
        last = 0.0
        while True:
            await self._arrived.wait()
            # A burst is gathered; a single outcome after a quiet while goes out at once.
            if len(self._pending) < MAX_BATCH and self._clock.monotonic() - last < _GATHER:
                await asyncio.sleep(_GATHER)
            await self._flush()
            last = self._clock.monotonic()

    async def _flush(self) -> None:
        """Write the next outcomes; those that fail are put back, and tried again."""
        size = self._batch_size
        self._being_written, self._pending = self._pending[:size], self._pending[size:]
        if not self._pending:
            self._arrived.clear()
        number = len(self._being_written)
        self._asked = False
        pause = 0.0
        try:
            await self._write()
            self._failures = 0
            self._batch_size = min(2 * size, MAX_BATCH)
            self.signal_written.fire(number)
        except _REFUSED as error:
            # Halved until the outcome that is refused is found, and left out.
            self._batch_size = -(-len(self._being_written) // 2)
            if len(self._being_written) == 1:
                self._refuse(self._being_written.pop(), error)
        except DATABASE_ERRORS as error:
            if self._pool.is_closed:
                while self._being_written:
                    self._refuse(self._being_written.pop(), error)
            else:
                pause = self._failed(error)
        finally:
            if self._being_written:
                self._pending = self._being_written + self._pending
                self._being_written = []
                self._arrived.set()
            if len(self._pending) < MAX_PENDING // 2:
                self._room.set()
            if not self._pending:
                self._idle.set()
        if pause:
            await asyncio.sleep(pause)

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
