"""A client's presence among the others: its own heartbeats, and its look at theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from riverengine.queries.migration import migration_versions
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.dead_clients import DeadClientRescuer
from riverengine.run.heartbeat import Heartbeat, HeartbeatState, HeartbeatTimings
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.notifier import Connect
from riverengine.run.service import Service
from riverengine.schema.line import ENGINE_LINE


class Presence:
    """Everything about dead processes, for one started client."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        connect: Connect,
        schema: str | None,
        client_id: str,
        named: bool,
        max_deaths: int,
        on_replaced: Callable[[], None],
        on_restored: Callable[[], None],
        clock: Clock,
        logger: logging.Logger,
        timings: HeartbeatTimings | None = None,
        maintenance_timings: MaintenanceTimings | None = None,
    ) -> None:
        """named: whether the user chose the id.  on_replaced: another process took the id.
        on_restored: the client had been taken for dead."""
        self._pool = pool
        self._connect = connect
        self._schema = schema
        self._client_id = client_id
        self._named = named
        self._max_deaths = max_deaths
        self._on_replaced = on_replaced
        self._on_restored = on_restored
        self._clock = clock
        self._logger = logger
        self._timings = timings or HeartbeatTimings()
        self._maintenance_timings = maintenance_timings or MaintenanceTimings()
        self._heartbeat: Heartbeat | None = None
        self._late: _LateBegin | None = None
        self.rescuer: DeadClientRescuer | None = None
        """None while stopped, and without the table."""

    @property
    def heartbeats(self) -> HeartbeatState:
        """How the client's heartbeats stand."""
        return HeartbeatState.OFF if self._heartbeat is None else self._heartbeat.state

    async def start(self) -> None:
        """Take the client id and an earlier process's jobs; look after the others' from then on.

        Raises ``ConfigError`` when another living process has the id.
        """
        if await self._has_table():
            await self._begin(has_table=True)
            return
        self._logger.warning(
            "heartbeats are off, so jobs of a dead process wait for the rescuer: run "
            "`riverengine migrate-up --line %s --database-url ...`",
            ENGINE_LINE,
        )
        await self._begin(has_table=False)
        if not self._named:
            self._late = _LateBegin(self._begin_late, self._timings, self._logger)
            await self._late.start()

    async def _has_table(self) -> bool:
        return bool(await migration_versions(self._pool, schema=self._schema, line=ENGINE_LINE))

    async def _begin_late(self) -> bool:
        found = await self._has_table()
        if found:
            await self._begin(has_table=True)
        return found

    async def _begin(self, *, has_table: bool) -> None:
        heartbeat = Heartbeat(
            self._connect,
            schema=self._schema,
            client_id=self._client_id,
            named=self._named,
            has_table=has_table,
            max_deaths=self._max_deaths,
            on_replaced=self._on_replaced,
            on_restored=self._on_restored,
            logger=self._logger,
            timings=self._timings,
            pool=self._pool,
        )
        self._heartbeat = heartbeat
        await heartbeat.start()
        if has_table:
            self.rescuer = DeadClientRescuer(
                self._pool,
                schema=self._schema,
                client_id=self._client_id,
                heartbeat=heartbeat,
                max_deaths=self._max_deaths,
                clock=self._clock,
                timings=self._maintenance_timings,
                heartbeat_timings=self._timings,
                logger=self._logger,
            )
            await self.rescuer.start()

    async def stop(self) -> None:
        """Leave, once no job runs any more; safe to call twice."""
        late, self._late = self._late, None
        if late is not None:
            await late.stop()
        rescuer, self.rescuer = self.rescuer, None
        heartbeat, self._heartbeat = self._heartbeat, None
        if rescuer is not None:
            await rescuer.stop()
        if heartbeat is not None:
            await heartbeat.stop()


class _LateBegin(Service):
    """Begins to beat once the table is there, lest clients that found it take this one for dead.

    A client with a name is known to them by its row only, and goes on without one.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[bool]],
        timings: HeartbeatTimings,
        logger: logging.Logger,
    ) -> None:
        """begin: whether it did."""
        super().__init__("late_heartbeat", logger)
        self._try = begin
        self._pause = timings.look_interval.total_seconds()

    async def run(self) -> None:
        """Try until it began."""
        self.started.set()
        begun = False
        while not begun:
            await asyncio.sleep(self._pause)
            try:
                begun = await self._try()
            except DATABASE_ERRORS as error:
                self.logger.debug("the table of heartbeats was not found: %s", type(error).__name__)
