"""Sending one message about an order: one row per recipient, channel and step.

The texts say where to go for the details and nothing of the test's type, reason or result.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from riverengine.queries.statement import Executor
from v1consortium.queries.notification import (
    NotificationKey,
    Recipient,
    notification_begin,
    notification_set_failed,
    notification_set_sent,
)
from v1consortium.services.errors import PermanentError
from v1consortium.services.notify import EmailSender, SmsSender

SUBJECT: Final = "An appointment needs your attention"
_TEXTS: Final[dict[Recipient, str]] = {
    "employee": (
        "An appointment has been arranged for you. "
        "Please sign in to V1 Consortium to see where and until when."
    ),
    "supervisor": (
        "An appointment has been arranged for a member of your team. "
        "Please sign in to V1 Consortium to see where and until when."
    ),
}
_LOOK_BACK: Final = timedelta(minutes=5)


def message_text(recipient: Recipient) -> str:
    """The neutral text for ``recipient``."""
    return _TEXTS[recipient]


async def deliver_email(
    db: Executor, *, sender: EmailSender, key: NotificationKey, to: str
) -> bool:
    """Send the mail unless it was sent; False where it was, or is held back.

    After a lost answer it is sent again under the same Message-ID. Raises ProviderError; a
    permanent one is recorded. Must run outside a transaction.
    """
    row = await notification_begin(db, key=key)
    if row.already_sent:
        return False
    try:
        provider_id = await sender.send(
            to=to,
            subject=SUBJECT,
            text=message_text(key.recipient),
            message_id=str(row.notification_id),
        )
    except PermanentError as error:
        await notification_set_failed(db, notification_id=row.notification_id, code=error.code)
        raise
    await notification_set_sent(db, notification_id=row.notification_id, provider_id=provider_id)
    return True


async def deliver_sms(db: Executor, *, sender: SmsSender, key: NotificationKey, to: str) -> bool:
    """Send the text message unless it was sent; False where it was, or is held back.

    The provider knows no idempotency key, so a repeated try looks for the message first. Raises
    ProviderError; a permanent one is recorded. Must run outside a transaction.
    """
    row = await notification_begin(db, key=key)
    if row.already_sent:
        return False
    body = message_text(key.recipient)
    try:
        earlier = None
        if row.tries > 1:
            since = row.first_tried_at - _LOOK_BACK
            earlier = await sender.find_message(to=to, body=body, since=since)
        provider_id = earlier.id if earlier else await sender.send(to=to, body=body)
    except PermanentError as error:
        await notification_set_failed(db, notification_id=row.notification_id, code=error.code)
        raise
    await notification_set_sent(db, notification_id=row.notification_id, provider_id=provider_id)
    return True
