"""Messages to the other clients of the database.

Source: client.go, ClientNotifyBundle, at v0.51.1.
"""

from __future__ import annotations

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries.leader import TOPIC_LEADERSHIP
from riverengine.queries.notification import notify_many, request_resign_payload


class NotifyBundle:
    """What a client can tell the others; reached by :attr:`NotifyApi.notify`."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core

    async def request_resign(self, *, tx: AsyncTransaction | None = None) -> None:
        """Ask the leader to resign; it does so at once, and all compete for the next term.

        tx: the caller's transaction, whose commit sends the request; None sends it now. Nothing
        happens when nobody leads, or the leader does not listen (``poll_only``).
        """
        await notify_many(
            await self._core.executor(tx),
            schema=self._core.config.schema,
            topic=TOPIC_LEADERSHIP,
            payloads=[request_resign_payload()],
        )


class NotifyApi(ClientCore):
    """The part of the client that sends messages."""

    @property
    def notify(self) -> NotifyBundle:
        """Messages to the other clients."""
        return NotifyBundle(self)
