"""Periodic jobs: the leader inserts a job at every instant of a schedule.

Source: periodic_job.go and internal/maintenance/periodic_job_enqueuer.go at v0.51.1. Additive to
River: a job with an ID is inserted at most once per instant even while two clients believe they
lead, and an insert that failed is tried again instead of being lost.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import random
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from riverengine.config import Config
from riverengine.insert.plan import InsertPlan, plan_insert
from riverengine.queries.leader import leader_hold
from riverengine.queries.maintenance import periodic_slot_claim
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.periodic_job import PeriodicJob, PeriodicJobBundle
from riverengine.run.service import Service
from riverengine.run.test_signal import TestSignal
from riverengine.types.queue import Leader
from riverengine.types.work_errors import PeriodicJobError
from riverengine.work.hooks import HookPeriodicJobsStartParams

MARGIN = timedelta(milliseconds=100)
"""A job due within this time of a firing is inserted with it."""

_LOOK = timedelta(minutes=1)
"""Longest pause: timers stand still while a machine sleeps, and a wall clock can be set."""

_INSERT_TIMEOUT = 10.0
"""Of one transaction; about how long a client frozen at its end keeps others from leading."""

_HOOK_TIMEOUT = 30.0
_MAX_TRIES = 5
_TERM_OVER_PAUSE = 1.0

SLOT_KEY = "riverengine:periodic_slot"
"""Metadata key with the instant a job with an ID was inserted for. Not a key of River's."""

InsertFunc = Callable[[asyncpg.Connection, Sequence[InsertPlan]], Awaitable[object]]
"""Inserts planned jobs in the connection's open transaction, with middleware and notification."""


class _TermOverError(Exception):
    """The term under which jobs were to be inserted has ended."""


@dataclass(slots=True, eq=False)
class _Entry:
    """One job's place in its schedule.

    next_run: None when no instant is left.  once: a run on start, dropped when it is done.
    """

    job: PeriodicJob
    next_run: datetime | None
    once: bool = False
    tries: int = 0

    def advance(self, logger: logging.Logger, after: datetime) -> None:
        """Go on to the first instant after ``after``."""
        self.tries = 0
        self.next_run = None
        if self.once:
            return
        try:
            following = self.job.schedule.next(after)
            if following is not None:
                if following.tzinfo is None or following <= after:
                    raise ValueError("a schedule must return a later, aware instant")
                self.next_run = following.astimezone(UTC)
        except Exception:
            logger.exception("the schedule of periodic job %s failed; the job stops", self.job.id)


@dataclass(frozen=True, slots=True)
class _Due:
    """An insert to make."""

    entry: _Entry
    slot: datetime
    plan: InsertPlan


