"""The queues a client works, which may come and go while it works.

Source: client.go at v0.51.1, QueueBundle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from riverengine.config import Config, QueueConfig
from riverengine.run.producer import Producer
from riverengine.types.errors import (
    ConfigError,
    QueueAlreadyAddedError,
    QueueNotFoundError,
    StopTimeoutError,
)


class WorkedQueues:
    """Queues by name: those of the configuration, and those added since; removed ones are gone.

    While open every queue has a producer, which fetches once the queues have begun. Closed, queues
    are only noted for the next start.
    """

    def __init__(
        self,
        config: Config,
        producers: dict[str, Producer],
        producer_for: Callable[[str, QueueConfig], Producer],
    ) -> None:
        """producers: filled and emptied here, read by others.  producer_for: makes one to start."""
        self._config = config
        self._settings = dict(config.queues)
        self._producers = producers
        self._producer_for = producer_for
        self._changing = asyncio.Lock()
        self._is_open = False
        self._has_begun = False

    async def open(self) -> None:
        """Start every queue's producer; none fetches before :meth:`begin`."""
        async with self._changing:
            self._is_open = True
            for name, settings in list(self._settings.items()):
                await self._work(name, settings)

    def begin(self) -> None:
        """Let every queue fetch, and those added later at once."""
        self._has_begun = True
        for producer in self._producers.values():
            producer.begin()

    async def close(self) -> None:
        """Work no queue that is added from now on; one being added is at work when this returns."""
        async with self._changing:
            self._is_open = False

    async def stop(self) -> None:
        """Stop all producers at once, whatever runs."""
        async with self._changing:
            self._is_open = self._has_begun = False
            for producer in self._producers.values():
                await producer.stop()
            self._producers.clear()

    async def add(self, name: str, settings: QueueConfig) -> None:
        """Work another queue; an error leaves it out."""
        if not self._config.queues:
            raise ConfigError(
                "queues", "client is not configured to execute jobs, cannot add queue"
            )
        self._config.validate_queue(name, settings)
        async with self._changing:
            if name in self._settings:
                raise QueueAlreadyAddedError(name)
            if self._is_open:
                await self._work(name, settings)
            self._settings[name] = settings

    async def remove(self, name: str, timeout: timedelta | None) -> None:
        """Fetch nothing more from a queue, and forget it when its jobs have ended."""
        if name not in self._settings:
            raise QueueNotFoundError(name)
        try:
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                while not await self._removed(name):
                    await self._producers[name].drain()
        except TimeoutError:
            producer = self._producers.get(name)
            raise StopTimeoutError(producer.running if producer else 0) from None

    async def _removed(self, name: str) -> bool:
        """Whether the queue is gone: at once when no job of it is running."""
        async with self._changing:
            producer = self._producers.get(name)
            if producer is not None:
                if not producer.is_drained:
                    return False
                await producer.stop()
                del self._producers[name]
            self._settings.pop(name, None)
            return True

    async def _work(self, name: str, settings: QueueConfig) -> None:
        producer = self._producer_for(name, settings)
        await producer.register()
        self._producers[name] = producer
        await producer.start()
        if self._has_begun:
            producer.begin()
