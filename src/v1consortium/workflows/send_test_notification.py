"""The step that tells employee and supervisor of an order, each at most once per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

from riverengine import InsertOpts, Job, Json
from riverjobs import (
    QUEUE_NOTIFICATION,
    BaseJobArgs,
    PermanentStepError,
    StepContext,
    WorkerBase,
    WorkflowOrchestrator,
)
from v1consortium.models import DrugTestOrderInput
from v1consortium.providers import Providers
from v1consortium.queries.notification import Channel, NotificationKey, Recipient, notification_hold
from v1consortium.services.errors import PermanentError
from v1consortium.services.not_configured import required
from v1consortium.settings import PROVIDER_VARIABLES, Settings
from v1consortium.workflows.message_delivery import deliver_email, deliver_sms
from v1consortium.workflows.order_input import order_input
from v1consortium.workflows.stable_ids import stable_id


@dataclass(frozen=True, kw_only=True)
class SendTestNotificationArgs(BaseJobArgs):
    """Tells employee and supervisor."""

    kind: ClassVar[str] = "send_test_notification"

    def insert_opts(self) -> InsertOpts:
        """Messages have a queue of their own."""
        return InsertOpts(queue=QUEUE_NOTIFICATION)


@dataclass(frozen=True, slots=True)
class _Message:
    recipient: Recipient
    channel: Channel
    to: str = field(repr=False)
    held: bool = False

    @property
    def name(self) -> str:
        return f"{self.recipient}:{self.channel}"


class SendTestNotificationWorker(WorkerBase[SendTestNotificationArgs]):
    """Sends what is to be sent; an address that is refused does not keep the others waiting."""

    def __init__(
        self, orchestrator: WorkflowOrchestrator, providers: Providers, settings: Settings
    ) -> None:
        super().__init__(orchestrator)
        self._providers = providers
        self._settings = settings

    async def work(self, job: Job[SendTestNotificationArgs]) -> None:
        """Run the step."""
        await self.execute_with_workflow_tracking(job, self._tell)

    async def _tell(self, context: StepContext) -> Mapping[str, Json]:
        given = order_input(context.context)
        told: dict[str, list[str]] = {"sent": [], "held": [], "refused": []}
        for message in _messages(given):
            told[await self._deliver(context, message)].append(message.name)
        for recipient in ("employee", "supervisor"):
            outcomes = {
                outcome
                for outcome, names in told.items()
                for name in names
                if name.startswith(recipient)
            }
            if outcomes == {"refused"}:
                raise PermanentStepError(f"no message to the {recipient} could be delivered")
        return {"notifications": told}

    async def _deliver(self, context: StepContext, message: _Message) -> str:
        """What became of the message: sent, held or refused. Raises transient errors."""
        key = NotificationKey(
            notification_id=stable_id(
                "notification", context.workflow_id, message.recipient, message.channel
            ),
            workflow_id=context.workflow_id,
            step_name=context.step_name,
            order_id=UUID(context.context["order_id"]),
            recipient=message.recipient,
            channel=message.channel,
        )
        db = self.orchestrator.client.pool
        if message.held or self._settings.notify_dry_run:
            await notification_hold(db, key=key)
            return "held"
        try:
            if message.channel == "email":
                email = required("email", self._providers.email, PROVIDER_VARIABLES["email"])
                await deliver_email(db, sender=email, key=key, to=message.to)
            else:
                sms = required("sms", self._providers.sms, PROVIDER_VARIABLES["sms"])
                await deliver_sms(db, sender=sms, key=key, to=message.to)
        except PermanentError as error:
            if error.configuration:
                raise
            self.logger.warning(
                "a message was refused",
                extra={"fields": {"message": message.name, "code": error.code}},
            )
            return "refused"
        return "sent"


def _messages(given: DrugTestOrderInput) -> Sequence[_Message]:
    """Who is told by which channel; text messages need consent."""
    donor, supervisor = given.donor, given.supervisor
    held = not given.notifies_employee
    found = [_Message("supervisor", "email", supervisor.email)]
    if supervisor.phone is not None and supervisor.sms_consent:
        found.append(_Message("supervisor", "sms", supervisor.phone))
    if donor.email is not None:
        found.append(_Message("employee", "email", donor.email, held))
    if donor.sms_consent:
        found.append(_Message("employee", "sms", donor.phone, held))
    return found
