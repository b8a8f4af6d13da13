"""Mail and text messages, and delivering each once, against the simulated servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from v1consortium.facilities import Facility
from v1consortium.providers import Providers
from v1consortium.queries.drug_test_order import NewOrder, order_create
from v1consortium.queries.facility import facility_upsert_many
from v1consortium.queries.notification import Channel, NotificationKey
from v1consortium.services.errors import AmbiguousError, PermanentError, TransientError
from v1consortium.services.notify import EmailSender, SmsSender
from v1consortium.simulators.client import Simulators
from v1consortium.workflows.message_delivery import deliver_email, deliver_sms

TO = "ann@example.com"
NUMBER = "+13125550123"


@pytest.fixture
def email(providers: Providers) -> EmailSender:
    assert providers.email is not None
    return providers.email


@pytest.fixture
def sms(providers: Providers) -> SmsSender:
    assert providers.sms is not None
    return providers.sms


async def send(email: EmailSender, message_id: str = "m1", to: str = TO) -> str:
    return await email.send(to=to, subject="Hello", text="Grüße\n.\nend", message_id=message_id)


async def test_a_mail_arrives_as_it_was_sent(email: EmailSender, simulators: Simulators) -> None:
    header = await send(email)
    (mail,) = simulators.records("smtp", "mails")
    assert mail["message_id"] == header == "<m1@v1consortium.example>"
    assert (mail["to"], mail["subject"]) == ([TO], "Hello")
    assert mail["text"].splitlines() == ["Grüße", ".", "end"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("reject", PermanentError),
        ("later", TransientError),
        ("drop", TransientError),
        ("accept_then_drop", AmbiguousError),
    ],
)
async def test_mail_failures_are_classed_by_their_stage(
    email: EmailSender, simulators: Simulators, fault: str, kind: type[Exception]
) -> None:
    simulators.arm("smtp", fault)
    with pytest.raises(kind) as failure:
        await send(email)
    assert TO not in str(failure.value)


@pytest.mark.parametrize("to", ["nobody", "a@b\r\nBcc: c@d.example", "<a@b>"])
async def test_an_address_that_is_none_is_refused_unsent(
    email: EmailSender, simulators: Simulators, to: str
) -> None:
    with pytest.raises(PermanentError):
        await send(email, to=to)
    assert simulators.count("smtp", "mails") == 0


async def test_a_text_message_is_sent_and_found(sms: SmsSender, simulators: Simulators) -> None:
    before = datetime.now(UTC)
    sid = await sms.send(to=NUMBER, body="Hello")
    found = await sms.find_message(to=NUMBER, body="Hello", since=before - timedelta(minutes=1))
    assert found is not None
    assert found.id == sid
    assert await sms.find_message(to=NUMBER, body="Other", since=before) is None
    assert simulators.effects("twilio")["messages"] == {NUMBER: 1}


async def test_a_number_that_is_none_is_permanent(sms: SmsSender) -> None:
    with pytest.raises(PermanentError) as failure:
        await sms.send(to="+15005550001", body="Hello")
    assert (failure.value.code, failure.value.field) == ("21211", "to")


@pytest.mark.parametrize("fault", ["drop", "execute_then_drop", "execute_then_garbage"])
async def test_a_lost_answer_about_a_text_message_is_ambiguous(
    sms: SmsSender, simulators: Simulators, fault: str
) -> None:
    simulators.arm("twilio", fault)
    with pytest.raises(AmbiguousError):
        await sms.send(to=NUMBER, body="Hello")


@pytest.fixture
async def order_id(app_pool: asyncpg.Pool) -> UUID:
    """A stored order."""
    site = Facility(
        site_code="A1", name="Site", latitude=40.7, longitude=-74.0, time_zone="America/New_York"
    )
    await facility_upsert_many(app_pool, facilities=[site])
    order = NewOrder(
        order_id=uuid4(),
        workflow_id="w1",
        step_name="order",
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
    await order_create(app_pool, order=order)
    return order.order_id


def key(channel: Channel, order_id: UUID) -> NotificationKey:
    return NotificationKey(
        notification_id=uuid4(),
        workflow_id=str(uuid4()),
        step_name="notify",
        order_id=order_id,
        recipient="employee",
        channel=channel,
    )


async def test_a_mail_is_delivered_once(
    email: EmailSender, simulators: Simulators, app_pool: asyncpg.Pool, order_id: UUID
) -> None:
    wanted = key("email", order_id)
    assert await deliver_email(app_pool, sender=email, key=wanted, to=TO)
    assert not await deliver_email(app_pool, sender=email, key=wanted, to=TO)
    assert simulators.count("smtp", "mails") == 1


async def test_a_mail_of_unknown_fate_is_sent_again_under_its_id(
    email: EmailSender, simulators: Simulators, app_pool: asyncpg.Pool, order_id: UUID
) -> None:
    wanted = key("email", order_id)
    simulators.arm("smtp", "accept_then_drop")
    with pytest.raises(AmbiguousError):
        await deliver_email(app_pool, sender=email, key=wanted, to=TO)
    assert await deliver_email(app_pool, sender=email, key=wanted, to=TO)
    assert len(simulators.effects("smtp")["mails"]) == 1


@pytest.mark.parametrize("fault", ["drop", "execute_then_drop"])
async def test_a_text_message_of_unknown_fate_is_looked_for_first(
    sms: SmsSender, simulators: Simulators, app_pool: asyncpg.Pool, fault: str, order_id: UUID
) -> None:
    wanted = key("sms", order_id)
    simulators.arm("twilio", fault, match={"method": "POST"})
    with pytest.raises(AmbiguousError):
        await deliver_sms(app_pool, sender=sms, key=wanted, to=NUMBER)
    assert await deliver_sms(app_pool, sender=sms, key=wanted, to=NUMBER)
    assert not await deliver_sms(app_pool, sender=sms, key=wanted, to=NUMBER)
    assert simulators.effects("twilio")["messages"] == {NUMBER: 1}


async def test_a_refused_recipient_is_recorded(
    email: EmailSender, simulators: Simulators, app_pool: asyncpg.Pool, order_id: UUID
) -> None:
    simulators.arm("smtp", "reject")
    with pytest.raises(PermanentError):
        await deliver_email(app_pool, sender=email, key=key("email", order_id), to=TO)
    row = await app_pool.fetchrow("SELECT * FROM notifications")
    assert (row["state"], row["failure_code"]) == ("failed", "550")
    assert TO not in str(dict(row))
