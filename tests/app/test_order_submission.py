"""The order's row and the laboratory, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from uuid import uuid4

import asyncpg
import pytest

from v1consortium.facilities import Facility
from v1consortium.queries.drug_test_order import (
    NewOrder,
    OrderRow,
    OrderState,
    order_begin_submission,
    order_create,
    order_get,
    order_list_unsettled,
    order_reopen,
)
from v1consortium.queries.facility import facility_list_near, facility_upsert_many
from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)
from v1consortium.services.lab import (
    CollectionSite,
    LabOrder,
    LabOrderDetails,
    LabOrderRequest,
    TestReason,
)
from v1consortium.workflows.lab_submission import submit_order

SITE = Facility(
    site_code="A1",
    name="Site",
    latitude=40.7,
    longitude=-74.0,
    time_zone="America/New_York",
    open_24_7=True,
    non_dot_urine=True,
)


class Lab:
    """Counts the calls and ends each with the given error, or an order."""

    def __init__(self, error: ProviderError | None = None) -> None:
        self.error = error
        self.calls = 0

    async def submit(self, request: LabOrderRequest) -> LabOrder:
        self.calls += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return LabOrder(
            quest_order_id=f"Q{self.calls}",
            reference_test_id="R1",
            client_reference_id=request.client_reference_id,
        )

    async def cancel(self, *, quest_order_id: str, reference_test_id: str) -> None:
        raise AssertionError

    async def details(
        self, *, quest_order_id: str, reference_test_id: str
    ) -> LabOrderDetails | None:
        raise AssertionError

    async def collection_sites(self) -> Sequence[CollectionSite]:
        raise AssertionError


@pytest.fixture
async def db(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(empty_database, min_size=1, max_size=10) as pool:
        folder = resources.files("v1consortium.supabase.migrations")
        files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
        for file in sorted(files, key=lambda found: found.name):
            await pool.execute(file.read_text(encoding="utf-8"))
        await facility_upsert_many(pool, facilities=[SITE])
        yield pool


async def stored(db: asyncpg.Pool) -> OrderRow:
    order = NewOrder(
        order_id=uuid4(),
        workflow_id="w1",
        step_name="order_test",
        org_id=None,
        employee_id="e1",
        reason="random",
        dot=False,
        testing_authority=None,
        specimen="urine",
        unit_codes=["X1"],
        site_code="A1",
        site_choice={},
        rush=False,
        observed=False,
        expires_at=datetime.now(UTC) + timedelta(days=5),
    )
    await order_create(db, order=order)
    await order_create(db, order=order)
    row = await order_get(db, order_id=order.order_id)
    assert row is not None
    return row


def request(order: OrderRow) -> LabOrderRequest:
    return LabOrderRequest(
        client_reference_id=order.client_reference_id,
        first_name="A",
        last_name="B",
        primary_id="e1",
        primary_phone="2125550100",
        reason=TestReason.RANDOM,
        dot=False,
        site_code=order.site_code,
        unit_codes=["X1"],
    )


@pytest.mark.parametrize(
    ("error", "state", "submissions", "calls_of_a_repeat"),
    [
        (None, OrderState.ORDERED, 1, 0),
        (TransientError("quest", "CreateOrder", "503"), OrderState.SUBMITTING, 0, 1),
        (AmbiguousError("quest", "CreateOrder", "timeout"), OrderState.UNCONFIRMED, 1, 0),
        (PermanentError("quest", "CreateOrder", "bad"), OrderState.FAILED, 1, 0),
    ],
)
async def test_every_outcome_leaves_its_state_and_only_a_certain_no_is_repeated(
    db: asyncpg.Pool,
    error: ProviderError | None,
    state: OrderState,
    submissions: int,
    calls_of_a_repeat: int,
) -> None:
    order = await stored(db)
    if error is None:
        await submit_order(db, lab=Lab(), order=order, request=request(order))
    else:
        with pytest.raises(type(error)):
            await submit_order(db, lab=Lab(error), order=order, request=request(order))
    after = await order_get(db, order_id=order.order_id)
    assert after is not None
    assert (after.state, after.submissions) == (state, submissions)
    repeat = Lab()
    await submit_order(db, lab=repeat, order=order, request=request(order))
    assert repeat.calls == calls_of_a_repeat


async def test_of_many_attempts_at_once_one_calls_the_laboratory(db: asyncpg.Pool) -> None:
    order = await stored(db)
    lab = Lab()
    await asyncio.gather(
        *(submit_order(db, lab=lab, order=order, request=request(order)) for _ in range(10))
    )
    assert lab.calls == 1
    assert await order_list_unsettled(db, limit=10) == []


async def test_a_right_that_was_taken_long_ago_is_given_back_unused(db: asyncpg.Pool) -> None:
    """Frozen before it heard that it has it; a person may have given it to another attempt."""
    order, lab, moment = await stored(db), Lab(), datetime.now(UTC)
    clock = iter([moment, moment + timedelta(hours=1)])
    after = await submit_order(
        db, lab=lab, order=order, request=request(order), now=lambda: next(clock)
    )
    assert (lab.calls, after.state, after.submissions) == (0, OrderState.SUBMITTING, 0)
    await submit_order(db, lab=lab, order=after, request=request(order))
    assert lab.calls == 1


@pytest.mark.parametrize("error", [TransientError, PermanentError, AmbiguousError])
async def test_a_late_answer_changes_nothing_about_a_later_submission(
    db: asyncpg.Pool, error: type[ProviderError]
) -> None:
    """A person reopened the order while the first attempt was frozen in its call."""
    order = await stored(db)
    called, answer = asyncio.Event(), asyncio.Event()

    class Slow(Lab):
        async def submit(self, request: LabOrderRequest) -> LabOrder:
            called.set()
            await answer.wait()
            return await super().submit(request)

    first = asyncio.create_task(
        submit_order(db, lab=Slow(error("quest", "x", "y")), order=order, request=request(order))
    )
    await called.wait()
    await db.execute("UPDATE drug_test_orders SET state = 'unconfirmed'")
    assert await order_reopen(db, order_id=order.order_id)
    second = await order_begin_submission(db, order_id=order.order_id, seen=0)
    answer.set()
    with pytest.raises(error):
        await first
    after = await order_get(db, order_id=order.order_id)
    assert after is not None
    assert (after.state, after.submissions) == (OrderState.SUBMITTING, 1)
    assert after.submitted_at == second


async def test_a_refused_second_submission_leaves_the_first_in_doubt(db: asyncpg.Pool) -> None:
    order = await stored(db)
    for error in (AmbiguousError("quest", "x", "y"), PermanentError("quest", "x", "y")):
        current = await order_get(db, order_id=order.order_id)
        assert current is not None
        with pytest.raises(type(error)):
            await submit_order(db, lab=Lab(error), order=current, request=request(order))
    assert [row.state for row in await order_list_unsettled(db, limit=9)] == ["unconfirmed"]
    assert await order_reopen(db, order_id=order.order_id)


async def test_one_order_per_workflow_step(db: asyncpg.Pool) -> None:
    await stored(db)
    with pytest.raises(asyncpg.UniqueViolationError):
        await stored(db)


async def test_a_site_reads_back_as_it_was_stored(db: asyncpg.Pool) -> None:
    near = await facility_list_near(db, latitude=40.7, longitude=-74.0, radius_km=50)
    assert near == [SITE]
