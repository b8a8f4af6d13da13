"""The ports to the people we tell something: e-mail and text messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """A text message the provider has accepted earlier; ``status`` is the provider's word."""

    id: str
    status: str


class EmailSender(Protocol):
    """Sends one e-mail. Raises :class:`.errors.ProviderError`."""

    async def send(
        self, *, to: str, subject: str, text: str, html: str | None = None, message_id: str
    ) -> str:
        """Hand the mail to the server and return its Message-ID header.

        ``message_id`` identifies the mail over all tries (for example
        ``workflow.step.recipient-hash``); the sender adds its domain. After an AmbiguousError
        sending again is right: readers and servers recognise the repeated id.
        """


class SmsSender(Protocol):
    """Sends one text message. Every method raises :class:`.errors.ProviderError`."""

    async def send(self, *, to: str, body: str, status_callback: str | None = None) -> str:
        """Hand the message to the provider and return the provider's id for it.

        The provider knows no idempotency key: after an AmbiguousError call :meth:`find_message`.
        """

    async def find_message(self, *, to: str, body: str, since: datetime) -> SentMessage | None:
        """The newest message to that number with that text accepted since then, or None."""
