"""Delivers what happened to jobs and queues to the process's subscribers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from types import TracebackType

from riverengine.types.event import Event, EventKind

DEFAULT_BUFFER = 1000
"""Events kept for a slow subscriber."""


class Subscription:
    """Events of some kinds: an async iterator, ended by :meth:`close` or the client's stop.

    A subscriber that falls behind loses the newest events; ``dropped`` counts them.
    """

    def __init__(self, hub: EventHub, kinds: frozenset[EventKind], buffer: int) -> None:
        self._hub = hub
        self.kinds = kinds
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._buffer = buffer
        self._closed = False
        self.dropped: int = 0

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            # Several tasks may wait for the end; each hands the news on.
            self._queue.put_nowait(None)
            raise StopAsyncIteration
        return event

    async def next(self, timeout: timedelta | float | None = None) -> Event:
        """The next event. timeout: how long to wait, numbers are seconds; ``TimeoutError`` then.

        Raises ``StopAsyncIteration`` after the last event of a closed subscription.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        async with asyncio.timeout(seconds):
            return await self.__anext__()

    def close(self) -> None:
        """End the subscription; safe to call twice. Events received before can still be read."""
        if not self._closed:
            self._closed = True
            self._hub.remove(self)
            self._queue.put_nowait(None)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def offer(self, event: Event) -> bool:
        """Keep the event if there is room; whether there was."""
        if self._queue.qsize() >= self._buffer:
            self.dropped += 1
            return False
        self._queue.put_nowait(event)
        return True


class EventHub:
    """The subscriptions of one client."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._subscriptions: list[Subscription] = []
        self.dropped: int = 0
        """Events that subscribers had no room for."""

    def subscribe(self, kinds: frozenset[EventKind], buffer: int = DEFAULT_BUFFER) -> Subscription:
        """Receive events of ``kinds`` from this moment on."""
        if buffer < 1:
            raise ValueError("buffer must be at least 1")
        subscription = Subscription(self, kinds, buffer)
        self._subscriptions.append(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription; unknown ones are ignored."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody wants events at all."""
        return bool(self._subscriptions)

    def publish(self, event: Event) -> None:
        """Hand the event to every subscriber of its kind, without waiting."""
        for subscription in self._subscriptions:
            if event.kind not in subscription.kinds:
                continue
            if subscription.offer(event):
                continue
            self.dropped += 1
            if subscription.dropped == 1:
                self._logger.warning("an event subscriber falls behind; events are dropped")

    def close_all(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()
