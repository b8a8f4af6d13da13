"""The laboratory's adapter against the simulated service."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from v1consortium.providers import Providers
from v1consortium.services.errors import AmbiguousError, PermanentError, TransientError
from v1consortium.services.lab import DrugTestLab, LabOrderRequest, TestReason
from v1consortium.services.quest import QuestLab
from v1consortium.simulators.client import Simulators

REQUEST = LabOrderRequest(
    client_reference_id="ref-1",
    first_name="Zoë",
    last_name="O'Neil",
    primary_id="E-1",
    primary_phone="+13125550123",
    reason=TestReason.PRE_EMPLOYMENT,
    dot=False,
    site_code="S1",
    unit_codes=("65304N",),
    expires_at=datetime(2026, 12, 1, tzinfo=UTC),
)


@pytest.fixture
def lab(providers: Providers) -> DrugTestLab:
    assert providers.lab is not None
    return providers.lab


async def test_an_order_is_placed_found_and_cancelled(
    lab: DrugTestLab, simulators: Simulators
) -> None:
    placed = await lab.submit(REQUEST)
    assert placed.client_reference_id == "ref-1"
    found = await lab.details(
        quest_order_id=placed.quest_order_id, reference_test_id=placed.reference_test_id
    )
    assert found is not None
    assert found.status == "ORDERED"
    await lab.cancel(
        quest_order_id=placed.quest_order_id, reference_test_id=placed.reference_test_id
    )
    (order,) = simulators.records("quest", "orders")
    assert (order["status"], order["site"], order["unit_codes"]) == ("CANCELLED", "S1", ["65304N"])
    assert await lab.details(quest_order_id="1", reference_test_id="2") is None


async def test_a_rush_is_told_in_the_comment(lab: DrugTestLab, simulators: Simulators) -> None:
    await lab.submit(replace(REQUEST, rush=True))
    assert simulators.records("quest", "orders")[0]["comments"].startswith("RUSH")


async def test_the_service_knows_no_duplicates(lab: DrugTestLab, simulators: Simulators) -> None:
    first, second = await lab.submit(REQUEST), await lab.submit(REQUEST)
    assert first.quest_order_id != second.quest_order_id
    assert simulators.effects("quest")["orders"] == {"ref-1": 2}


@pytest.mark.parametrize(
    "fault", ["drop", "reset", "execute_then_drop", "execute_then_garbage", "execute_then_huge"]
)
async def test_a_lost_answer_is_ambiguous(
    lab: DrugTestLab, simulators: Simulators, fault: str
) -> None:
    simulators.arm("quest", fault)
    with pytest.raises(AmbiguousError):
        await lab.submit(REQUEST)


async def test_a_front_server_s_503_reached_nothing(
    lab: DrugTestLab, simulators: Simulators
) -> None:
    simulators.arm("quest", "status", status=503)
    with pytest.raises(TransientError) as failure:
        await lab.submit(REQUEST)
    assert not isinstance(failure.value, AmbiguousError)
    assert simulators.count("quest", "orders") == 0


async def test_a_refused_order_is_permanent(lab: DrugTestLab, simulators: Simulators) -> None:
    simulators.arm("quest", "failure", id="42")
    with pytest.raises(PermanentError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.code == "failure.42"


async def test_wrong_credentials_are_our_fault(simulators: Simulators) -> None:
    lab = QuestLab(simulators.urls["quest"], "me", "secret", lab_account="1")
    try:
        with pytest.raises(PermanentError) as failure:
            await lab.submit(REQUEST)
        assert failure.value.configuration
        assert "secret" not in repr(failure.value) + str(failure.value)
    finally:
        await lab.aclose()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"first_name": "x" * 21}, "first_name"),
        ({"first_name": ""}, "first_name"),
        ({"last_name": "<b>"}, "last_name"),
        ({"primary_phone": "123"}, "primary_phone"),
        ({"site_code": "SEVENCH"}, "site_code"),
        ({"unit_codes": ()}, "unit_codes"),
        ({"client_reference_id": "x" * 37}, "client_reference_id"),
        ({"dot": True}, "testing_authority"),
        ({"expires_at": datetime(2026, 1, 1) - timedelta(0)}, "expires_at"),  # noqa: DTZ001
        ({"comments": "x" * 251}, "comments"),
    ],
)
async def test_a_field_over_its_limit_is_refused_unsent(
    lab: DrugTestLab, simulators: Simulators, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(PermanentError) as failure:
        await lab.submit(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert failure.value.field == field
    assert simulators.count("quest", "orders") == 0


def test_a_request_keeps_personal_data_out_of_its_repr() -> None:
    text = repr(REQUEST)
    assert "O'Neil" not in text
    assert "3125550123" not in text
