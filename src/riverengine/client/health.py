"""How a client stands: what a readiness probe or a status page shows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from riverengine.client.leadership import LeadershipApi
from riverengine.client.running_jobs import RunningJobs
from riverengine.run.completer import Completer
from riverengine.run.heartbeat import HeartbeatState
from riverengine.run.notifier import Notifier
from riverengine.run.presence import Presence
from riverengine.run.producer import Producer


class NotificationState(StrEnum):
    """How a client hears of new jobs, cancellations and pauses.

    LISTENING: at once.  RECONNECTING: by polling, until the listening connection is back.  POLLING:
    by polling only, as configured or because notifications do not get through.
    """

    LISTENING = "listening"
    RECONNECTING = "reconnecting"
    POLLING = "polling"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHealth:
    """A snapshot of a client.

    notifications_lost: whether the client polls because notifications do not get through, which was
    not its configuration.  stuck: running jobs that ignore their timeout.  unwritten: outcomes of
    ended jobs not yet stored.  lost_connections: connections given up since the start because
    PostgreSQL did not answer.
    """

    is_started: bool
    is_leader: bool
    notifications: NotificationState
    notifications_lost: bool
    heartbeats: HeartbeatState
    running: int
    stuck: int
    unwritten: int
    lost_connections: int


class HealthApi(LeadershipApi):
    """The part of the client that tells how it stands."""

    stopped: asyncio.Event
    _jobs: RunningJobs
    _producers: dict[str, Producer]
    _completer: Completer | None
    _presence: Presence

    @property
    def is_started(self) -> bool:
        """Whether the client works jobs, or still ends those it started."""
        return not self.stopped.is_set()

    @property
    def running(self) -> int:
        """Jobs running in this client."""
        return len(self._jobs)

    @property
    def stuck_jobs(self) -> int:
        """Running jobs that ignore their timeout."""
        return self._jobs.stuck

    @property
    def producers(self) -> Mapping[str, Producer]:
        """The queues worked, by name."""
        return self._producers

    @property
    def health(self) -> ClientHealth:
        """How the client stands at the moment; asks nobody."""
        return ClientHealth(
            is_started=self.is_started,
            is_leader=self.is_leader,
            notifications=_notification_state(self._notifier),
            notifications_lost=self.is_started
            and self._notifier is None
            and not self.config.poll_only,
            heartbeats=self._presence.heartbeats,
            running=self.running,
            stuck=self.stuck_jobs,
            unwritten=self._completer.pending if self._completer is not None else 0,
            lost_connections=self.database.lost,
        )


def _notification_state(notifier: Notifier | None) -> NotificationState:
    """How a client with this notifier hears; None for one that polls."""
    if notifier is None:
        return NotificationState.POLLING
    return NotificationState.LISTENING if notifier.is_connected else NotificationState.RECONNECTING
