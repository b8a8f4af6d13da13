"""Gives a restarted client the jobs back that its dead process left running.

Beyond River, and only for clients with an id of their own choosing: the id is held by a lock of
the listening connection, which PostgreSQL releases the moment the process is gone. So jobs under a
held id can only be those of a process that died, and need not wait for the rescuer.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import asyncpg

from riverengine.queries.job_fetch import client_id_lock, job_take_back
from riverengine.run.clock import Clock
from riverengine.types.errors import ConfigError

CLAIM_WITHIN = timedelta(seconds=8)
"""How long the session of a process that just died may linger."""

_PAUSE = 0.1


class OwnJobs:
    """Claims a client id for each listening connection, and takes jobs back after the first."""

    def __init__(
        self,
        *,
        schema: str | None,
        client_id: str,
        clock: Clock,
        logger: logging.Logger,
        claim_within: timedelta = CLAIM_WITHIN,
    ) -> None:
        self._schema = schema
        self._client_id = client_id
        self._clock = clock
        self._logger = logger
        self._claim_within = claim_within.total_seconds()
        self._taken_back = False

    async def prepare(self, connection: asyncpg.Connection) -> None:
        """Claim the id; the first time also take the jobs back.

        Raises ``ConfigError`` the first time, when another living process holds the id.
        """
        if not await self._claim(connection):
            if not self._taken_back:
                raise ConfigError("id", f"another running client is named {self._client_id}")
            # After a lost connection the old session may linger; the jobs are ours all the same.
            self._logger.warning("the client id %s could not be claimed again", self._client_id)
            return
        if self._taken_back:
            return
        ids = await job_take_back(
            connection, schema=self._schema, client_id=self._client_id, at=self._clock.now()
        )
        self._taken_back = True
        if ids:
            self._logger.warning("%d job(s) of an earlier process taken back", len(ids))

    async def _claim(self, connection: asyncpg.Connection) -> bool:
        deadline = self._clock.monotonic() + self._claim_within
        while True:
            if await client_id_lock(connection, schema=self._schema, client_id=self._client_id):
                return True
            if self._taken_back or self._clock.monotonic() > deadline:
                return False
            await asyncio.sleep(_PAUSE)
