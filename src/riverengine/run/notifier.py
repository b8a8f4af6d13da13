"""Listens for notifications on one connection of its own.

Source: internal/notifier/notifier.go at v0.51.1. Notifications missed while the connection is down
are not replayed: producers poll and look again for cancellations. Unlike Go's, the pauses between
tries stay below 5 s, and a check of a silent connection gives it up after 5 s, so that a lost link
costs no more than 15 s.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

import asyncpg

from riverengine.queries.notification import current_schema, notify_many
from riverengine.queries.statement import Executor
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.service import Service, backoff
from riverengine.run.test_signal import TestSignal

_TIMEOUT = 10.0
_PING_INTERVAL = 5.0
_PING_TIMEOUT = 5.0
_ECHO_TIMEOUT = 5.0

Connect = Callable[[], Awaitable[asyncpg.Connection]]
"""Opens a connection that its user closes."""


class TopicSubscription:
    """One callback on one topic, until :meth:`close`."""

    def __init__(self, notifier: Notifier, topic: str, callback: Callable[[str], None]) -> None:
        self._notifier = notifier
        self.topic = topic
        self.callback = callback

    def close(self) -> None:
        """End the subscription; safe to call twice."""
        self._notifier.unsubscribe(self)


class Notifier(Service):
    """Keeps a listening connection alive and hands payloads to subscribers."""

    def __init__(
        self,
        connect: Connect,
        *,
        schema: str | None,
        logger: logging.Logger,
        ping_interval: float = _PING_INTERVAL,
        retry_scale: float = 1.0,
    ) -> None:
        """ping_interval: seconds of silence before the connection is checked.

        retry_scale: factor on the pauses between failed connections.
        """
        super().__init__("notifier", logger)
        self._connect = connect
        self._schema = schema
        self._ping_interval = ping_interval
        self._retry_scale = retry_scale
        self._connection: asyncpg.Connection | None = None
        self._subscriptions: list[TopicSubscription] = []
        self._changed = asyncio.Event()
        self._gone = False
        self._heard = False
        self._listening = asyncio.Event()
        self.signal_listening: TestSignal[None] = TestSignal()
        self.signal_lost: TestSignal[None] = TestSignal()

    @property
    def is_connected(self) -> bool:
        """Whether notifications arrive at the moment."""
        return self._connection is not None and not self._connection.is_closed()

    def subscribe(self, topic: str, callback: Callable[[str], None]) -> TopicSubscription:
        """Call ``callback`` with every payload of ``topic``; it must neither block nor raise."""
        subscription = TopicSubscription(self, topic, callback)
        self._subscriptions.append(subscription)
        self._listening.clear()
        self._changed.set()
        return subscription

    def unsubscribe(self, subscription: TopicSubscription) -> None:
        """End a subscription; unknown ones are ignored."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._changed.set()

    async def connect(self) -> None:
        """Open the connection before :meth:`start`, to fail where the caller can see it."""
        async with asyncio.timeout(_TIMEOUT):
            self._connection = await self._open()

    async def wait_until_listening(self) -> None:
        """Return when every subscribed topic is listened to, or after 10 s without a connection."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._listening.wait()
        except TimeoutError:
            self.logger.warning("notifications are not heard yet; producers poll meanwhile")

    async def hears_itself(self, db: Executor) -> bool:
        """Whether a notification sent over ``db`` arrives here; call it before :meth:`start`.

        A transaction pooler accepts LISTEN and delivers nothing. ``db`` must use other connections.
        """
        connection = self._connection
        assert connection is not None
        heard = asyncio.Event()
        # No longer than the longest topic of River: the schema takes up what is left of 63 bytes.
        topic = f"echo_{secrets.token_hex(5)}"

        def hear(*_: object) -> None:
            heard.set()

        schema = self._schema or await current_schema(connection)
        channel = f"{schema}.{topic}" if schema else topic
        try:
            async with asyncio.timeout(_ECHO_TIMEOUT):
                await connection.add_listener(channel, hear)
                await notify_many(db, schema=schema, topic=topic, payloads=["echo"])
                await heard.wait()
        except TimeoutError:
            return False
        async with asyncio.timeout(_TIMEOUT):
            await connection.remove_listener(channel, hear)
        return True

    async def stop(self) -> None:
        """Stop listening; also when it was connected but never started."""
        await super().stop()
        self._abandon()

    async def run(self) -> None:
        """Listen until cancelled; reconnect for ever."""
        attempt = 0
        try:
            while True:
                try:
                    if self._connection is None:
                        await self.connect()
                    await self._listen()
                except DATABASE_ERRORS as error:
                    self._abandon()
                    self._listening.clear()
                    self.signal_lost.fire(None)
                    pause = self._retry_scale * (
                        0.5 if attempt == 0 else backoff(attempt, max_exponent=2).total_seconds()
                    )
                    attempt += 1
                    self.logger.warning(
                        "listening failed (%s); reconnecting in %.1f s",
                        *(type(error).__name__, pause),
                    )
                    await asyncio.sleep(pause)
        finally:
            self._abandon()

    async def _open(self) -> asyncpg.Connection:
        connection = await self._connect()
        self._gone = False
        connection.add_termination_listener(self._on_termination)
        return connection

    async def _listen(self) -> None:
        """Serve one connection until it breaks; raises what broke it."""
        connection = self._connection
        assert connection is not None
        schema = self._schema or await current_schema(connection)
        prefix = f"{schema}." if schema else ""
        listening: set[str] = set()
        while True:
            self._changed.clear()
            wanted = {subscription.topic for subscription in self._subscriptions}
            async with asyncio.timeout(_TIMEOUT):
                for topic in sorted(wanted - listening):
                    await connection.add_listener(prefix + topic, self._on_notification)
                for topic in sorted(listening - wanted):
                    await connection.remove_listener(prefix + topic, self._on_notification)
            listening = wanted
            if not self._changed.is_set():
                self.started.set()
                self._listening.set()
                self.signal_listening.fire(None)
            await self._wait(connection)

    async def _wait(self, connection: asyncpg.Connection) -> None:
        """Return when the subscriptions change; raise when the connection is gone."""
        while not self._changed.is_set():
            self._heard = False
            try:
                async with asyncio.timeout(self._ping_interval):
                    await self._changed.wait()
            except TimeoutError:
                if not self._heard:
                    async with asyncio.timeout(_PING_TIMEOUT):
                        await current_schema(connection)
        if self._gone:
            raise asyncpg.ConnectionDoesNotExistError("the listening connection was closed")

    def _on_notification(
        self, _connection: asyncpg.Connection, _pid: int, channel: str, payload: object
    ) -> None:
        self._heard = True
        topic = channel.rpartition(".")[2]
        for subscription in list(self._subscriptions):
            if subscription.topic == topic:
                try:
                    subscription.callback(str(payload))
                except Exception:
                    self.logger.exception("a subscriber of %s failed", topic)

    def _on_termination(self, _connection: asyncpg.Connection) -> None:
        self._gone = True
        self._changed.set()

    def _abandon(self) -> None:
        # Terminated rather than closed: nothing is worth waiting for on a listening connection.
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.remove_termination_listener(self._on_termination)
            if not connection.is_closed():
                connection.terminate()
