"""Looking at queues, and pausing, resuming and changing them."""

from __future__ import annotations

from collections.abc import Mapping

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import queue as queries
from riverengine.types.job import Json
from riverengine.types.queue import Queue
from riverengine.work.go_json import encode_json


class QueueApi(ClientCore):
    """The part of the client that administers queues; rows appear when a client works a queue."""

    async def queue_get(self, name: str, *, tx: AsyncTransaction | None = None) -> Queue:
        """The queue; raises ``QueueNotFoundError``."""
        return await queries.queue_get(self.executor(tx), schema=self.config.schema, name=name)

    async def queue_list(
        self, *, limit: int = 100, tx: AsyncTransaction | None = None
    ) -> list[Queue]:
        """Queues by name. limit: 1 to 10,000."""
        if not 1 <= limit <= 10_000:
            raise ValueError("limit must be between 1 and 10,000")
        return await queries.queue_list(self.executor(tx), schema=self.config.schema, limit=limit)

    async def queue_pause(self, name: str, *, tx: AsyncTransaction | None = None) -> None:
        """Let every client stop fetching from the queue, or from all with ``*``.

        Running jobs go on.  Raises ``QueueNotFoundError``.
        """
        async with self.transaction(tx) as connection:
            await queries.queue_pause(connection, schema=self.config.schema, name=name)

    async def queue_resume(self, name: str, *, tx: AsyncTransaction | None = None) -> None:
        """Let every client fetch again from the queue, or from all with ``*``.

        Raises ``QueueNotFoundError``.
        """
        async with self.transaction(tx) as connection:
            await queries.queue_resume(connection, schema=self.config.schema, name=name)

    async def queue_update(
        self,
        name: str,
        *,
        metadata: Mapping[str, Json] | None = None,
        tx: AsyncTransaction | None = None,
    ) -> Queue:
        """Replace the queue's metadata, unless None; raises ``QueueNotFoundError``."""
        async with self.transaction(tx) as connection:
            return await queries.queue_update(
                connection,
                schema=self.config.schema,
                name=name,
                metadata_json=None if metadata is None else encode_json(metadata, "metadata"),
            )
