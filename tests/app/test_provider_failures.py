"""Every operation of every HTTP adapter against every way a provider fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from riverengine import Json
from tests.app.test_quest import REQUEST
from v1consortium.providers import Providers, build_providers
from v1consortium.services.email import SmtpEmail
from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)
from v1consortium.services.sms import TwilioSms
from v1consortium.settings import read_settings
from v1consortium.simulators import twilio
from v1consortium.simulators.client import Simulators

EMAIL = "zoe.secret@example.com"
NUMBER = "+13125550177"
TEXT = "a text for one reader"
PRIVATE = (EMAIL, "zoe.secret", "Zoë", "O'Neil", NUMBER, NUMBER[2:], TEXT, "sk_test_")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one adapter; a write may have been carried out although nothing was heard."""

    provider: str
    name: str
    write: bool
    call: Callable[[Providers], Awaitable[object]]


def _operations() -> list[Operation]:
    async def create_user(p: Providers) -> object:
        assert p.identity
        return await p.identity.create_user(
            user_id=uuid4(), email=EMAIL, full_name="Zoë", phone=NUMBER, metadata={}
        )

    async def get_user(p: Providers) -> object:
        assert p.identity
        return await p.identity.get_user(uuid4())

    async def delete_user(p: Providers) -> object:
        assert p.identity
        await p.identity.delete_user(uuid4())
        return None

    async def ensure_customer(p: Providers) -> object:
        assert p.payments
        return await p.payments.ensure_customer(key="k", email=EMAIL, org_id="o", metadata={})

    async def find_customer(p: Providers) -> object:
        assert p.payments
        return await p.payments.find_customer(email=EMAIL, workflow_id="w")

    async def attach(p: Providers) -> object:
        assert p.payments
        await p.payments.attach_payment_method(
            key="k", customer_id="cus_1", payment_method="pm_card_visa"
        )
        return None

    async def subscribe(p: Providers) -> object:
        assert p.payments
        return await p.payments.create_subscription(
            key="k", customer_id="cus_1", price_id="price_x", metadata={}
        )

    async def find_subscription(p: Providers) -> object:
        assert p.payments
        return await p.payments.find_subscription(customer_id="cus_1", workflow_id="w")

    async def unsubscribe(p: Providers) -> object:
        assert p.payments
        await p.payments.cancel_subscription("sub_1")
        return None

    async def submit(p: Providers) -> object:
        assert p.lab
        return await p.lab.submit(REQUEST)

    async def cancel(p: Providers) -> object:
        assert p.lab
        await p.lab.cancel(quest_order_id="1", reference_test_id="2")
        return None

    async def details(p: Providers) -> object:
        assert p.lab
        return await p.lab.details(quest_order_id="1", reference_test_id="2")

    async def sites(p: Providers) -> object:
        assert p.lab
        return await p.lab.collection_sites()

    async def send_sms(p: Providers) -> object:
        assert p.sms
        return await p.sms.send(to=NUMBER, body=TEXT)

    async def find_sms(p: Providers) -> object:
        assert p.sms
        return await p.sms.find_message(to=NUMBER, body=TEXT, since=datetime.now(UTC))

    return [
        Operation("supabase", "create_user", True, create_user),
        Operation("supabase", "get_user", False, get_user),
        Operation("supabase", "delete_user", True, delete_user),
        Operation("stripe", "create_customer", True, ensure_customer),
        Operation("stripe", "find_customer", False, find_customer),
        Operation("stripe", "attach_payment_method", True, attach),
        Operation("stripe", "create_subscription", True, subscribe),
        Operation("stripe", "find_subscription", False, find_subscription),
        Operation("stripe", "cancel_subscription", True, unsubscribe),
        Operation("quest", "CreateOrder", True, submit),
        Operation("quest", "CancelOrder", True, cancel),
        Operation("quest", "GetOrderDetails", False, details),
        Operation("quest", "FullRetrieveCollectionSiteDetails", False, sites),
        Operation("twilio", "send_message", True, send_sms),
        Operation("twilio", "find_message", False, find_sms),
    ]


OPERATIONS = [pytest.param(o, id=f"{o.provider}-{o.name}") for o in _operations()]


