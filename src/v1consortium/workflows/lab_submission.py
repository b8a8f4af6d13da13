"""Placing one order at the laboratory at most once without a person's or a setting's consent.

The laboratory knows no idempotency key and no look-up by our reference. So the right to call it is
taken in the order's row, and committed, before each call; a call whose outcome nobody knows leaves
the order unconfirmed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from riverengine.queries.statement import Executor
from v1consortium.queries.drug_test_order import (
    OrderRow,
    OrderState,
    order_begin_submission,
    order_get,
    order_release_submission,
    order_set_failed,
    order_set_ordered,
    order_set_unconfirmed,
)
from v1consortium.services.errors import AmbiguousError, PermanentError, TransientError
from v1consortium.services.lab import DrugTestLab, LabOrderRequest

MAX_SUBMISSIONS = 2
_LATE = timedelta(minutes=1)
"""After which a right that was taken is not used: meanwhile a person may have given it to another
attempt. Far below the wait for a confirmation."""


class NextMove(StrEnum):
    """What an attempt may do with an order."""

    DONE = "done"
    SUBMIT = "submit"
    WAIT = "wait"
    ASK_PERSON = "ask_person"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnconfirmedPolicy:
    """How an order is treated whose submission had an unknown outcome.

    wait: how long a later confirmation is waited for.  resubmit: whether one more submission is
    then allowed; otherwise a person decides.
    """

    wait: timedelta
    resubmit: bool = False


def next_move(order: OrderRow, *, now: datetime, policy: UnconfirmedPolicy) -> NextMove:
    """What may be done with ``order`` now; pure."""
    if order.state is OrderState.ORDERED:
        return NextMove.DONE
    if order.state in {OrderState.FAILED, OrderState.CANCELLED}:
        return NextMove.REFUSED
    if order.submissions == 0 or order.submitted_at is None:
        return NextMove.SUBMIT
    # A submission without a known outcome, also where its process was killed during the call.
    if now < order.submitted_at + policy.wait:
        return NextMove.WAIT
    if policy.resubmit and order.submissions < MAX_SUBMISSIONS:
        return NextMove.SUBMIT
    return NextMove.ASK_PERSON


async def submit_order(
    db: Executor,
    *,
    lab: DrugTestLab,
    order: OrderRow,
    request: LabOrderRequest,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> OrderRow:
    """Call the laboratory once and record the outcome; returns the order's row as it is then.

    It is not called where the process was frozen after it took the right to.  Must run outside a
    transaction: ``db`` commits each statement.  Raises TransientError where the laboratory
    certainly did nothing, AmbiguousError where nobody knows (the order is then unconfirmed),
    PermanentError where it refused.
    """
    began = now()
    submitted_at = await order_begin_submission(db, order_id=order.order_id, seen=order.submissions)
    if submitted_at is None:
        return await _read(db, order.order_id)
    if now() - began > _LATE:
        await order_release_submission(db, order_id=order.order_id, submitted_at=submitted_at)
        return await _read(db, order.order_id)
    try:
        placed = await lab.submit(request)
    except AmbiguousError:
        await order_set_unconfirmed(db, order_id=order.order_id, submitted_at=submitted_at)
        raise
    except TransientError:
        await order_release_submission(db, order_id=order.order_id, submitted_at=submitted_at)
        raise
    except PermanentError as error:
        # An earlier submission of unknown outcome may still stand: only a first one settles it.
        if order.submissions == 0:
            await order_set_failed(
                db, order_id=order.order_id, submitted_at=submitted_at, code=error.code
            )
        else:
            await order_set_unconfirmed(db, order_id=order.order_id, submitted_at=submitted_at)
        raise
    await order_set_ordered(
        db,
        order_id=order.order_id,
        quest_order_id=placed.quest_order_id,
        reference_test_id=placed.reference_test_id,
    )
    return await _read(db, order.order_id)


async def _read(db: Executor, order_id: UUID) -> OrderRow:
    order = await order_get(db, order_id=order_id)
    if order is None:
        raise LookupError(f"order {order_id} is missing")
    return order
