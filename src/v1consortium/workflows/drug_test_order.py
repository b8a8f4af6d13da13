"""Workflow ``drug_test_order``: choose a site, order the test at Quest, tell those concerned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import asyncpg

from riverengine import InsertOpts, Job, JobSnooze, Json
from riverjobs import (
    QUEUE_CRITICAL,
    QUEUE_EXTERNAL,
    BaseJobArgs,
    PermanentStepError,
    StepContext,
    StepDefinition,
    WorkerBase,
    WorkflowDefinition,
    WorkflowOrchestrator,
)
from v1consortium.facilities import SiteChoice, SiteNeed, choose_facility
from v1consortium.models import DrugTestOrderInput
from v1consortium.providers import Providers
from v1consortium.queries.drug_test_order import NewOrder, OrderRow, order_create, order_get
from v1consortium.queries.facility import facility_list_near
from v1consortium.services.lab import DrugTestLab, LabOrderRequest
from v1consortium.services.not_configured import required
from v1consortium.settings import PROVIDER_VARIABLES, Settings
from v1consortium.workflows.lab_submission import (
    NextMove,
    UnconfirmedPolicy,
    next_move,
    submit_order,
)
from v1consortium.workflows.order_input import order_input
from v1consortium.workflows.send_test_notification import SendTestNotificationArgs
from v1consortium.workflows.stable_ids import stable_id

_ORG_CONSTRAINT: Final = "drug_test_orders_org_id_fkey"


@dataclass(frozen=True, kw_only=True)
class DrugTestOrderArgs(BaseJobArgs):
    """Chooses the site and orders the test."""

    kind: ClassVar[str] = "drug_test_order"

    def insert_opts(self) -> InsertOpts:
        """Work that waits for a provider has a queue of its own."""
        return InsertOpts(queue=QUEUE_EXTERNAL)


class DrugTestOrderWorker(WorkerBase[DrugTestOrderArgs]):
    """Orders the test at most once without a person's consent; see :mod:`.lab_submission`."""

    def __init__(
        self, orchestrator: WorkflowOrchestrator, providers: Providers, settings: Settings
    ) -> None:
        super().__init__(orchestrator)
        self._providers = providers
        self._settings = settings

    async def work(self, job: Job[DrugTestOrderArgs]) -> None:
        """Run the step."""
        await self.execute_with_workflow_tracking(job, self._order)

    async def _order(self, context: StepContext) -> Mapping[str, Json]:
        given = order_input(context.context)
        lab = required("quest", self._providers.lab, PROVIDER_VARIABLES["quest"])
        order = await self._stored_order(context, given)
        placed = await self._placed(lab, context, order, given)
        return {
            "order_id": str(placed.order_id),
            "quest_order_id": placed.quest_order_id,
            "site_code": placed.site_code,
            "expires_at": placed.expires_at.isoformat(),
        }

    async def _stored_order(self, context: StepContext, given: DrugTestOrderInput) -> OrderRow:
        """The order's row; the first attempt fixes what is ordered and where."""
        db = self.orchestrator.client.pool
        order_id = stable_id("order", context.workflow_id)
        order = await order_get(db, order_id=order_id)
        if order is not None:
            return order
        now = datetime.now(UTC)
        deadline = given.deadline(ordered_at=now, days=self._settings.quest_order_days)
        choice = await self._choose(given, now, deadline)
        try:
            await order_create(
                db,
                order=NewOrder(
                    order_id=order_id,
                    workflow_id=context.workflow_id,
                    step_name=context.step_name,
                    org_id=given.organization_id,
                    employee_id=given.donor.employee_id,
                    reason=given.reason.value,
                    dot=given.dot,
                    testing_authority=given.testing_authority,
                    specimen=given.specimen.value,
                    unit_codes=given.unit_codes,
                    site_code=choice.facility.site_code,
                    site_choice={
                        "distance_km": choice.distance_km,
                        "score": choice.score,
                        "parts": choice.parts,
                    },
                    rush=given.rush_order,
                    observed=given.collects_observed,
                    expires_at=deadline,
                ),
            )
        except asyncpg.ForeignKeyViolationError as error:
            if error.constraint_name != _ORG_CONSTRAINT:
                raise
            raise PermanentStepError(
                f"organization_id: there is no organization {given.organization_id}"
            ) from None
        stored = await order_get(db, order_id=order_id)
        assert stored is not None
        return stored

    async def _choose(
        self, given: DrugTestOrderInput, now: datetime, deadline: datetime
    ) -> SiteChoice:
        if deadline <= now:
            raise PermanentStepError("the order's deadline has passed")
        donor, radius = given.donor, self._settings.facility_radius_km
        near = await facility_list_near(
            self.orchestrator.client.pool,
            latitude=donor.latitude,
            longitude=donor.longitude,
            radius_km=radius,
        )
        need = SiteNeed(
            latitude=donor.latitude,
            longitude=donor.longitude,
            dot=given.dot,
            specimen=given.specimen,
            now=now,
            deadline=deadline,
            observed=given.collects_observed,
            urgent=given.is_urgent,
            radius_km=radius,
        )
        choice = choose_facility(near, need)
        if choice is None:
            raise PermanentStepError(
                f"no suitable collection site within {radius:g} km ({len(near)} near): import more "
                "sites with `v1consortium facility import`, then `v1consortium workflow retry`"
            )
        return choice

    async def _placed(
        self,
        lab: DrugTestLab,
        context: StepContext,
        order: OrderRow,
        given: DrugTestOrderInput,
    ) -> OrderRow:
        policy = UnconfirmedPolicy(
            wait=timedelta(seconds=self._settings.quest_unconfirmed_wait_s),
            resubmit=self._settings.quest_resubmit_ambiguous,
        )
        now = datetime.now(UTC)
        match next_move(order, now=now, policy=policy):
            case NextMove.DONE:
                return order
            case NextMove.WAIT:
                assert order.submitted_at is not None
                raise JobSnooze(max(order.submitted_at + policy.wait - now, timedelta(seconds=1)))
            case NextMove.ASK_PERSON:
                raise PermanentStepError(
                    f"order {order.order_id} is unconfirmed: ask the laboratory whether it holds "
                    f"reference {order.client_reference_id}; then `v1consortium order confirm` or "
                    "`order reopen`, and `v1consortium workflow retry`"
                )
            case NextMove.REFUSED:
                raise PermanentStepError(f"order {order.order_id} is {order.state.value}")
            case NextMove.SUBMIT:
                placed = await submit_order(
                    self.orchestrator.client.pool,
                    lab=lab,
                    order=order,
                    request=await self._request(order, given),
                )
                if next_move(placed, now=datetime.now(UTC), policy=policy) is not NextMove.DONE:
                    # Another attempt took the right to submit; it, or its successor, goes on.
                    raise JobSnooze(timedelta(seconds=5))
                return placed

    async def _request(self, order: OrderRow, given: DrugTestOrderInput) -> LabOrderRequest:
        donor = given.donor
        near = await facility_list_near(
            self.orchestrator.client.pool,
            latitude=donor.latitude,
            longitude=donor.longitude,
            radius_km=self._settings.facility_radius_km,
        )
        zones = {site.site_code: site.time_zone for site in near}
        return LabOrderRequest(
            client_reference_id=order.client_reference_id,
            first_name=donor.first_name,
            last_name=donor.last_name,
            primary_id=donor.employee_id,
            birth_date=donor.date_of_birth,
            primary_phone=donor.phone,
            email=donor.email if given.notifies_employee else None,
            zip_code=donor.zip_code,
            reason=given.reason,
            dot=given.dot,
            testing_authority=given.testing_authority,
            site_code=order.site_code,
            unit_codes=given.unit_codes,
            observed=given.collects_observed,
            rush=given.rush_order,
            expires_at=order.expires_at,
            time_zone=zones.get(order.site_code, "America/New_York"),
        )


def _insert_opts(context: Mapping[str, Json]) -> InsertOpts:
    """A rush order and its messages pass all others."""
    if context.get("rush_order"):
        return InsertOpts(queue=QUEUE_CRITICAL, priority=1)
    return InsertOpts(priority=2)


DRUG_TEST_ORDER = WorkflowDefinition(
    type="drug_test_order",
    input_model=DrugTestOrderInput,
    insert_opts=_insert_opts,
    steps=[
        StepDefinition(name="drug_test_order", args_type=DrugTestOrderArgs),
        StepDefinition(
            name="send_test_notification",
            args_type=SendTestNotificationArgs,
            after=["drug_test_order"],
        ),
    ],
)
