"""Looking at queues, and pausing, resuming and changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import queue as queries
from riverengine.queries.job_filter import check_json
from riverengine.queries.notification import MAX_PAYLOAD_BYTES, metadata_changed_payload
from riverengine.types.errors import InvalidParamsError
from riverengine.types.job import Json
from riverengine.types.queue import Queue
from riverengine.work.go_json import compact_json, encode_json


class QueueApi(ClientCore):
    """The part of the client that administers queues; rows appear when a client works a queue."""

    async def queue_get(self, name: str, *, tx: AsyncTransaction | None = None) -> Queue:
        """The queue; raises ``QueueNotFoundError``."""
        return await queries.queue_get(
            await self.executor(tx), schema=self.config.schema, name=name
        )

    async def queue_list(
        self, *, limit: int = 100, tx: AsyncTransaction | None = None
    ) -> list[Queue]:
        """Queues by name. limit: 1 to 10,000."""
        return await queries.queue_list(
            await self.executor(tx), schema=self.config.schema, limit=limit
        )

    async def queue_name_list(
        self,
        *,
        after: str = "",
        match: str = "",
        exclude: Sequence[str] = (),
        limit: int = 100,
        tx: AsyncTransaction | None = None,
    ) -> list[str]:
        """Names of the queues in the database, by name.

        after: those behind this name.  match: those containing this text, in any case; ``%`` and
        ``_`` are wildcards.  exclude: not these.  limit: 1 to 10,000.
        """
        return await queries.queue_name_list(
            await self.executor(tx),
            schema=self.config.schema,
            after=after,
            match=match,
            exclude=exclude,
            limit=limit,
        )

    async def queue_pause(self, name: str, *, tx: AsyncTransaction | None = None) -> None:
        """Let every client stop fetching from the queue, or from all with ``*``.

        Running jobs go on.  Raises ``QueueNotFoundError``.
        """
        async with self._transaction(tx) as connection:
            await queries.queue_pause(connection, schema=self.config.schema, name=name)

    async def queue_resume(self, name: str, *, tx: AsyncTransaction | None = None) -> None:
        """Let every client fetch again from the queue, or from all with ``*``.

        Raises ``QueueNotFoundError``.
        """
        async with self._transaction(tx) as connection:
            await queries.queue_resume(connection, schema=self.config.schema, name=name)

    async def queue_update(
        self,
        name: str,
        *,
        metadata: Mapping[str, Json] | str | None = None,
        tx: AsyncTransaction | None = None,
    ) -> Queue:
        """Replace the queue's metadata as a whole, unless None, and tell its producers.

        metadata: an object, or its JSON text, which is announced in the order it has.  Raises
        ``QueueNotFoundError``, ``ArgsEncodeError`` for values JSON cannot hold, and
        ``InvalidParamsError`` for text that is no JSON object or too long for a notification.
        """
        text = encode_json(metadata, "metadata") if isinstance(metadata, Mapping) else metadata
        if text is not None:
            text = _checked_metadata(name, text)
        async with self._transaction(tx) as connection:
            return await queries.queue_update(
                connection, schema=self.config.schema, name=name, metadata_json=text
            )


def _checked_metadata(name: str, text: str) -> str:
    """The text as Go announces it: nothing but spaces and escapes may differ from the caller's."""
    if not isinstance(check_json("metadata", text), dict):
        raise InvalidParamsError("metadata", "metadata must be a JSON object")
    text = compact_json(text)
    size = len(metadata_changed_payload(name, text).encode())
    if size > MAX_PAYLOAD_BYTES:
        raise InvalidParamsError(
            "metadata",
            f"metadata makes a notification of {size:,} bytes; PostgreSQL's limit is"
            f" {MAX_PAYLOAD_BYTES:,}",
        )
    return text
