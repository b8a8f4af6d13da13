"""Idempotency keys as Stripe keeps them: conflicts, replays, and failures stored under a key."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.app.test_stripe import customer, organization, payments, purchase
from v1consortium.providers import Providers
from v1consortium.services.errors import AmbiguousError, PermanentError, TransientError
from v1consortium.services.payments import PaymentProvider
from v1consortium.simulators.client import Simulators
from v1consortium.simulators.stripe import API_KEY
from v1consortium.workflows.subscription_purchase import buy_subscription

__all__ = ["organization", "payments"]

WRITES = ["/v1/customers", "/attach", "/v1/subscriptions"]


async def test_two_requests_under_one_key_at_once_conflict(
    payments: PaymentProvider, simulators: Simulators
) -> None:
    results = await asyncio.gather(*(customer(payments) for _ in range(4)), return_exceptions=True)
    made = [result for result in results if isinstance(result, str)]
    refused = [result for result in results if isinstance(result, BaseException)]
    assert made
    assert refused
    assert all(isinstance(result, AmbiguousError) for result in refused)
    assert await customer(payments) == made[0]
    assert simulators.effects("stripe")["customers"] == {"w1": 1}


async def test_a_replay_says_that_it_is_one(simulators: Simulators) -> None:
    headers = {"authorization": f"Bearer {API_KEY}", "idempotency-key": str(uuid4())}
    url = f"{simulators.urls['stripe']}/v1/customers"
    async with httpx.AsyncClient(headers=headers, trust_env=False) as http:
        first = await http.post(url, data={"email": "ann@example.com"})
        second = await http.post(url, data={"email": "ann@example.com"})
        other = await http.post(url, data={"email": "bob@example.com"})
    assert first.json() == second.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")


async def test_a_request_refused_as_invalid_leaves_its_key_unused(
    payments: PaymentProvider,
) -> None:
    customer_id = await customer(payments)
    with pytest.raises(PermanentError):
        await payments.create_subscription(
            key="k:sub", customer_id=customer_id, price_id="nothing", trial_days=1, metadata={}
        )
    bought = await payments.create_subscription(
        key="k:sub", customer_id=customer_id, price_id="price_x", trial_days=1, metadata={}
    )
    assert bought.status == "trialing"


@pytest.mark.parametrize("fault", ["store_failure", "store_failure_after"])
async def test_a_stored_failure_is_replayed_under_its_key_only(
    payments: PaymentProvider, simulators: Simulators, fault: str
) -> None:
    simulators.arm("stripe", fault)
    for replayed in (False, True, True):
        with pytest.raises(AmbiguousError) as failure:
            await customer(payments)
        assert failure.value.replayed is replayed
    assert await customer(payments, key="k:customer:r2")


@pytest.mark.parametrize("code", ["processing_error", "try_again_later", "reenter_transaction"])
async def test_a_decline_that_may_pass_is_transient_then_a_replay(
    payments: PaymentProvider, simulators: Simulators, code: str
) -> None:
    simulators.arm("stripe", "store_decline", code=code)
    with pytest.raises(TransientError) as failure:
        await customer(payments)
    assert failure.value.code == code
    assert not isinstance(failure.value, AmbiguousError)
    with pytest.raises(AmbiguousError) as again:
        await customer(payments)
    assert again.value.replayed


@pytest.mark.parametrize(
    "code", ["insufficient_funds", "lost_card", "stolen_card", "expired_card", "do_not_honor"]
)
async def test_a_decline_names_its_reason(
    payments: PaymentProvider, simulators: Simulators, code: str
) -> None:
    customer_id = await customer(payments)
    simulators.arm("stripe", "store_decline", code=code)
    with pytest.raises(PermanentError) as failure:
        await payments.attach_payment_method(
            key="k:pm", customer_id=customer_id, payment_method="pm_card_visa"
        )
    assert (failure.value.code, failure.value.field) == (code, "payment_method")
    assert not failure.value.configuration


@pytest.mark.parametrize("fault", ["store_failure", "store_failure_after", "store_decline"])
@pytest.mark.parametrize("path", WRITES)
async def test_a_purchase_gets_past_a_stored_failure_and_charges_once(
    payments: PaymentProvider,
    simulators: Simulators,
    app_pool: asyncpg.Pool,
    organization: str,
    fault: str,
    path: str,
) -> None:
    match = {"method": "POST", "path": path}
    simulators.arm("stripe", fault, code="processing_error", match=match)
    with pytest.raises(TransientError):
        await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    bought = await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    assert bought.succeeded
    effects = simulators.effects("stripe")
    assert effects["customers"] == {organization: 1}
    assert effects["subscriptions"] == {organization: 1}
    assert effects["payments"] == {organization: 1}


async def test_failures_stored_again_and_again_are_walked_past_key_by_key(
    payments: PaymentProvider, simulators: Simulators, app_pool: asyncpg.Pool, organization: str
) -> None:
    for suffix in (":r3", ":r2", ""):
        match = {"method": "POST", "contains": f":subscription:pm_card_visa{suffix}"}
        simulators.arm("stripe", "store_failure", match=match)
    for _ in range(3):
        with pytest.raises(AmbiguousError) as failure:
            await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
        assert not failure.value.replayed
    await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    assert simulators.armed("stripe") == []
    assert simulators.effects("stripe")["payments"] == {organization: 1}


async def test_adapters_close_and_open_again(providers: Providers) -> None:
    assert providers.payments is not None
    made = await customer(providers.payments)
    await providers.aclose()
    assert await customer(providers.payments) == made