@asynccontextmanager
async def adapters(
    environment: Mapping[str, str], twilio_timeout: float = 15
) -> AsyncIterator[Providers]:
    """Adapters built from the settings, with a bound on Twilio's calls, which has no setting."""
    built = build_providers(read_settings(environment))
    sms = TwilioSms(
        twilio.ACCOUNT_SID,
        twilio.AUTH_TOKEN,
        sender="+15005550006",
        api_base=environment["TWILIO_API_BASE"],
        timeout=timedelta(seconds=twilio_timeout),
    )
    try:
        yield Providers(
            identity=built.identity,
            payments=built.payments,
            lab=built.lab,
            email=built.email,
            sms=sms,
        )
    finally:
        await built.aclose()
        await sms.aclose()


async def failure_of(operation: Operation, providers: Providers) -> ProviderError:
    """The call's error, which must name it and hold nothing else."""
    with pytest.raises(ProviderError) as caught:
        await operation.call(providers)
    error = caught.value
    assert (error.provider, error.operation) == (operation.provider, operation.name)
    assert (error.__cause__, error.__context__) == (None, None)
    told = repr(error) + "".join(traceback.format_exception_only(error)) + str(vars(error))
    assert not [private for private in PRIVATE if private in told]
    return error


def assert_unknown(operation: Operation, error: ProviderError) -> None:
    """A write may have been carried out, a reading is simply repeated."""
    assert isinstance(error, TransientError)
    assert isinstance(error, AmbiguousError) is operation.write


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", [500, 502, 504, 408])
async def test_a_server_s_failure_leaves_a_write_unknown(
    providers: Providers, simulators: Simulators, operation: Operation, status: int
) -> None:
    simulators.arm(operation.provider, "status", status=status)
    assert_unknown(operation, await failure_of(operation, providers))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("wait", ["30", "0", "Wed, 01 Jan 2020 00:00:00 GMT", "soon"])
async def test_too_many_requests_were_not_carried_out(
    providers: Providers, simulators: Simulators, operation: Operation, wait: str
) -> None:
    headers: Json = {"retry-after": wait}
    simulators.arm(operation.provider, "status", status=429, headers=headers)
    error = await failure_of(operation, providers)
    assert type(error) is TransientError
    expected = {"30": timedelta(seconds=30), "soon": None}.get(wait, timedelta())
    assert error.retry_after == expected


async def test_stripe_s_wait_is_heard_with_its_own_error_body(
    providers: Providers, simulators: Simulators
) -> None:
    body = '{"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "x"}}'
    simulators.arm("stripe", "status", status=429, headers={"retry-after": "9"}, body=body)
    assert providers.payments is not None
    with pytest.raises(TransientError) as failure:
        await providers.payments.find_customer(email=EMAIL, workflow_id="w")
    assert (failure.value.code, failure.value.retry_after) == ("rate_limit", timedelta(seconds=9))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", [401, 403, 302])
