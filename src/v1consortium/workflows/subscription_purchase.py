"""Buying an organisation's subscription: never twice, however often the step is tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from riverengine.queries.statement import Executor
from v1consortium.queries.organization import (
    organization_get_customer,
    organization_set_customer,
    organization_set_status,
    subscription_record,
)
from v1consortium.services.errors import AmbiguousError, PermanentError
from v1consortium.services.payments import PaymentProvider, PaymentSubscription
from v1consortium.workflows.stable_ids import stable_id

_MAX_KEYS = 5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What is bought. ``key`` is stable over all attempts and retries by hand."""

    workflow_id: str
    org_id: str
    email: str = field(repr=False)
    plan: str
    price_id: str
    payment_method: str | None
    trial_days: int | None
    key: str


async def buy_subscription(
    db: Executor, *, payments: PaymentProvider, purchase: Purchase
) -> PaymentSubscription:
    """Customer, payment method, subscription, record; each found again by a repeat.

    Must run outside a transaction. Raises ProviderError; after a permanent one (a declined card)
    the organisation is suspended, not deleted, so that another card can be tried.
    """
    try:
        customer_id = await _customer(db, payments, purchase)
        subscription = await _subscription(payments, purchase, customer_id)
        if not subscription.succeeded:
            raise PermanentError("stripe", "create_subscription", subscription.status)
    except PermanentError:
        await organization_set_status(db, org_id=purchase.org_id, status="suspended")
        raise
    recorded = await subscription_record(
        db,
        subscription_id=stable_id("subscription", purchase.workflow_id),
        org_id=purchase.org_id,
        workflow_id=purchase.workflow_id,
        plan=purchase.plan,
        stripe_subscription_id=subscription.id,
        stripe_customer_id=subscription.customer_id,
        status=subscription.status,
        current_period_end=subscription.current_period_end,
    )
    if not recorded:
        raise PermanentError("stripe", "create_subscription", "another_subscription_recorded")
    return subscription


async def _customer(db: Executor, payments: PaymentProvider, purchase: Purchase) -> str:
    known = await organization_get_customer(db, org_id=purchase.org_id)
    if known is not None:
        return known

    async def find() -> str | None:
        return await payments.find_customer(email=purchase.email, workflow_id=purchase.workflow_id)

    async def create(key: str) -> str:
        return await payments.ensure_customer(
            key=key,
            email=purchase.email,
            org_id=purchase.org_id,
            metadata={"workflow_id": purchase.workflow_id, "org_id": purchase.org_id},
        )

    # Always looked up: Stripe forgets keys after a day, and the job of a retry by hand may be a
    # fresh one that knows of no earlier attempt.
    customer_id = await find()
    if customer_id is None:
        customer_id = await _write_once(f"{purchase.key}:customer", find, create)
    if not await organization_set_customer(db, org_id=purchase.org_id, customer_id=customer_id):
        raise PermanentError("stripe", "ensure_customer", "another_customer_recorded")
    return customer_id


async def _subscription(
    payments: PaymentProvider, purchase: Purchase, customer_id: str
) -> PaymentSubscription:
    method = purchase.payment_method

    async def find() -> PaymentSubscription | None:
        return await payments.find_subscription(
            customer_id=customer_id, workflow_id=purchase.workflow_id
        )

    async def create(key: str) -> PaymentSubscription:
        return await payments.create_subscription(
            key=key,
            customer_id=customer_id,
            price_id=purchase.price_id,
            trial_days=purchase.trial_days,
            metadata={"workflow_id": purchase.workflow_id, "org_id": purchase.org_id},
        )

    found = await find()
    if found is not None and found.succeeded:
        return found
    if method is not None:
        await _attach(payments, purchase, customer_id, method)
    # Another card after a decline is another purchase: the old key would replay the old refusal.
    return await _write_once(f"{purchase.key}:subscription:{method or 'trial'}", find, create)


async def _attach(
    payments: PaymentProvider, purchase: Purchase, customer_id: str, method: str
) -> None:
    async def attach(key: str) -> bool:
        await payments.attach_payment_method(
            key=key, customer_id=customer_id, payment_method=method
        )
        return True

    async def unknown() -> bool | None:
        # Attaching what is attached already changes nothing: no look-up is needed.
        return None

    await _write_once(f"{purchase.key}:payment_method:{method}", unknown, attach)


async def _write_once(
    key: str,
    find: Callable[[], Awaitable[_T | None]],
    write: Callable[[str], Awaitable[_T]],
) -> _T:
    """What ``write`` makes under the key, or under a changed one where that key is spent.

    The provider keeps answering with the failure it stored under a key: after such an answer look
    up, then use the next key. Every attempt walks the same keys in the same order.
    """
    number = 1
    while True:
        try:
            return await write(key if number == 1 else f"{key}:r{number}")
        except AmbiguousError as error:
            if not error.replayed or number == _MAX_KEYS:
                raise
        found = await find()
        if found is not None:
            return found
        number += 1
