"""What an attempt may do with an order, and the ids that make it the same order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from v1consortium.queries.drug_test_order import OrderRow, OrderState
from v1consortium.workflows.lab_submission import NextMove, UnconfirmedPolicy, next_move
from v1consortium.workflows.message_delivery import SUBJECT, message_text
from v1consortium.workflows.stable_ids import stable_id

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WAIT = timedelta(minutes=15)


def row(state: OrderState, submissions: int, age: timedelta = timedelta(0)) -> OrderRow:
    return OrderRow(
        order_id=UUID(int=1),
        client_reference_id=str(UUID(int=1)),
        workflow_id="w",
        site_code="A",
        state=state,
        submissions=submissions,
        submitted_at=NOW - age if submissions else None,
        quest_order_id=None,
        reference_test_id=None,
        failure_code=None,
        expires_at=NOW + timedelta(days=5),
        ordered_at=None,
        created_at=NOW,
    )


@pytest.mark.parametrize(
    ("order", "resubmit", "move"),
    [
        (row(OrderState.SUBMITTING, 0), False, NextMove.SUBMIT),
        (row(OrderState.SUBMITTING, 1), False, NextMove.WAIT),
        (row(OrderState.SUBMITTING, 1, WAIT), False, NextMove.ASK_PERSON),
        (row(OrderState.UNCONFIRMED, 1), True, NextMove.WAIT),
        (row(OrderState.UNCONFIRMED, 1, WAIT), False, NextMove.ASK_PERSON),
        (row(OrderState.UNCONFIRMED, 1, WAIT), True, NextMove.SUBMIT),
        (row(OrderState.UNCONFIRMED, 2, WAIT), True, NextMove.ASK_PERSON),
        (row(OrderState.ORDERED, 1), True, NextMove.DONE),
        (row(OrderState.FAILED, 1, WAIT), True, NextMove.REFUSED),
        (row(OrderState.CANCELLED, 0), True, NextMove.REFUSED),
    ],
)
def test_next_move(order: OrderRow, resubmit: bool, move: NextMove) -> None:
    policy = UnconfirmedPolicy(wait=WAIT, resubmit=resubmit)
    assert next_move(order, now=NOW, policy=policy) is move


def test_ids_are_stable_and_differ_by_every_part() -> None:
    assert stable_id("order", "w", "s") == stable_id("order", "w", "s")
    assert len(str(stable_id("order", "w"))) == 36
    ids = {stable_id("a", "bc"), stable_id("ab", "c"), stable_id("a", "b", "c"), stable_id("a", "")}
    assert len(ids) == 4


@pytest.mark.parametrize("word", ["drug", "test", "random", "result", "quest", "accident", "urine"])
def test_messages_say_nothing_of_the_test(word: str) -> None:
    texts = SUBJECT + message_text("employee") + message_text("supervisor")
    assert word not in texts.lower()
