"""What the demo starts, and how each must end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from riverengine import Json
from riverjobs import WorkflowSummary
from v1consortium.simulators.client import Simulators

Check = Callable[[WorkflowSummary, Simulators], bool]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One workflow of the demo.

    ends: its final status, or refused before anything is written.  reason: a part of the stored
    error's message.  prepare: arms faults before the start.  check: what else must hold.
    """

    title: str
    type: str
    input: Mapping[str, Json]
    ends: Literal["completed", "failed", "refused"] = "completed"
    reason: str = ""
    prepare: Callable[[Simulators], None] | None = None
    check: Check | None = None
    after: str | None = field(default=None)


def _signup(email: str, **more: Json) -> dict[str, Json]:
    return {
        "email": email,
        "organization_name": "Acme Logistics",
        "full_name": "Ann Example",
        "payment_method": "pm_card_visa",
        **more,
    }


def _order(employee_id: str, **more: Json) -> dict[str, Json]:
    donor = {
        "employee_id": employee_id,
        "first_name": "Dana",
        "last_name": "Driver",
        "phone": "+12125550123",
        "email": f"{employee_id.lower()}@example.com",
        "latitude": 40.71,
        "longitude": -74.0,
        "sms_consent": True,
    }
    return {
        "donor": donor | more.pop("donor", {}),
        "supervisor": {"email": "supervisor@example.com"},
        "reason": "pre_employment",
        "unit_codes": ["65304N"],
        **more,
    }


def _supabase_is_away(simulators: Simulators) -> None:
    simulators.arm(
        "supabase", "status", status=503, times=2, match={"contains": "patient@example.com"}
    )


def _three_attempts(summary: WorkflowSummary, simulators: Simulators) -> bool:
    return summary.steps[0].attempt == 3


def _charged_once(summary: WorkflowSummary, simulators: Simulators) -> bool:
    payments = simulators.effects("stripe").get("payments", {})
    return payments.get(summary.execution.workflow_id) == 1


def _ordered_once(summary: WorkflowSummary, simulators: Simulators) -> bool:
    orders = simulators.effects("quest").get("orders", {})
    return orders.get(summary.execution.context["order_id"]) == 1


SCENARIOS = (
    Scenario(
        title="good sign-up",
        type="user_signup",
        input=_signup("ann@example.com"),
        check=_charged_once,
    ),
    Scenario(
        title="declined card",
        type="user_signup",
        input=_signup("declined@example.com", payment_method="pm_card_chargeCustomerFail"),
        ends="failed",
        reason="generic_decline",
    ),
    Scenario(
        title="Supabase away twice",
        type="user_signup",
        input=_signup("patient@example.com"),
        prepare=_supabase_is_away,
        check=_three_attempts,
    ),
    Scenario(
        title="duplicate e-mail",
        type="user_signup",
        input=_signup("ann@example.com"),
        ends="failed",
        reason="email_exists",
        after="good sign-up",
    ),
    Scenario(
        title="good order",
        type="drug_test_order",
        input=_order("E-1001"),
        check=_ordered_once,
    ),
    Scenario(
        title="rush order (critical)",
        type="drug_test_order",
        input=_order("E-1002", rush_order=True),
        check=_ordered_once,
    ),
    Scenario(
        title="no suitable facility",
        type="drug_test_order",
        input=_order("E-1003", donor={"latitude": 64.84, "longitude": -147.72}),
        ends="failed",
        reason="no suitable collection site",
    ),
    Scenario(
        title="invalid input",
        type="user_signup",
        input={"email": "not an address", "organization_name": ""},
        ends="refused",
        reason="email",
    ),
)
"""In the order they are started."""
