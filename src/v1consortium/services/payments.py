"""The port to the payment provider: customers and their subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

SUCCESS_STATUSES = frozenset({"active", "trialing"})
"""Subscription statuses in which the customer has what was bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSubscription:
    """A subscription at the payment provider; ``status`` is the provider's word."""

    id: str
    customer_id: str
    status: str
    current_period_end: datetime | None

    @property
    def succeeded(self) -> bool:
        """Whether the customer has what was bought (active, or in the trial time)."""
        return self.status in SUCCESS_STATUSES


class PaymentProvider(Protocol):
    """Sells subscriptions. ``key`` is the idempotency key of one write: the same over all tries.

    Every method raises :class:`.errors.ProviderError`. An AmbiguousError may be repeated under
    the same key within 24 hours; with ``replayed`` set, or later, look up first and then use a
    changed key.
    """

    async def ensure_customer(
        self, *, key: str, email: str, org_id: str, metadata: Mapping[str, str]
    ) -> str:
        """Create the customer and return its id; a repeat under ``key`` returns the same id."""

    async def find_customer(self, *, email: str, workflow_id: str) -> str | None:
        """The id of the customer that the workflow has made, or None."""

    async def attach_payment_method(
        self, *, key: str, customer_id: str, payment_method: str
    ) -> None:
        """Attach the method and make it the customer's default.

        A declined card is a PermanentError whose code is the decline code.
        """

    async def create_subscription(
        self,
        *,
        key: str,
        customer_id: str,
        price_id: str,
        trial_days: int | None = None,
        metadata: Mapping[str, str],
    ) -> PaymentSubscription:
        """Subscribe the customer and charge the first period, unless there is a trial time.

        ``metadata`` holds ``workflow_id``, by which :meth:`find_subscription` finds it again.
        A declined charge is a PermanentError whose code is the decline code.
        """

    async def find_subscription(
        self, *, customer_id: str, workflow_id: str
    ) -> PaymentSubscription | None:
        """The customer's subscription made for the workflow, in any status, or None."""

    async def cancel_subscription(self, subscription_id: str) -> None:
        """End the subscription now (compensation); one that is ended or gone is no error."""
