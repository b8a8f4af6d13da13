"""Drug-test orders: one row per workflow step, whatever happens to the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from json import dumps
from typing import Final
from uuid import UUID

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.job import Json

_PACKAGE: Final = "v1consortium.queries.sql"
_FILE: Final = "drug_test_order.sql"
_CREATE = statement(_FILE, "order_create", package=_PACKAGE)
_GET = statement(_FILE, "order_get", package=_PACKAGE)
_LIST = statement(_FILE, "order_list_unsettled", package=_PACKAGE)
_BEGIN = statement(_FILE, "order_begin_submission", package=_PACKAGE)
_RELEASE = statement(_FILE, "order_release_submission", package=_PACKAGE)
_UNCONFIRMED = statement(_FILE, "order_set_unconfirmed", package=_PACKAGE)
_ORDERED = statement(_FILE, "order_set_ordered", package=_PACKAGE)
_FAILED = statement(_FILE, "order_set_failed", package=_PACKAGE)
_REOPEN = statement(_FILE, "order_reopen", package=_PACKAGE)


class OrderState(StrEnum):
    """States of an order; ``UNCONFIRMED``: the laboratory may or may not hold it."""

    SUBMITTING = "submitting"
    ORDERED = "ordered"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """A row of ``drug_test_orders``, without what concerns the person's test."""

    order_id: UUID
    client_reference_id: str
    workflow_id: str
    site_code: str
    state: OrderState
    submissions: int
    submitted_at: datetime | None
    quest_order_id: str | None
    reference_test_id: str | None
    failure_code: str | None
    expires_at: datetime
    ordered_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What is ordered; fixed by the first attempt."""

    order_id: UUID
    workflow_id: str
    step_name: str
    org_id: str | None
    employee_id: str
    reason: str
    dot: bool
    testing_authority: str | None
    specimen: str
    unit_codes: Sequence[str]
    site_code: str
    site_choice: Mapping[str, Json]
    rush: bool
    observed: bool
    expires_at: datetime


async def order_create(db: Executor, *, order: NewOrder) -> None:
    """Store the order as ``submitting``; one that is stored already stays as it is."""
    await db.execute(
        _CREATE.sql(None),
        order.order_id,
        str(order.order_id),
        order.workflow_id,
        order.step_name,
        order.org_id,
        order.employee_id,
        order.reason,
        order.dot,
        order.testing_authority,
        "federal" if order.dot else "non_federal",
        order.specimen,
        list(order.unit_codes),
        order.site_code,
        dumps(order.site_choice),
        order.rush,
        order.observed,
        order.expires_at,
    )


async def order_get(db: Executor, *, order_id: UUID) -> OrderRow | None:
    """The order, or None."""
    record = await db.fetchrow(_GET.sql(None), order_id)
    return None if record is None else _row(record)


async def order_list_unsettled(db: Executor, *, limit: int) -> list[OrderRow]:
    """Orders not known to be accepted or refused, the oldest first."""
    return [_row(record) for record in await db.fetch(_LIST.sql(None), limit)]


async def order_begin_submission(db: Executor, *, order_id: UUID, seen: int) -> datetime | None:
    """Take the right to call the laboratory; ``seen`` is the number of submissions read before.

    Returns when it was taken, which names the submission; None where another attempt took it. Must
    be committed before the call.
    """
    taken: datetime | None = await db.fetchval(_BEGIN.sql(None), order_id, seen)
    return taken


async def order_release_submission(db: Executor, *, order_id: UUID, submitted_at: datetime) -> None:
    """Give the right back: the submission certainly had no effect."""
    await db.execute(_RELEASE.sql(None), order_id, submitted_at)


async def order_set_unconfirmed(db: Executor, *, order_id: UUID, submitted_at: datetime) -> None:
    """Note that nobody knows whether the laboratory holds this submission; not of a later one."""
    await db.execute(_UNCONFIRMED.sql(None), order_id, submitted_at)


async def order_set_ordered(
    db: Executor, *, order_id: UUID, quest_order_id: str, reference_test_id: str
) -> bool:
    """Note the laboratory's ids; False where the order is settled already, or missing."""
    found = await db.fetchval(_ORDERED.sql(None), order_id, quest_order_id, reference_test_id)
    return found is not None


async def order_set_failed(
    db: Executor, *, order_id: UUID, submitted_at: datetime, code: str
) -> None:
    """Note that the laboratory refused this submission, unless there is a later one."""
    await db.execute(_FAILED.sql(None), order_id, submitted_at, code)


async def order_reopen(db: Executor, *, order_id: UUID) -> bool:
    """Allow a new submission by a person's decision; False where the order is not open to it."""
    return await db.fetchval(_REOPEN.sql(None), order_id) is not None


def _row(record: Record) -> OrderRow:
    return OrderRow(
        order_id=record["order_id"],
        client_reference_id=record["client_reference_id"],
        workflow_id=record["workflow_id"],
        site_code=record["site_code"],
        state=OrderState(record["state"]),
        submissions=record["submissions"],
        submitted_at=record["submitted_at"],
        quest_order_id=record["quest_order_id"],
        reference_test_id=record["reference_test_id"],
        failure_code=record["failure_code"],
        expires_at=record["expires_at"],
        ordered_at=record["ordered_at"],
        created_at=record["created_at"],
    )
