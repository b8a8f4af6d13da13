"""The laboratory's odd answers: faults, double escaping, wrong declarations, plain words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.app.test_quest import REQUEST, lab
from v1consortium.services.errors import AmbiguousError, PermanentError, TransientError
from v1consortium.services.lab import DrugTestLab
from v1consortium.services.quest import QuestLab
from v1consortium.simulators import quest
from v1consortium.simulators.client import Simulators

__all__ = ["lab"]

IDS = {"quest_order_id": "1", "reference_test_id": "2"}


@pytest.mark.parametrize("fault", ["escaped", "utf16"])
async def test_a_result_in_another_dress_is_read(
    lab: DrugTestLab, simulators: Simulators, fault: str
) -> None:
    simulators.arm("quest", fault)
    placed = await lab.submit(REQUEST)
    (order,) = simulators.records("quest", "orders")
    assert placed.quest_order_id == order["quest_order_id"]


@pytest.mark.parametrize("text", ["a & b", "2 < 3 > 1", "]]>", "&amp;", "naïve – ½", "'\""])
async def test_a_comment_arrives_as_it_was_written(
    lab: DrugTestLab, simulators: Simulators, text: str
) -> None:
    await lab.submit(replace(REQUEST, comments=text))
    assert simulators.records("quest", "orders")[0]["comments"] == text


@pytest.mark.parametrize("status", [200, 500])
async def test_a_client_fault_is_permanent(
    lab: DrugTestLab, simulators: Simulators, status: int
) -> None:
    simulators.arm("quest", "soap_fault", code="Client", status=status)
    with pytest.raises(PermanentError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.code == "fault.Client"


@pytest.mark.parametrize("fault", ["soap_fault", "execute_then_soap_fault"])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_server_fault_leaves_an_order_unknown(
    lab: DrugTestLab, simulators: Simulators, fault: str, status: int
) -> None:
    simulators.arm("quest", fault, status=status)
    with pytest.raises(AmbiguousError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.code == "fault.Server"


async def test_a_server_fault_while_reading_is_only_transient(
    lab: DrugTestLab, simulators: Simulators
) -> None:
    simulators.arm("quest", "soap_fault")
    with pytest.raises(TransientError) as failure:
        await lab.details(**IDS)
    assert not isinstance(failure.value, AmbiguousError)


@pytest.mark.parametrize("words", ["Identifier Not Found", "Invalid Credentials", "Access Denied"])
async def test_words_for_a_document_mean_wrong_credentials(
    lab: DrugTestLab, simulators: Simulators, words: str
) -> None:
    simulators.arm("quest", "result", text=words)
    with pytest.raises(PermanentError) as failure:
        await lab.submit(REQUEST)
    assert (failure.value.code, failure.value.configuration) == ("credentials", True)
    simulators.arm("quest", "failure", id="7", detail=words)
    with pytest.raises(PermanentError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.configuration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Thank you",
        "<a>",
        "<QuestOrderResponse/>",
        "<R><ResponseStatusID>MAYBE</ResponseStatusID></R>",
        '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
    ],
)
async def test_a_result_that_cannot_be_read_leaves_an_order_unknown(
    lab: DrugTestLab, simulators: Simulators, text: str
) -> None:
    simulators.arm("quest", "result", text=text)
    with pytest.raises(AmbiguousError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.code == "bad_answer"


async def test_a_success_without_ids_leaves_an_order_unknown(
    lab: DrugTestLab, simulators: Simulators
) -> None:
    simulators.arm("quest", "without_ids")
    with pytest.raises(AmbiguousError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.code == "order_ids_missing"
    assert simulators.count("quest", "orders") == 1


async def test_an_answer_about_another_order_is_not_taken_for_ours(
    lab: DrugTestLab, simulators: Simulators
) -> None:
    other = (
        "<R><ResponseStatusID>SUCCESS</ResponseStatusID><QuestOrderID>1</QuestOrderID>"
        "<ReferenceTestID>2</ReferenceTestID><ClientReferenceID>x</ClientReferenceID></R>"
    )
    simulators.arm("quest", "result", text=other)
    with pytest.raises(AmbiguousError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.code == "reference_mismatch"


async def test_error_ids_that_may_pass_are_a_setting(simulators: Simulators) -> None:
    lab = QuestLab(
        simulators.urls["quest"],
        quest.USERNAME,
        quest.PASSWORD,
        lab_account=quest.LAB_ACCOUNT,
        transient_error_ids=frozenset({"BUSY"}),
    )
    simulators.arm("quest", "failure", id="BUSY")
    try:
        with pytest.raises(TransientError) as failure:
            await lab.submit(REQUEST)
    finally:
        await lab.aclose()
    assert not isinstance(failure.value, AmbiguousError)
    assert failure.value.code == "failure.BUSY"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_login_is_our_fault(
    lab: DrugTestLab, simulators: Simulators, status: int
) -> None:
    simulators.arm("quest", "status", status=status)
    with pytest.raises(PermanentError) as failure:
        await lab.submit(REQUEST)
    assert failure.value.configuration


async def test_an_unknown_order_cannot_be_cancelled(lab: DrugTestLab) -> None:
    with pytest.raises(PermanentError) as failure:
        await lab.cancel(**IDS)
    assert failure.value.code == "failure.ORDER_NOT_FOUND"


async def test_the_sites_are_read_leniently(lab: DrugTestLab) -> None:
    first, second = await lab.collection_sites()
    assert (first.site_code, first.name) == ("Q1001", "Downtown & Main")
    assert (first.latitude, first.longitude) == (40.7128, -74.006)
    assert (first.active, first.open_to_public, first.dot_urine) == (True, True, True)
    assert (first.non_dot_urine, first.electronic_ccf, first.site_type) == (True, True, 1)
    assert (first.hair, first.open_24_7) == (False, False)
    assert (second.site_code, second.latitude, second.longitude) == ("Q1002", None, None)
    assert not second.active


@pytest.mark.parametrize("fault", ["drop", "reset", "execute_then_garbage"])
async def test_reading_the_sites_is_never_ambiguous(
    lab: DrugTestLab, simulators: Simulators, fault: str
) -> None:
    simulators.arm("quest", fault)
    with pytest.raises(TransientError) as failure:
        await lab.collection_sites()
    assert not isinstance(failure.value, AmbiguousError)
    assert len(await lab.collection_sites()) == 2
