"""Inputs of the workflows: what is refused, and that the message names the field, not the value."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from v1consortium.models import (
    DrugTestOrderInput,
    UserSignupInput,
    holds_card_number,
    normalize_email,
    normalize_phone,
)

SIGNUP: dict[str, Any] = {"email": "user@example.com", "organization_name": "Acme Corp"}
ORDER: dict[str, Any] = {
    "donor": {
        "employee_id": "emp_789",
        "first_name": "Ann",
        "last_name": "Lee",
        "phone": "(212) 555-0100",
        "latitude": 40.7,
        "longitude": -74.0,
    },
    "supervisor": {"email": "boss@example.com"},
    "reason": "pre_employment",
    "unit_codes": ["35105N"],
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def order(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(ORDER), **changes}


def donor(**changes: Any) -> dict[str, Any]:
    return order(donor={**ORDER["donor"], **changes})


def refused(model: type[UserSignupInput | DrugTestOrderInput], value: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return "\n".join(
        ".".join(str(part) for part in detail["loc"]) + ": " + detail["msg"]
        for detail in caught.value.errors(include_input=False, include_context=False)
    )


def test_the_descriptions_own_signup_is_accepted() -> None:
    assert UserSignupInput.model_validate(SIGNUP).plan == "standard"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a..b@example.com"}, "email"),
        ({"email": 7}, "email"),
        ({"email": "a@b"}, "email"),
        ({"organization_name": ""}, "organization_name"),
        ({"organization_name": "x\0y"}, "organization_name"),
        ({"organization_name": "x" * 101}, "organization_name"),
        ({"organization_name": "pay 4242 4242 4242 4242"}, "organization_name"),
        ({"phone": "12"}, "phone"),
        ({"payment_method": "4242424242424242"}, "payment_method"),
        ({"trial_days": "14"}, "trial_days"),
        ({"trial_days": 0}, "trial_days"),
        ({"plan": "No Such!"}, "plan"),
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"password": "hunter2"}, "password"),
        ({"Password": "hunter2"}, "password"),
        ({"card_number": "4242"}, "card_number"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_signup_is_refused_by_field(changes: dict[str, Any], named: str) -> None:
    assert named in refused(UserSignupInput, {**SIGNUP, **changes})


def test_every_missing_field_is_named() -> None:
    message = refused(UserSignupInput, {})
    assert "email" in message
    assert "organization_name" in message


def test_no_message_repeats_a_value() -> None:
    with pytest.raises(ValidationError) as caught:
        UserSignupInput.model_validate({**SIGNUP, "email": "canary-mail", "phone": "canary-phone"})
    assert "canary" not in str(caught.value)


def test_test_type_is_another_name_of_reason_and_employee_of_donor() -> None:
    value = order(test_type="random", employee=ORDER["donor"])
    del value["reason"], value["donor"]
    assert DrugTestOrderInput.model_validate(value).reason.value == "random"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (order(reason="curiosity"), "reason"),
        (order(dot=True), "testing_authority"),
        (order(dot=True, testing_authority="FBI"), "testing_authority"),
        (order(testing_authority="FMCSA"), "testing_authority"),
        (order(dot=True, testing_authority="FMCSA", reason="other"), "reason"),
        (order(dot=True, testing_authority="FMCSA", reason="periodic"), "reason"),
        (order(dot=True, testing_authority="FMCSA", specimen="hair"), "specimen"),
        (order(dot=True, testing_authority="FMCSA", reason="post_accident"), "incident_at"),
        (order(dot="true"), "dot"),
        (order(rush_order=1), "rush_order"),
        (order(unit_codes=[]), "unit_codes"),
        (order(unit_codes=["A", "A"]), "unit_codes"),
        (order(unit_codes="35105N"), "unit_codes"),
        (order(supervisor={}), "supervisor.email"),
        (order(expires_at="2026-06-01T00:00:00"), "expires_at"),
        (order(ssn="078-05-1120"), "ssn"),
        (donor(employee_id="078-05-1120"), "donor.employee_id"),
        (donor(employee_id="x" * 26), "donor.employee_id"),
        (donor(first_name="<b>"), "donor.first_name"),
        (donor(last_name="L" * 26), "donor.last_name"),
        (donor(latitude=float("nan")), "latitude"),
        (donor(longitude=181), "longitude"),
        (donor(date_of_birth="2999-01-01"), "donor.date_of_birth"),
        (donor(zip_code="ABC"), "donor.zip_code"),
        (donor(phone="1"), "donor.phone"),
    ],
)
def test_a_bad_order_is_refused_by_field(value: dict[str, Any], named: str) -> None:
    assert named in refused(DrugTestOrderInput, value)


@pytest.mark.parametrize(
    ("specimen", "hours"), [("urine", 32), ("breath", 8)], ids=["drugs", "alcohol"]
)
def test_post_accident_collections_stop_at_the_federal_limit(specimen: str, hours: int) -> None:
    value = order(reason="post_accident", specimen=specimen, incident_at=NOW.isoformat())
    parsed = DrugTestOrderInput.model_validate(value)
    assert parsed.deadline(ordered_at=NOW, days=5) == NOW + timedelta(hours=hours)
    assert parsed.is_urgent


def test_dot_follow_up_is_always_observed() -> None:
    value = order(dot=True, testing_authority="FMCSA", reason="follow_up")
    assert DrugTestOrderInput.model_validate(value).collects_observed


def test_a_random_test_is_not_announced_unless_released() -> None:
    assert not DrugTestOrderInput.model_validate(order(reason="random")).notifies_employee
    released = order(reason="random", release_employee_notice=True)
    assert DrugTestOrderInput.model_validate(released).notifies_employee


def test_addresses_and_numbers_are_normalised() -> None:
    assert normalize_email("  User@Example.COM ") == "user@example.com"
    assert normalize_phone("(212) 555-0100") == "+12125550100"
    assert normalize_phone("+44 20 7946 0000") == "+442079460000"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4242424242424242", True),
        ("4242-4242-4242-4242", True),
        ("4242424242424241", False),
        ("1234", False),
    ],
)
def test_card_numbers_are_told_by_their_check_digit(text: str, found: bool) -> None:
    assert holds_card_number(text) is found
