"""Text messages: refusals by code, the look-up before a repeat, pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.app.test_messages import NUMBER, sms
from v1consortium.services.errors import AmbiguousError, PermanentError, TransientError
from v1consortium.services.notify import SmsSender
from v1consortium.services.sms import TwilioSms
from v1consortium.simulators import twilio
from v1consortium.simulators.client import Simulators

__all__ = ["sms"]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def told(code: int) -> str:
    return json.dumps({"code": code, "message": f"no {NUMBER}", "status": 400})


@pytest.mark.parametrize("code", [21211, 21408, 21610, 21612, 21614])
async def test_a_code_about_the_recipient_names_the_field(
    sms: SmsSender, simulators: Simulators, code: int
) -> None:
    simulators.arm("twilio", "status", status=400, body=told(code))
    with pytest.raises(PermanentError) as failure:
        await sms.send(to=NUMBER, body="Hello")
    assert (failure.value.code, failure.value.field) == (str(code), "to")
    assert not failure.value.configuration
    assert NUMBER not in str(failure.value)


@pytest.mark.parametrize("code", [21606, 21602, 30007])
async def test_another_code_is_permanent_without_a_field(
    sms: SmsSender, simulators: Simulators, code: int
) -> None:
    simulators.arm("twilio", "status", status=400, body=told(code))
    with pytest.raises(PermanentError) as failure:
        await sms.send(to=NUMBER, body="Hello")
    assert (failure.value.code, failure.value.field) == (str(code), None)


async def test_too_many_messages_are_transient(sms: SmsSender, simulators: Simulators) -> None:
    simulators.arm("twilio", "status", status=429, body=told(20429))
    with pytest.raises(TransientError) as failure:
        await sms.send(to=NUMBER, body="Hello")
    assert type(failure.value) is TransientError
    assert failure.value.code == "20429"
    assert simulators.count("twilio", "messages") == 0


@pytest.mark.parametrize("body", ["[]", "{}", '{"sid": ""}', '{"sid": 7}', "null", "\ud83d"])
async def test_an_acceptance_without_an_id_is_ambiguous(
    sms: SmsSender, simulators: Simulators, body: str
) -> None:
    body = body.encode("utf-8", "replace").decode()
    simulators.arm("twilio", "status", status=201, body=body)
    with pytest.raises(AmbiguousError):
        await sms.send(to=NUMBER, body="Hello")


async def test_wrong_credentials_stay_secret(simulators: Simulators) -> None:
    sender = TwilioSms(
        twilio.ACCOUNT_SID, "token-secret", sender=NUMBER, api_base=simulators.urls["twilio"]
    )
    try:
        with pytest.raises(PermanentError) as failure:
            await sender.send(to=NUMBER, body="Hello")
    finally:
        await sender.aclose()
    assert failure.value.configuration
    assert "token-secret" not in str(failure.value) + repr(failure.value) + repr(sender)


@pytest.mark.parametrize(
    ("sender", "service"), [(None, None), ("+15005550006", "MG00000000000000000000000000000000")]
)
def test_one_origin_and_only_one_is_wanted(sender: str | None, service: str | None) -> None:
    with pytest.raises(ValueError, match="either"):
        TwilioSms("AC1", "t", sender=sender, messaging_service_sid=service)


async def test_the_newest_of_equal_messages_is_found(
    sms: SmsSender, simulators: Simulators
) -> None:
    await sms.send(to=NUMBER, body="Hello")
    newest = await sms.send(to=NUMBER, body="Hello")
    found = await sms.find_message(to=NUMBER, body="Hello", since=LONG_AGO)
    assert found is not None
    assert (found.id, found.status) == (newest, "queued")
    assert await sms.find_message(to="+13125550199", body="Hello", since=LONG_AGO) is None


async def test_a_message_older_than_asked_for_is_not_found(sms: SmsSender) -> None:
    await sms.send(to=NUMBER, body="Hello")
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert await sms.find_message(to=NUMBER, body="Hello", since=later) is None


def page(body: str, next_page: str | None, created: datetime | None = None) -> str:
    message = {
        "sid": "SM1",
        "body": body,
        "status": "sent",
        "date_created": format_datetime(created or datetime.now(UTC)),
    }
    return json.dumps({"messages": [message], "next_page_uri": next_page})


async def test_the_next_page_is_read(sms: SmsSender, simulators: Simulators) -> None:
    path = f"/2010-04-01/Accounts/{twilio.ACCOUNT_SID}/Messages.json?Page=1"
    simulators.arm("twilio", "status", status=200, body=page("Other", path))
    simulators.arm("twilio", "status", status=200, body=page("Hello", None))
    found = await sms.find_message(to=NUMBER, body="Hello", since=LONG_AGO)
    assert found is not None
    assert simulators.armed("twilio") == []


async def test_pages_older_than_asked_for_are_not_read(
    sms: SmsSender, simulators: Simulators
) -> None:
    body = page("Other", "/next", created=LONG_AGO)
    simulators.arm("twilio", "status", status=200, body=body, times=2)
    assert await sms.find_message(to=NUMBER, body="Hello", since=datetime.now(UTC)) is None
    assert len(simulators.armed("twilio")) == 1


async def test_pages_without_end_are_given_up(sms: SmsSender, simulators: Simulators) -> None:
    body = page("Other", "/next")
    simulators.arm("twilio", "status", status=200, body=body, times=50)
    assert await sms.find_message(to=NUMBER, body="Hello", since=LONG_AGO) is None
    assert simulators.armed("twilio")[0]["times"] == 40


@pytest.mark.parametrize("body", ['{"messages": 1}', "{}", "[]", "x"])
async def test_a_list_that_is_none_is_transient(
    sms: SmsSender, simulators: Simulators, body: str
) -> None:
    simulators.arm("twilio", "status", status=200, body=body)
    with pytest.raises(TransientError) as failure:
        await sms.find_message(to=NUMBER, body="Hello", since=LONG_AGO)
    assert failure.value.code == "bad_answer"
