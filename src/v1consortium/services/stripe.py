"""Customers and subscriptions at Stripe.

Every write carries the caller's idempotency key. Stripe keeps a key for at least 24 hours and
replays what it answered, a stored 500 or 402 included; an AmbiguousError with ``replayed`` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)
from v1consortium.services.http import bad_answer, problem_of_exception, problem_of_status
from v1consortium.services.payments import PaymentSubscription

if TYPE_CHECKING:
    import stripe

    from v1consortium.services.stripe_http import PolicyClient

_PROVIDER = "stripe"
_TRY_AGAIN = frozenset({"processing_error", "try_again_later", "reenter_transaction"})
_T = TypeVar("_T")

PaymentBehavior = Literal["error_if_incomplete", "allow_incomplete", "default_incomplete"]


class _OnlyWarnings(logging.Filter):
    """Drops the library's request lines: they quote parameters and provider messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


_ONLY_WARNINGS = _OnlyWarnings()


class StripePayments:
    """The payment provider behind ``api_key``.

    ``payment_behavior`` is Stripe's setting for a first payment that does not go through:
    ``error_if_incomplete`` ends in paid or declined at once. ``api_base`` replaces Stripe's
    address; ``timeout`` bounds one call.
    """

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str | None = None,
        timeout: timedelta = timedelta(seconds=20),
        payment_behavior: PaymentBehavior = "error_if_incomplete",
        proxy: str | None = None,
    ) -> None:
        self._api_key = api_key
        self._api_base = api_base.rstrip("/") if api_base else None
        self._timeout = timeout
        self._payment_behavior: PaymentBehavior = payment_behavior
        self._proxy = proxy
        self._client: stripe.StripeClient | None = None
        self._http: PolicyClient | None = None

    async def ensure_customer(
        self, *, key: str, email: str, org_id: str, metadata: Mapping[str, str]
    ) -> str:
        """See :class:`.payments.PaymentProvider`."""

        async def create(client: stripe.StripeClient) -> str:
            customer = await client.v1.customers.create_async(
                {"email": email, "metadata": {**metadata, "org_id": org_id}},
                {"idempotency_key": key},
            )
            return customer.id

        return await self._call("create_customer", create, write=True)

    async def find_customer(self, *, email: str, workflow_id: str) -> str | None:
        """See :class:`.payments.PaymentProvider`."""

        async def find(client: stripe.StripeClient) -> str | None:
            page = await client.v1.customers.list_async({"email": email, "limit": 100})
            async for customer in page.auto_paging_iter():
                if _made_for(customer, workflow_id):
                    return customer.id
            return None

        return await self._call("find_customer", find, write=False)

    async def attach_payment_method(
        self, *, key: str, customer_id: str, payment_method: str
    ) -> None:
        """See :class:`.payments.PaymentProvider`; attaching again to the same customer is fine."""

        async def attach(client: stripe.StripeClient) -> str:
            attached = await client.v1.payment_methods.attach_async(
                payment_method, {"customer": customer_id}, {"idempotency_key": f"{key}:attach"}
            )
            return attached.id

        async def owned(client: stripe.StripeClient) -> bool:
            known = await client.v1.payment_methods.retrieve_async(payment_method)
            owner = known.customer
            return (owner if isinstance(owner, str) or owner is None else owner.id) == customer_id

        try:
            attached_id = await self._call("attach_payment_method", attach, write=True)
        except PermanentError as error:
            problem = error
            attached_id = ""
        if not attached_id:
            if problem.configuration or problem.code not in (
                "http_400",
                "payment_method_already_attached",
                "payment_method_unexpected_state",
            ):
                raise problem
            if not await self._call("find_payment_method", owned, write=False):
                raise problem
            attached_id = payment_method

        async def make_default(client: stripe.StripeClient) -> None:
            await client.v1.customers.update_async(
                customer_id,
                {"invoice_settings": {"default_payment_method": attached_id}},
                {"idempotency_key": f"{key}:default"},
            )

        await self._call("set_default_payment_method", make_default, write=True)

    async def create_subscription(
        self,
        *,
        key: str,
        customer_id: str,
        price_id: str,
        trial_days: int | None = None,
        metadata: Mapping[str, str],
    ) -> PaymentSubscription:
        """See :class:`.payments.PaymentProvider`."""

        async def create(client: stripe.StripeClient) -> PaymentSubscription:
            params: stripe.params.SubscriptionCreateParams = {
                "customer": customer_id,
                "items": [{"price": price_id}],
                "payment_behavior": self._payment_behavior,
                "metadata": dict(metadata),
            }
            if trial_days:
                params["trial_period_days"] = trial_days
            return _subscription(
                await client.v1.subscriptions.create_async(params, {"idempotency_key": key})
            )

        return await self._call("create_subscription", create, write=True)

    async def find_subscription(
        self, *, customer_id: str, workflow_id: str
    ) -> PaymentSubscription | None:
        """See :class:`.payments.PaymentProvider`; lists, since Stripe's search lags behind."""

        async def find(client: stripe.StripeClient) -> PaymentSubscription | None:
            page = await client.v1.subscriptions.list_async(
                {"customer": customer_id, "status": "all", "limit": 100}
            )
            async for subscription in page.auto_paging_iter():
                if _made_for(subscription, workflow_id):
                    return _subscription(subscription)
            return None

        return await self._call("find_subscription", find, write=False)

    async def cancel_subscription(self, subscription_id: str) -> None:
        """See :class:`.payments.PaymentProvider`."""

        async def cancel(client: stripe.StripeClient) -> None:
            await client.v1.subscriptions.cancel_async(subscription_id)

        try:
            await self._call("cancel_subscription", cancel, write=True)
        except PermanentError as error:
            if error.code != "resource_missing":
                raise

    async def aclose(self) -> None:
        """Close the connections; the next call makes new ones."""
        http, self._http, self._client = self._http, None, None
        if http is not None:
            await http.close_async()

    def _connected(self) -> stripe.StripeClient:
        if self._client is None:
            import stripe

            from v1consortium.services.stripe_http import PolicyClient

            logger = logging.getLogger("stripe")
            if _ONLY_WARNINGS not in logger.filters:
                logger.addFilter(_ONLY_WARNINGS)
            self._http = PolicyClient(timeout=self._timeout, proxy=self._proxy)
            self._client = stripe.StripeClient(
                self._api_key,
                base_addresses={"api": self._api_base} if self._api_base else {},
                http_client=self._http,
                max_network_retries=0,
            )
        return self._client

    async def _call(
        self,
        operation: str,
        call: Callable[[stripe.StripeClient], Awaitable[_T]],
        *,
        write: bool,
    ) -> _T:
        client = self._connected()
        import stripe

        problem: ProviderError
        try:
            return await call(client)
        except stripe.StripeError as error:
            problem = _problem(operation, error, write=write)
        except (AttributeError, KeyError, TypeError, ValueError):
            # A success whose body is not what the library knows; the message may quote it.
            problem = bad_answer(_PROVIDER, operation, write=write)
        # Raised out here so that the error does not carry the answer as its context.
        raise problem