class PeriodicEnqueuer(Service):
    """Inserts periodic jobs while this client leads."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        config: Config,
        jobs: PeriodicJobBundle,
        insert: InsertFunc,
        clock: Clock,
        term: Callable[[], Leader | None],
        known_kinds: Callable[[], Container[str] | None],
        timings: MaintenanceTimings,
        logger: logging.Logger | None = None,
        retry_pause: timedelta = timedelta(milliseconds=250),
    ) -> None:
        """term: the term under which to insert; nothing is inserted while it returns None.

        known_kinds: kinds that may be inserted, None for all.  retry_pause: doubled after each
        failed insert of an instant.
        """
        super().__init__("periodic_job_enqueuer", logger)
        self._pool = pool
        self._config = config
        self._hooks = config.extensions.periodic_jobs_start
        self._jobs = jobs
        self._insert = insert
        self._clock = clock
        self._term = term
        self._known_kinds = known_kinds
        self._timings = timings
        self._retry_pause = retry_pause
        self._entries: dict[int, _Entry] = {}
        self._starts: list[_Entry] = []
        self._changed = asyncio.Event()
        self.failures: int = 0
        self.signal_inserted: TestSignal[int] = TestSignal()
        """Fired after every firing with the number of jobs inserted."""
        self.signal_waiting: TestSignal[float] = TestSignal()
        """Fired with the seconds until the next firing."""

    async def start(self) -> None:
        """Start, unless a hook raises or takes too long: the leader's start fails then."""
        if self._hooks and not self.is_running:
            async with asyncio.timeout(_HOOK_TIMEOUT):
                for hook in self._hooks:
                    await hook.periodic_jobs_start(HookPeriodicJobsStartParams())
        await super().start()

    async def run(self) -> None:
        """Insert jobs when they are due, until cancelled."""
        await asyncio.sleep(random.random() * self._timings.stagger.total_seconds())
        self._entries.clear()
        self._starts.clear()
        unsubscribe = self._jobs.on_change(self._changed.set)
        try:
            self._follow_bundle()
            self.started.set()
            while True:
                await self._fire()
                pause = self._pause()
                self.signal_waiting.fire(pause)
                try:
                    # Not wait_for: on Python 3.11 it can swallow a cancellation.
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                self._follow_bundle()
        finally:
            unsubscribe()

    def _follow_bundle(self) -> None:
        self._changed.clear()
        now = self._clock.now()
        jobs = self._jobs.jobs
        for gone in self._entries.keys() - jobs.keys():
            del self._entries[gone]
        for handle, job in jobs.items():
            if handle in self._entries:
                continue
            entry = self._entries[handle] = _Entry(job, None)
            entry.advance(self.logger, now - job.catch_up)
            if job.run_on_start:
                self._starts.append(_Entry(job, now, once=True))

    def _all_entries(self) -> list[_Entry]:
        return [*self._starts, *self._entries.values()]

    def _pause(self) -> float:
        """Seconds until the next firing."""
        now = self._clock.now()
        pause = _LOOK.total_seconds()
        for entry in self._all_entries():
            if entry.next_run is None:
                continue
            wait = max(0.0, (entry.next_run - now).total_seconds())
            if entry.tries:
                wait = max(wait, self._retry_pause.total_seconds() * 2**entry.tries)
            pause = min(pause, wait)
        return pause

    async def _fire(self) -> None:
        """Insert everything due now: together, or one by one when that fails."""
        horizon = self._clock.now() + MARGIN
        due = []
        for entry in self._all_entries():
            slot = entry.next_run
            if slot is None or slot >= horizon:
                continue
            plan = self._plan(entry.job, slot, once=entry.once)
            if plan is None:
                entry.advance(self.logger, slot)
            else:
                due.append(_Due(entry, slot, plan))
        inserted = 0
        if due:
            try:
                inserted = await self._insert_and_advance(due)
            except _TermOverError:
                self.logger.info("periodic jobs are left to the next leader: the term is over")
                await asyncio.sleep(_TERM_OVER_PAUSE)
        self._starts = [entry for entry in self._starts if entry.next_run is not None]
        if due:
            self.signal_inserted.fire(inserted)

    async def _insert_and_advance(self, due: Sequence[_Due]) -> int:
        try:
            inserted = await self._insert_due(due)
        except _TermOverError:
            raise
        except Exception:
            self.failures += 1
            if len(due) == 1:
                self.logger.exception("inserting periodic job %s failed", due[0].entry.job.id)
                self._count_failure(due[0])
                return 0
            self.logger.exception("inserting periodic jobs failed; each is tried by itself")
            return sum([await self._insert_and_advance([item]) for item in due])
        for item in due:
            item.entry.advance(self.logger, item.slot)
        return inserted

    def _count_failure(self, item: _Due) -> None:
        item.entry.tries += 1
        if item.entry.tries >= _MAX_TRIES:
            self.logger.error("periodic job %s is lost for one instant", item.entry.job.id)
            item.entry.advance(self.logger, item.slot)

    async def _insert_due(self, due: Sequence[_Due]) -> int:
        """Insert in one transaction; returns the number of jobs.

        Raises ``_TermOverError`` when another client may lead. Instants another leader inserted for
        are left out.
        """
        schema = self._config.schema
        term = self._term()
        if term is None:
            raise _TermOverError
        async with self._pool.transaction(timeout=_INSERT_TIMEOUT) as conn:
            plans = []
            # Sorted, so that two leaders cannot wait for each other's claims crosswise.
            for item in sorted(due, key=lambda item: (item.entry.job.id or "", item.slot)):
                job_id = item.entry.job.id
                if job_id is None or await periodic_slot_claim(
                    conn, schema=schema, job_id=job_id, slot=item.slot, slot_key=SLOT_KEY
                ):
                    plans.append(item.plan)
            if plans:
                await self._insert(conn, plans)
            if not await leader_hold(conn, schema=schema, term=term):
                raise _TermOverError
            return len(plans)

    def _plan(self, job: PeriodicJob, slot: datetime, *, once: bool) -> InsertPlan | None:
        """The insert for one instant; None when the constructor wants none or fails."""
        try:
            constructed: object = job.constructor()
            if constructed is None:
                return None
            if not (isinstance(constructed, tuple) and len(constructed) == 2):
                raise PeriodicJobError("the constructor must return (args, options), or None")
            args, opts = constructed
            plan = plan_insert(
                args,
                opts,
                now=self._clock.now(),
                max_attempts=self._config.max_attempts,
                max_args_bytes=self._config.max_args_bytes,
                known_kinds=self._known_kinds(),
            )
            metadata = json.loads(plan.metadata_json)
            if job.id is not None:
                metadata["river:periodic_job_id"] = job.id
                if not once:
                    metadata[SLOT_KEY] = slot.isoformat()
            metadata["periodic"] = True
            return dataclasses.replace(
                plan,
                scheduled_at=plan.scheduled_at or slot,
                metadata_json=json.dumps(metadata, ensure_ascii=False, separators=(",", ":")),
            )
        except Exception:
            self.failures += 1
            self.logger.exception("periodic job %r could not be constructed; skipped", job.id)
            return None