async def test_a_refused_login_or_a_wrong_address_is_our_fault(
    providers: Providers, simulators: Simulators, operation: Operation, status: int
) -> None:
    simulators.arm(operation.provider, "status", status=status)
    error = await failure_of(operation, providers)
    assert isinstance(error, PermanentError)
    assert error.configuration


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_refused_request_is_permanent(
    providers: Providers, simulators: Simulators, operation: Operation
) -> None:
    simulators.arm(operation.provider, "status", status=422, body=EMAIL)
    error = await failure_of(operation, providers)
    assert isinstance(error, PermanentError)
    assert not error.configuration


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "fault", ["drop", "reset", "execute_then_drop", "execute_then_reset", "execute_then_huge"]
)
async def test_a_lost_answer_leaves_a_write_unknown(
    providers: Providers, simulators: Simulators, operation: Operation, fault: str
) -> None:
    simulators.arm(operation.provider, fault)
    error = await failure_of(operation, providers)
    assert_unknown(operation, error)
    assert error.code in ("connection_lost", "answer_too_large", "bad_answer")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_answer_that_does_not_come_leaves_a_write_unknown(
    simulators: Simulators, operation: Operation
) -> None:
    names = ("SUPABASE_AUTH_TIMEOUT_S", "STRIPE_TIMEOUT_S", "QUEST_TIMEOUT_S")
    environment = {**simulators.env, **dict.fromkeys(names, "1")}
    simulators.arm(operation.provider, "hang")
    if operation.name.startswith("FullRetrieve"):
        # The list of sites has a long limit of its own; the caller's limit ends the call.
        async with adapters(environment) as providers:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await operation.call(providers)
        return
    async with adapters(environment, twilio_timeout=1) as providers:
        error = await failure_of(operation, providers)
    assert_unknown(operation, error)
    assert error.code == "timeout"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_refused_connection_carried_out_nothing(
    simulators: Simulators, operation: Operation
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        names = ("SUPABASE_URL", "STRIPE_API_BASE", "QUEST_URL", "TWILIO_API_BASE")
        async with adapters({**simulators.env, **dict.fromkeys(names, nowhere)}) as providers:
            error = await failure_of(operation, providers)
    assert type(error) is TransientError
    assert error.code == "connect"


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [None, "status", "drop", "execute_then_garbage"])
async def test_nothing_private_is_logged(
    providers: Providers,
    simulators: Simulators,
    caplog: pytest.LogCaptureFixture,
    operation: Operation,
    fault: str | None,
) -> None:
    if fault is not None:
        simulators.arm(operation.provider, fault, body=f"no such person {EMAIL}")
    with caplog.at_level(logging.DEBUG):
        try:
            await operation.call(providers)
        except ProviderError as error:
            logging.getLogger("v1consortium.test").warning("failed", exc_info=error)
    said = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    secrets = [value for name, value in simulators.env.items() if name.endswith("_KEY")]
    assert not [word for word in (*PRIVATE, *secrets) if word in said]


@pytest.fixture
def mail_address(simulators: Simulators) -> tuple[str, int]:
    assert urlsplit(simulators.urls["smtp"]).hostname == simulators.env["SMTP_HOST"]
    return simulators.env["SMTP_HOST"], int(simulators.env["SMTP_PORT"])


async def test_a_mail_server_that_stays_silent_after_the_mail_leaves_it_unknown(
    simulators: Simulators, mail_address: tuple[str, int]
) -> None:
    simulators.arm("smtp", "accept_then_hang", seconds=5)
    sender = SmtpEmail(
        *mail_address, sender="a@b.example", start_tls=False, timeout=timedelta(seconds=2)
    )
    with pytest.raises(AmbiguousError) as failure:
        await sender.send(to=EMAIL, subject="s", text=TEXT, message_id="m")
    assert failure.value.code == "timeout"
    assert simulators.count("smtp", "mails") == 1


async def test_a_mail_server_that_is_away_took_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        sender = SmtpEmail("127.0.0.1", unused.getsockname()[1], sender="a@b.example")
        with pytest.raises(TransientError) as failure:
            await sender.send(to=EMAIL, subject="s", text=TEXT, message_id="m")
    assert type(failure.value) is TransientError
    assert failure.value.code == "connect"


async def test_a_mail_server_without_the_wanted_encryption_gets_no_mail(
    simulators: Simulators, mail_address: tuple[str, int]
) -> None:
    sender = SmtpEmail(*mail_address, sender="a@b.example", start_tls=True)
    with pytest.raises(PermanentError) as failure:
        await sender.send(to=EMAIL, subject="s", text=TEXT, message_id="m")
    assert failure.value.configuration
    assert simulators.count("smtp", "mails") == 0


async def test_a_login_that_the_mail_server_lacks_is_our_fault(
    simulators: Simulators, mail_address: tuple[str, int]
) -> None:
    sender = SmtpEmail(
        *mail_address, sender="a@b.example", start_tls=False, username="u", password="p-secret"
    )
    with pytest.raises(PermanentError) as failure:
        await sender.send(to=EMAIL, subject="s", text=TEXT, message_id="m")
    assert failure.value.configuration
    assert "p-secret" not in repr(failure.value) + repr(sender)
    assert simulators.count("smtp", "mails") == 0
