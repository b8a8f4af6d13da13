"""Taking part in the election of a leader, and what is to be done while leading."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from riverengine.client.insert import InsertApi
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.elector import Elector, ElectorTimings
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.maintainer import Maintainer
from riverengine.run.maintenance.periodic_job import PeriodicJobBundle
from riverengine.run.notifier import Notifier
from riverengine.types.errors import ConfigError
from riverengine.work.registry import Workers


class LeadershipApi(InsertApi):
    """The part of the client that leads, or waits to."""

    id: str
    database: BoundedPool
    workers: Workers | None
    _periodic_jobs: PeriodicJobBundle
    _connect: Callable[[], Awaitable[asyncpg.Connection]]
    _notifier: Notifier | None
    _elector: Elector | None
    _elector_timings: ElectorTimings | None
    _maintainer: Maintainer | None
    _maintenance_timings: MaintenanceTimings
    _leader_callbacks: list[Callable[[bool], None]]

    @property
    def is_leader(self) -> bool:
        """Whether this client runs the fleet's maintenance at the moment."""
        return self._elector is not None and self._elector.is_leader

    @property
    def periodic_jobs(self) -> PeriodicJobBundle:
        """The jobs this client inserts while it leads; add and remove them at any time.

        Raises ``ConfigError`` on a client that never leads, where they would have no effect.
        """
        if not self.config.queues or self.config.leader_election_disabled:
            raise ConfigError(
                "periodic_jobs",
                "a client without queues, or with leader_election_disabled, never inserts them",
            )
        return self._periodic_jobs

    def on_leader_change(self, callback: Callable[[bool], None]) -> Callable[[], None]:
        """Call back with True when this client begins to lead, with False when it ends.

        callback: runs on the event loop and must not block; what it raises is logged. It is called
        at once when the client leads already.  Returns the function that ends this. Two clients can
        believe in their leadership at once for a moment: guard rows by other means.
        """
        self._leader_callbacks.append(callback)
        if self.is_leader:
            self._tell(callback, True)

        def end() -> None:
            if callback in self._leader_callbacks:
                self._leader_callbacks.remove(callback)

        return end

    def _tell_all(self, leads: bool) -> None:
        for callback in tuple(self._leader_callbacks):
            self._tell(callback, leads)

    def _tell(self, callback: Callable[[bool], None], leads: bool) -> None:
        try:
            callback(leads)
        except Exception:
            self.logger.exception("a callback on a change of leadership failed")

    async def _start_leadership(self) -> None:
        self._elector = Elector(
            self.database,
            schema=self.config.schema,
            client_id=self.id,
            notifier=self._notifier,
            logger=self.logger,
            clock=self.clock,
            timings=self._elector_timings,
        )
        self._elector.subscribe(
            lambda _term: self._tell_all(True), lambda _term: self._tell_all(False)
        )
        self._maintainer = Maintainer(
            self.database,
            elector=self._elector,
            config=self.config,
            workers=self.workers,
            periodic_jobs=self._periodic_jobs,
            insert=self.insert_plans,
            notify_insert=self.notify_insert,
            connect=self._connect,
            clock=self.clock,
            timings=self._maintenance_timings,
            logger=self.logger,
        )
        await self._maintainer.start()
        await self._elector.start()
