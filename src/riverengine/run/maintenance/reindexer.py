"""Rebuilds River's indexes once a day, so that they do not bloat.

Source: internal/maintenance/reindexer.go at v0.51.1. Deviations: what unfinished rebuilds left
behind is dropped, where Go River passes the index over from then on; of two leaders one rebuilds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import asyncpg

from riverengine.config import FOREVER, Config
from riverengine.queries.maintenance import (
    index_artifacts,
    index_drop,
    index_exists,
    index_rebuild,
    reindex_claim,
)
from riverengine.run.clock import Clock
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.service import Service
from riverengine.run.test_signal import TestSignal
from riverengine.types.schedule import PeriodicSchedule

INDEX_NAMES = (
    "river_job_args_index",
    "river_job_kind",
    "river_job_metadata_index",
    "river_job_pkey",
    "river_job_prioritized_fetching_index",
    "river_job_state_and_finalized_at_index",
    "river_job_unique_idx",
)
"""Indexes rebuilt unless ``Config.reindexer_index_names`` names others."""

_DROP_TIMEOUT = 15.0


def next_midnight(after: datetime) -> datetime:
    """The first midnight UTC after ``after`` (aware UTC)."""
    return (after + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


class _Midnights:
    """River's schedule."""

    def next(self, current: datetime, /) -> datetime:
        """The first midnight UTC after ``current``."""
        return next_midnight(current)


class Reindexer(Service):
    """Rebuilds each index concurrently, on a connection of its own."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        config: Config,
        clock: Clock,
        timings: MaintenanceTimings,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__("reindexer", logger)
        self._connect = connect
        self._schema = config.schema
        names = config.reindexer_index_names
        self._index_names = INDEX_NAMES if names is None else tuple(names)
        self._timeout = (
            None
            if config.reindexer_timeout == FOREVER
            else config.reindexer_timeout.total_seconds()
        )
        self._clock = clock
        self._timings = timings
        self._schedule: PeriodicSchedule = config.reindexer_schedule or _Midnights()
        self.failures: int = 0
        self.signal_ran: TestSignal[list[str]] = TestSignal()
        """Fired after every run with the names of the rebuilt indexes."""

    async def run(self) -> None:
        """Rebuild at every instant of the schedule until cancelled."""
        await asyncio.sleep(random.random() * self._timings.stagger.total_seconds())
        due = self._next_run(self._clock.now())
        self.started.set()
        while due is not None and self._index_names:
            pause = (due - self._clock.now()).total_seconds()
            await asyncio.sleep(max(0.0, pause))
            self.signal_ran.fire(await self.run_once())
            due = self._next_run(due)

    def _next_run(self, after: datetime) -> datetime | None:
        following = self._schedule.next(after)
        if following is not None and (following.tzinfo is None or following <= after):
            raise ValueError("a schedule must return a later, aware instant")
        return following

    async def run_once(self) -> list[str]:
        """Rebuild all indexes once and return the names of those rebuilt.

        No name while another client rebuilds them: two rebuilds on one table deadlock.
        """
        try:
            async with self._claim() as is_first:
                if is_first:
                    return await self._rebuild_all()
        except Exception:
            self.failures += 1
            self.logger.exception("no index is rebuilt")
        else:
            self.logger.info("the indexes are not rebuilt: another client is at it")
        return []

    @asynccontextmanager
    async def _claim(self) -> AsyncIterator[bool]:
        """Whether nobody else rebuilds, nor will during the block."""
        conn = await self._connect()
        try:
            # A transaction's lock, since a pooler may give each statement another session. With a
            # snapshot of its own the transaction would make the rebuilds wait for it.
            await conn.transaction(isolation="read_committed").start()
            yield await reindex_claim(conn, schema=self._schema)
        finally:
            await conn.close(timeout=5)

    async def _rebuild_all(self) -> list[str]:
        rebuilt = []
        for name in self._index_names:
            try:
                if await self._reindex(name):
                    rebuilt.append(name)
            except Exception:
                self.failures += 1
                self.logger.exception("rebuilding index %s failed", name)
        return rebuilt

    async def _reindex(self, name: str) -> bool:
        conn = await self._connect()
        try:
            if not await index_exists(conn, schema=self._schema, index=name):
                self.logger.warning("index %s does not exist; it is not rebuilt", name)
                return False
            if not await self._drop_artifacts(conn, name):
                return False
            pid = conn.get_server_pid()
            try:
                await index_rebuild(conn, schema=self._schema, index=name, timeout=self._timeout)
            except BaseException:
                # A cancelled rebuild leaves an invalid index that every write would maintain.
                await asyncio.shield(self._clean_up(name, pid))
                raise
            return True
        finally:
            conn.terminate() if conn.is_in_transaction() else await conn.close(timeout=5)

    async def _drop_artifacts(
        self, conn: asyncpg.Connection, name: str, *, own_pid: int = 0
    ) -> bool:
        """Drop what unfinished rebuilds left behind; whether nothing of the kind remains."""
        is_clear = True
        for artifact in await index_artifacts(
            conn, schema=self._schema, index=name, own_pid=own_pid
        ):
            if artifact.is_abandoned:
                await index_drop(
                    conn, schema=self._schema, index=artifact.name, timeout=_DROP_TIMEOUT
                )
                self.logger.info("index %s of an unfinished rebuild is dropped", artifact.name)
            else:
                is_clear = False
                self.logger.warning(
                    "index %s is not rebuilt: %s is valid, or somebody else is building it",
                    *(name, artifact.name),
                )
        return is_clear

    async def _clean_up(self, name: str, own_pid: int) -> None:
        try:
            conn = await self._connect()
            try:
                await self._drop_artifacts(conn, name, own_pid=own_pid)
            finally:
                await conn.close(timeout=5)
        except Exception:
            self.logger.exception("remains of the rebuild of index %s could not be dropped", name)
