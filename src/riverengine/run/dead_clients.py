"""Takes back the jobs of clients that are not heard of any more; runs in every working client.

It needs no leader, so that it works whoever leads, and touches nothing of Go's: only claims of ids
that have heartbeats, or the mark of our clients. Silence is measured by this process's own looks,
not by the age of a heartbeat: after an outage of PostgreSQL every heartbeat is old, and everybody
lives.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from riverengine.queries.client import (
    TakenBack,
    client_bury,
    client_claimants,
    client_expect,
    client_forget_silent,
    client_named,
)
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.client_id import MARK
from riverengine.run.clock import Clock
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.heartbeat import Heartbeat, HeartbeatTimings
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings
from riverengine.run.take_back import take_back

_PREDECESSOR_SECONDS = 600.0
"""How long after its start a client looks for jobs of an earlier process of its name. Later on the
time of their claim proves nothing: PostgreSQL may have failed over to a machine with another clock.
"""

_KEPT = timedelta(hours=1)
"""How long the row of a client stays that died without a running job."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A heartbeat, and when (monotonic) it was seen first."""

    heartbeat_at: datetime
    since: float


class DeadClientRescuer(IntervalService):
    """Looks every few seconds who holds running jobs and is not heard of."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        schema: str | None,
        client_id: str,
        heartbeat: Heartbeat,
        max_deaths: int,
        clock: Clock,
        timings: MaintenanceTimings,
        heartbeat_timings: HeartbeatTimings | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        """heartbeat: this client's own, which knows since when its id is its own."""
        given = heartbeat_timings or HeartbeatTimings()
        super().__init__(
            "dead_client_rescuer",
            interval=given.look_interval,
            clock=clock,
            timings=timings,
            logger=logger,
        )
        self._pool = pool
        self._schema = schema
        self._client_id = client_id
        self._heartbeat = heartbeat
        self._max_deaths = max_deaths
        self._dead_after = given.dead_after.total_seconds()
        self._blind_after = 2 * given.look_interval.total_seconds()
        self._seen: dict[str, _Seen] = {}
        self._named: set[str] = set()
        self._last_look = float("-inf")
        self._began = clock.monotonic()

    async def run_once(self) -> int:
        """Look who is gone; returns how many jobs were taken back."""
        self._named.update(await client_named(self._pool, schema=self._schema, mark=MARK))
        held = await client_claimants(
            self._pool, schema=self._schema, mark=MARK, named=sorted(self._named)
        )
        missing = [client_id for client_id, at in held.items() if at is None]
        if missing:
            await client_expect(self._pool, schema=self._schema, client_ids=missing)
        self._remember(held)
        taken = await self._take_back_predecessor()
        now = self.clock.monotonic()
        for client_id, seen in list(self._seen.items()):
            if client_id == self._client_id or now - seen.since < self._dead_after:
                continue
            try:
                taken += await self._bury(client_id, seen.heartbeat_at)
            except DATABASE_ERRORS as error:
                # Something about one job: the other clients' must not wait for it.
                self._count_failure()
                self.logger.warning(
                    "taking back the jobs of dead client %s failed (%s); the next look tries again",
                    *(client_id, type(error).__name__),
                )
        await client_forget_silent(self._pool, schema=self._schema, age=_KEPT, but=list(held))
        return taken

    def _remember(self, held: Mapping[str, datetime | None]) -> None:
        now = self.clock.monotonic()
        # Whoever was silent while this client could not look may have been unable to speak.
        former = self._seen if now - self._last_look <= self._blind_after else {}
        self._last_look = now
        self._seen = {}
        for client_id, at in held.items():
            if at is not None:
                known = former.get(client_id)
                since = known.since if known is not None and known.heartbeat_at == at else now
                self._seen[client_id] = _Seen(at, since)

    async def _bury(self, client_id: str, heartbeat_at: datetime) -> int:
        async with self._pool.transaction() as connection:
            if not await client_bury(
                connection, schema=self._schema, client_id=client_id, heartbeat_at=heartbeat_at
            ):
                return 0
            taken = await self._take_back(connection, client_id)
        self.logger.warning(
            "%d job(s) of dead client %s taken back, %d set aside",
            *(len(taken.jobs), client_id, len(taken.set_aside)),
        )
        return len(taken.jobs)

    async def _take_back_predecessor(self) -> int:
        """What an earlier process of this client's id left, as far as it was locked before."""
        before = self._heartbeat.predecessor_before
        if before is None or self.clock.monotonic() - self._began > _PREDECESSOR_SECONDS:
            return 0
        async with self._pool.acquire() as connection:
            return len((await self._take_back(connection, self._client_id, before)).jobs)

    async def _take_back(
        self, connection: asyncpg.Connection, client_id: str, before: datetime | None = None
    ) -> TakenBack:
        taken = await take_back(
            connection,
            schema=self._schema,
            client_id=client_id,
            before=before,
            max_deaths=self._max_deaths,
            logger=self.logger,
        )
        for _ in taken.refused:
            self._count_failure()
        return taken
