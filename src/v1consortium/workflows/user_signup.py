"""Workflow ``user_signup``: a Supabase user, its organisation, its Stripe subscription."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import asyncpg

from riverengine import InsertOpts, Job, Json
from riverjobs import (
    QUEUE_EXTERNAL,
    BaseJobArgs,
    PermanentStepError,
    StepContext,
    StepDefinition,
    WorkerBase,
    WorkflowDefinition,
    WorkflowOrchestrator,
)
from v1consortium.models import UserSignupInput
from v1consortium.providers import Providers
from v1consortium.queries.organization import organization_create
from v1consortium.services.not_configured import required
from v1consortium.settings import PROVIDER_VARIABLES, Settings
from v1consortium.workflows.stable_ids import stable_id
from v1consortium.workflows.subscription_purchase import Purchase, buy_subscription


@dataclass(frozen=True, kw_only=True)
class UserSignupArgs(BaseJobArgs):
    """Creates the user."""

    kind: ClassVar[str] = "user_signup"

    def insert_opts(self) -> InsertOpts:
        """Work that waits for a provider has a queue of its own."""
        return InsertOpts(queue=QUEUE_EXTERNAL)


@dataclass(frozen=True, kw_only=True)
class CreateOrganizationArgs(BaseJobArgs):
    """Creates the organisation's record."""

    kind: ClassVar[str] = "create_organization"


@dataclass(frozen=True, kw_only=True)
class ProcessSubscriptionArgs(BaseJobArgs):
    """Buys and records the subscription."""

    kind: ClassVar[str] = "process_subscription"

    def insert_opts(self) -> InsertOpts:
        """Work that waits for a provider has a queue of its own."""
        return InsertOpts(queue=QUEUE_EXTERNAL)


def signup_input(context: Mapping[str, Json]) -> UserSignupInput:
    """What the workflow was started with, out of its context."""
    names = UserSignupInput.model_fields
    return UserSignupInput.model_validate(
        {name: value for name, value in context.items() if name in names}
    )


class UserSignupWorker(WorkerBase[UserSignupArgs]):
    """Creates the Supabase user under an id that every attempt computes alike."""

    def __init__(self, orchestrator: WorkflowOrchestrator, providers: Providers) -> None:
        super().__init__(orchestrator)
        self._providers = providers

    async def work(self, job: Job[UserSignupArgs]) -> None:
        """Run the step."""
        await self.execute_with_workflow_tracking(job, self._create_user)

    async def _create_user(self, context: StepContext) -> Mapping[str, Json]:
        given = signup_input(context.context)
        identity = required("supabase", self._providers.identity, PROVIDER_VARIABLES["supabase"])
        user = await identity.create_user(
            user_id=stable_id("user", context.workflow_id),
            email=given.email,
            full_name=given.full_name,
            phone=given.phone,
            metadata={"workflow_id": context.workflow_id},
        )
        return {"user_id": str(user.id)}


class CreateOrganizationWorker(WorkerBase[CreateOrganizationArgs]):
    """Writes the organisation with its defaults, in the step's own commit."""

    async def work(self, job: Job[CreateOrganizationArgs]) -> None:
        """Run the step."""
        workflow_id = job.args.workflow_id

        async def write(connection: asyncpg.Connection, context: Mapping[str, Json]) -> None:
            given = signup_input(context)
            created = await organization_create(
                connection,
                org_id=context["org_id"],
                workflow_id=workflow_id,
                name=given.organization_name,
                owner_user_id=UUID(context["user_id"]),
                settings={"time_zone": given.time_zone, "plan": given.plan},
            )
            if not created:
                raise PermanentStepError("the organisation's id belongs to another workflow")

        await self.execute_with_workflow_tracking(job, _organization_id, on_commit=write)


async def _organization_id(context: StepContext) -> Mapping[str, Json]:
    return {"org_id": f"org_{stable_id('organization', context.workflow_id).hex}"}


class ProcessSubscriptionWorker(WorkerBase[ProcessSubscriptionArgs]):
    """Buys the subscription; every call carries a key that all attempts share."""

    def __init__(
        self, orchestrator: WorkflowOrchestrator, providers: Providers, settings: Settings
    ) -> None:
        super().__init__(orchestrator)
        self._providers = providers
        self._settings = settings

    async def work(self, job: Job[ProcessSubscriptionArgs]) -> None:
        """Run the step."""
        await self.execute_with_workflow_tracking(job, self._buy)

    async def _buy(self, context: StepContext) -> Mapping[str, Json]:
        given = signup_input(context.context)
        payments = required("stripe", self._providers.payments, PROVIDER_VARIABLES["stripe"])
        price = self._settings.price_for(given.plan)
        if price is None:
            raise PermanentStepError(
                f"plan {given.plan} has no price: set STRIPE_PRICE_{given.plan.upper()}"
            )
        trial = given.trial_days
        if given.payment_method is None and trial is None:
            trial = self._settings.signup_trial_days
        bought = await buy_subscription(
            self.orchestrator.client.pool,
            payments=payments,
            purchase=Purchase(
                workflow_id=context.workflow_id,
                org_id=context.context["org_id"],
                email=given.email,
                plan=given.plan,
                price_id=price,
                payment_method=given.payment_method,
                trial_days=trial,
                key=context.idempotency_key(),
            ),
        )
        return {"subscription_id": bought.id, "subscription_status": bought.status}


USER_SIGNUP = WorkflowDefinition(
    type="user_signup",
    input_model=UserSignupInput,
    steps=[
        StepDefinition(name="user_signup", args_type=UserSignupArgs),
        StepDefinition(
            name="create_organization", args_type=CreateOrganizationArgs, after=["user_signup"]
        ),
        StepDefinition(
            name="process_subscription",
            args_type=ProcessSubscriptionArgs,
            after=["create_organization"],
        ),
    ],
)
