"""Messages: one row per workflow step, recipient and channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from riverengine.queries.statement import Executor, statement

_PACKAGE: Final = "v1consortium.queries.sql"
_BEGIN = statement("notification.sql", "notification_begin", package=_PACKAGE)
_SENT = statement("notification.sql", "notification_set_sent", package=_PACKAGE)
_FAILED = statement("notification.sql", "notification_set_failed", package=_PACKAGE)
_HOLD = statement("notification.sql", "notification_hold", package=_PACKAGE)

Recipient = Literal["employee", "supervisor"]
Channel = Literal["email", "sms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRow:
    """A message about to be tried; ``tries`` counts this one, ``already_sent`` ends it."""

    notification_id: UUID
    already_sent: bool
    tries: int
    first_tried_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationKey:
    """What makes a message the same message."""

    notification_id: UUID
    workflow_id: str
    step_name: str
    order_id: UUID
    recipient: Recipient
    channel: Channel


async def notification_begin(db: Executor, *, key: NotificationKey) -> NotificationRow:
    """Note that the message is about to be sent; committed before the provider is called."""
    record = await db.fetchrow(
        _BEGIN.sql(None),
        key.notification_id,
        key.workflow_id,
        key.step_name,
        key.order_id,
        key.recipient,
        key.channel,
    )
    return NotificationRow(
        notification_id=record["notification_id"],
        already_sent=record["state"] != "sending",
        tries=record["tries"],
        first_tried_at=record["first_tried_at"],
    )


async def notification_set_sent(db: Executor, *, notification_id: UUID, provider_id: str) -> None:
    """Note the provider's id; a message sent already keeps its first one."""
    await db.execute(_SENT.sql(None), notification_id, provider_id)


async def notification_set_failed(db: Executor, *, notification_id: UUID, code: str) -> None:
    """Note that the message cannot be delivered."""
    await db.execute(_FAILED.sql(None), notification_id, code)


async def notification_hold(db: Executor, *, key: NotificationKey) -> None:
    """Note that the message is held back until the employer releases it."""
    await db.execute(
        _HOLD.sql(None),
        key.notification_id,
        key.workflow_id,
        key.step_name,
        key.order_id,
        key.recipient,
        key.channel,
    )
