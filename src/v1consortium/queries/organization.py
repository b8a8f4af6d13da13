"""Organisations and their subscriptions. Every write may be repeated with the same arguments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from json import dumps
from typing import Final, Literal
from uuid import UUID

from riverengine.queries.statement import Executor, statement
from riverengine.types.job import Json

_PACKAGE: Final = "v1consortium.queries.sql"
_CREATE = statement("organization.sql", "organization_create", package=_PACKAGE)
_EXISTS = statement("organization.sql", "organization_exists", package=_PACKAGE)
_SET_CUSTOMER = statement("organization.sql", "organization_set_customer", package=_PACKAGE)
_GET_CUSTOMER = statement("organization.sql", "organization_get_customer", package=_PACKAGE)
_SET_STATUS = statement("organization.sql", "organization_set_status", package=_PACKAGE)
_RECORD = statement("organization.sql", "subscription_record", package=_PACKAGE)


async def organization_create(
    db: Executor,
    *,
    org_id: str,
    workflow_id: str,
    name: str,
    owner_user_id: UUID,
    settings: Mapping[str, Json],
) -> bool:
    """Create the organisation; False where ``org_id`` belongs to another workflow."""
    found = await db.fetchval(
        _CREATE.sql(None), org_id, workflow_id, name, owner_user_id, dumps(settings)
    )
    return found is not None


async def organization_exists(db: Executor, *, org_id: str) -> bool:
    """Whether there is an organisation with that id."""
    return bool(await db.fetchval(_EXISTS.sql(None), org_id))


async def organization_set_customer(db: Executor, *, org_id: str, customer_id: str) -> bool:
    """Note the Stripe customer; False where the organisation is missing or has another one."""
    return await db.fetchval(_SET_CUSTOMER.sql(None), org_id, customer_id) is not None


async def organization_get_customer(db: Executor, *, org_id: str) -> str | None:
    """The organisation's Stripe customer, or None."""
    found: str | None = await db.fetchval(_GET_CUSTOMER.sql(None), org_id)
    return found


async def organization_set_status(
    db: Executor, *, org_id: str, status: Literal["pending", "active", "suspended"]
) -> None:
    """Set the organisation's status."""
    await db.execute(_SET_STATUS.sql(None), org_id, status)


async def subscription_record(
    db: Executor,
    *,
    subscription_id: UUID,
    org_id: str,
    workflow_id: str,
    plan: str,
    stripe_subscription_id: str,
    stripe_customer_id: str,
    status: str,
    current_period_end: datetime | None,
) -> bool:
    """Record the subscription and make its organisation active, in one statement.

    False where the workflow has recorded another subscription already.
    """
    found = await db.fetchval(
        _RECORD.sql(None),
        subscription_id,
        org_id,
        workflow_id,
        plan,
        stripe_subscription_id,
        stripe_customer_id,
        status,
        current_period_end,
    )
    return found is not None
