"""The Stripe adapter, and buying a subscription, against the simulated server."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from v1consortium.providers import Providers
from v1consortium.queries.organization import organization_create
from v1consortium.services.errors import AmbiguousError, PermanentError, ProviderError
from v1consortium.services.payments import PaymentProvider, PaymentSubscription
from v1consortium.services.stripe import StripePayments
from v1consortium.simulators.client import Simulators
from v1consortium.workflows.subscription_purchase import Purchase, buy_subscription

EMAIL = "ann@example.com"
LOSSES = ["execute_then_drop", "execute_then_garbage", "execute_then_status", "drop"]


@pytest.fixture
def payments(providers: Providers) -> PaymentProvider:
    assert providers.payments is not None
    return providers.payments


async def customer(payments: PaymentProvider, key: str = "k:customer") -> str:
    return await payments.ensure_customer(
        key=key, email=EMAIL, org_id="org", metadata={"workflow_id": "w1"}
    )


async def test_a_customer_is_made_once_per_key(
    payments: PaymentProvider, simulators: Simulators
) -> None:
    first, second = await customer(payments), await customer(payments)
    assert first == second
    assert await payments.find_customer(email=EMAIL, workflow_id="w1") == first
    assert await payments.find_customer(email=EMAIL, workflow_id="w2") is None
    assert simulators.effects("stripe")["customers"] == {"w1": 1}


async def test_a_key_used_for_another_request_is_refused(payments: PaymentProvider) -> None:
    await customer(payments)
    with pytest.raises(PermanentError):
        await payments.ensure_customer(
            key="k:customer", email="other@example.com", org_id="org", metadata={}
        )


async def test_a_subscription_is_charged_once_per_key(
    payments: PaymentProvider, simulators: Simulators
) -> None:
    customer_id = await customer(payments)

    async def subscribe() -> PaymentSubscription:
        return await payments.create_subscription(
            key="k:sub", customer_id=customer_id, price_id="price_x", metadata={"workflow_id": "w1"}
        )

    await payments.attach_payment_method(
        key="k:pm", customer_id=customer_id, payment_method="pm_card_visa"
    )
    first, second = await subscribe(), await subscribe()
    assert first == second
    assert first.status == "active"
    assert first.current_period_end is not None
    assert simulators.effects("stripe")["payments"] == {"w1": 1}
    found = await payments.find_subscription(customer_id=customer_id, workflow_id="w1")
    assert found == first
    await payments.cancel_subscription(first.id)
    await payments.cancel_subscription("sub_unknown")


async def test_a_trial_charges_nothing(payments: PaymentProvider, simulators: Simulators) -> None:
    made = await payments.create_subscription(
        key="k",
        customer_id=await customer(payments),
        price_id="price_x",
        trial_days=14,
        metadata={"workflow_id": "w1"},
    )
    assert made.status == "trialing"
    assert simulators.count("stripe", "payments") == 0


@pytest.mark.parametrize("card", ["pm_card_chargeDeclined", "pm_card_chargeCustomerFail"])
async def test_a_declined_card_is_permanent(payments: PaymentProvider, card: str) -> None:
    customer_id = await customer(payments)

    async def pay() -> None:
        await payments.attach_payment_method(
            key="k:pm", customer_id=customer_id, payment_method=card
        )
        await payments.create_subscription(
            key="k:sub", customer_id=customer_id, price_id="price_x", metadata={}
        )

    with pytest.raises(PermanentError) as failure:
        await pay()
    assert failure.value.code == "generic_decline"


async def test_an_unknown_price_names_its_parameter(payments: PaymentProvider) -> None:
    with pytest.raises(PermanentError) as failure:
        await payments.create_subscription(
            key="k", customer_id=await customer(payments), price_id="nothing", metadata={}
        )
    assert failure.value.field == "items[0][price]"


@pytest.mark.parametrize("fault", LOSSES)
async def test_a_lost_answer_is_ambiguous_and_the_same_key_settles_it(
    payments: PaymentProvider, simulators: Simulators, fault: str
) -> None:
    simulators.arm("stripe", fault, status=502, match={"method": "POST"})
    with pytest.raises(AmbiguousError):
        await customer(payments)
    assert await customer(payments) == await customer(payments)
    assert simulators.effects("stripe")["customers"] == {"w1": 1}


async def test_a_request_under_way_is_a_conflict(
    payments: PaymentProvider, simulators: Simulators
) -> None:
    simulators.arm("stripe", "status", status=409)
    with pytest.raises(AmbiguousError):
        await customer(payments)


async def test_a_wrong_key_is_our_fault_and_stays_secret(simulators: Simulators) -> None:
    payments = StripePayments("sk_test_wrong", api_base=simulators.urls["stripe"])
    try:
        with pytest.raises(ProviderError) as failure:
            await customer(payments)
        assert "sk_test_wrong" not in repr(failure.value) + str(failure.value)
        assert isinstance(failure.value, PermanentError)
        assert failure.value.configuration
    finally:
        await payments.aclose()


def purchase(workflow_id: str, **changes: object) -> Purchase:
    values: dict[str, object] = {
        "workflow_id": workflow_id,
        "org_id": f"org-{workflow_id}",
        "email": EMAIL,
        "plan": "standard",
        "price_id": "price_x",
        "payment_method": "pm_card_visa",
        "trial_days": None,
        "key": f"{workflow_id}:process_subscription",
    }
    return Purchase(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
async def organization(app_pool: asyncpg.Pool) -> str:
    workflow_id = str(uuid4())
    assert await organization_create(
        app_pool,
        org_id=f"org-{workflow_id}",
        workflow_id=workflow_id,
        name="Acme",
        owner_user_id=uuid4(),
        settings={},
    )
    return workflow_id


async def test_a_purchase_is_recorded(
    payments: PaymentProvider, app_pool: asyncpg.Pool, organization: str
) -> None:
    bought = await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    row = await app_pool.fetchrow("SELECT * FROM subscriptions")
    assert (row["stripe_subscription_id"], row["status"]) == (bought.id, "active")


@pytest.mark.parametrize("fault", LOSSES)
@pytest.mark.parametrize("path", ["/v1/customers", "/attach", "/v1/subscriptions"])
async def test_a_purchase_tried_until_it_succeeds_charges_once(
    payments: PaymentProvider,
    simulators: Simulators,
    app_pool: asyncpg.Pool,
    organization: str,
    fault: str,
    path: str,
) -> None:
    simulators.arm("stripe", fault, status=500, match={"method": "POST", "path": path})
    with pytest.raises(AmbiguousError):
        await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    again = purchase(organization)
    await buy_subscription(app_pool, payments=payments, purchase=again)
    await buy_subscription(app_pool, payments=payments, purchase=again)
    effects = simulators.effects("stripe")
    assert effects["customers"] == {organization: 1}
    assert effects["subscriptions"] == {organization: 1}
    assert effects["payments"] == {organization: 1}
    assert await app_pool.fetchval("SELECT count(*) FROM subscriptions") == 1


async def test_attempts_at_once_charge_once(
    payments: PaymentProvider, simulators: Simulators, app_pool: asyncpg.Pool, organization: str
) -> None:
    results = await asyncio.gather(
        *(
            buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
            for _ in range(3)
        ),
        return_exceptions=True,
    )
    assert any(isinstance(result, PaymentSubscription) for result in results)
    assert simulators.effects("stripe")["payments"] == {organization: 1}


async def test_a_declined_purchase_suspends_and_another_card_pays(
    payments: PaymentProvider, simulators: Simulators, app_pool: asyncpg.Pool, organization: str
) -> None:
    with pytest.raises(PermanentError):
        await buy_subscription(
            app_pool,
            payments=payments,
            purchase=purchase(organization, payment_method="pm_card_chargeCustomerFail"),
        )
    assert await app_pool.fetchval("SELECT status FROM organizations") == "suspended"
    await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    assert simulators.effects("stripe")["payments"] == {organization: 1}


async def test_a_fresh_job_after_the_keys_are_forgotten_charges_nothing_more(
    payments: PaymentProvider, simulators: Simulators, app_pool: asyncpg.Pool, organization: str
) -> None:
    simulators.arm(
        "stripe", "execute_then_drop", match={"method": "POST", "path": "/v1/subscriptions"}
    )
    with pytest.raises(AmbiguousError):
        await buy_subscription(app_pool, payments=payments, purchase=purchase(organization))
    # Another key stands for one that Stripe has forgotten.
    later = purchase(organization, key=f"{organization}:a-day-later")
    await buy_subscription(app_pool, payments=payments, purchase=later)
    assert simulators.effects("stripe")["payments"] == {organization: 1}
    assert simulators.effects("stripe")["customers"] == {organization: 1}