def _made_for(record: stripe.Customer | stripe.Subscription, workflow_id: str) -> bool:
    metadata = record.to_dict().get("metadata") or {}
    return bool(metadata.get("workflow_id") == workflow_id)


def _subscription(subscription: stripe.Subscription) -> PaymentSubscription:
    # Since API version 2025-03-31 the period stands on the items.
    body = subscription.to_dict()
    ends = [item.get("current_period_end") for item in (body.get("items") or {}).get("data", [])]
    ends.append(body.get("current_period_end"))
    end = next((end for end in ends if end), None)
    customer = subscription.customer
    return PaymentSubscription(
        id=subscription.id,
        customer_id=customer if isinstance(customer, str) else customer.id,
        status=subscription.status,
        current_period_end=datetime.fromtimestamp(end, UTC) if end else None,
    )


def _headers(error: stripe.StripeError) -> Mapping[str, str]:
    if error.headers:
        return error.headers
    # The library puts the headers of an answer that is no JSON where the body belongs.
    misplaced: object = error.json_body
    if isinstance(misplaced, Mapping):
        return {name: value for name, value in misplaced.items() if isinstance(value, str)}
    return {}


def _problem(operation: str, error: stripe.StripeError, *, write: bool) -> ProviderError:
    import stripe

    status = error.http_status
    if isinstance(error, stripe.APIConnectionError) or status is None:
        return problem_of_exception(_PROVIDER, operation, error.__cause__ or error, write=write)
    if status < 300:
        return bad_answer(_PROVIDER, operation, write=write)
    headers = _headers(error)
    replayed = (headers.get("idempotent-replayed") or "").lower() == "true"
    code = error.code or (error.error.code if error.error else None)
    if isinstance(error, stripe.CardError):
        decline = (error.error.decline_code if error.error else None) or code or "card_declined"
        if code in _TRY_AGAIN or decline in _TRY_AGAIN:
            if replayed:
                return AmbiguousError(_PROVIDER, operation, decline, replayed=True)
            return TransientError(_PROVIDER, operation, decline)
        return PermanentError(_PROVIDER, operation, decline, field="payment_method")
    if isinstance(error, stripe.IdempotencyError):
        return PermanentError(_PROVIDER, operation, code or "idempotency_error")
    if status == 409:
        kind = AmbiguousError if write else TransientError
        return kind(_PROVIDER, operation, code or "http_409")
    if isinstance(error, stripe.RateLimitError):
        status = 429
    if isinstance(error, stripe.InvalidRequestError):
        return PermanentError(_PROVIDER, operation, code or f"http_{status}", field=error.param)
    problem = problem_of_status(_PROVIDER, operation, status, headers, write=write, code=code)
    if isinstance(problem, AmbiguousError):
        problem.replayed = replayed
    return problem
