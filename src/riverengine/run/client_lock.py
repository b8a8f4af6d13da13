"""Holds a client's id by a lock, and takes back the jobs of processes that died.

Beyond River: a listening client's id is held by a lock of its listening connection, which
PostgreSQL releases the moment the process is gone. So the jobs of a dead process need not wait for
the rescuer. A process started under a name of its own choosing takes its predecessor's jobs back at
once; those of clients with River's kind of id are taken back by any living client, after their lock
was free for a while.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import asyncpg

from riverengine.queries.job_fetch import (
    client_id_lock,
    client_ids_without_session,
    job_take_back,
)
from riverengine.run.client_id import LOCKED
from riverengine.run.clock import Clock
from riverengine.run.maintenance.interval_service import IntervalService, MaintenanceTimings
from riverengine.types.errors import ConfigError

CLAIM_WITHIN = timedelta(seconds=8)
"""How long the session of a process that just died may linger."""

_PAUSE = 0.1


class ClientLock:
    """Claims the client's id for each listening connection; a named one's jobs after the first."""

    def __init__(
        self,
        *,
        schema: str | None,
        client_id: str,
        clock: Clock,
        logger: logging.Logger,
        named: bool,
        claim_within: timedelta = CLAIM_WITHIN,
    ) -> None:
        """named: whether the id was chosen by the user, so that an earlier process had it too."""
        self._named = named
        self._schema = schema
        self._client_id = client_id
        self._clock = clock
        self._logger = logger
        self._claim_within = claim_within.total_seconds()
        self._claimed = False
        self._held = False

    async def prepare(self, connection: asyncpg.Connection) -> None:
        """Claim the id; the first time also take the jobs back.

        Raises ``ConfigError`` the first time, when another living process holds the id.
        """
        self._held = False
        self._held = await self._claim(connection)
        if not self._held:
            if not self._claimed:
                raise ConfigError("id", f"another running client is named {self._client_id}")
            # After a lost connection the old session may linger: keep() claims the id later.
            self._logger.warning("the client id %s is not free yet", self._client_id)
            return
        if self._claimed:
            return
        self._claimed = True
        if not self._named:
            return
        ids = await job_take_back(
            connection, schema=self._schema, client_id=self._client_id, at=self._clock.now()
        )
        if ids:
            self._logger.warning("%d job(s) of an earlier process taken back", len(ids))

    async def keep(self, connection: asyncpg.Connection) -> None:
        """Claim the id if that is still to be done; called every few seconds."""
        if not self._held:
            self._held = await client_id_lock(
                connection, schema=self._schema, client_id=self._client_id
            )

    async def _claim(self, connection: asyncpg.Connection) -> bool:
        deadline = self._clock.monotonic() + self._claim_within
        while True:
            if await client_id_lock(connection, schema=self._schema, client_id=self._client_id):
                return True
            if self._claimed or self._clock.monotonic() > deadline:
                return False
            await asyncio.sleep(_PAUSE)


class DeadClientRescuer(IntervalService):
    """Takes back the jobs of clients whose lock stays free; runs in every client that works."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        schema: str | None,
        clock: Clock,
        timings: MaintenanceTimings,
        logger: logging.Logger,
        interval: timedelta = timedelta(seconds=5),
        grace: timedelta = timedelta(seconds=15),
    ) -> None:
        """grace: how long a lock must be free; longer than a living client needs to reconnect."""
        super().__init__(
            "dead_client_rescuer", interval=interval, clock=clock, timings=timings, logger=logger
        )
        self._pool = pool
        self._schema = schema
        self._clock = clock
        self._grace = grace.total_seconds()
        self._free_since: dict[str, float] = {}

    async def run_once(self) -> int:
        """Look who is gone; returns how many jobs were taken back."""
        free = await client_ids_without_session(self._pool, schema=self._schema, mark=LOCKED)
        now = self._clock.monotonic()
        self._free_since = {each: self._free_since.get(each, now) for each in free}
        taken = 0
        for client_id, since in self._free_since.items():
            if now - since < self._grace:
                continue
            ids = await job_take_back(
                self._pool, schema=self._schema, client_id=client_id, at=self._clock.now()
            )
            taken += len(ids)
            self.logger.warning("%d job(s) of dead client %s taken back", len(ids), client_id)
        return taken
