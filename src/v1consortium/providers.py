"""The providers the workflows call, built from the settings; those not configured are None."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr

from v1consortium.services.email import SmtpEmail
from v1consortium.services.identity import IdentityProvider
from v1consortium.services.lab import DrugTestLab
from v1consortium.services.notify import EmailSender, SmsSender
from v1consortium.services.payments import PaymentProvider
from v1consortium.services.quest import QuestLab
from v1consortium.services.sms import TwilioSms
from v1consortium.services.stripe import StripePayments
from v1consortium.services.supabase import SupabaseIdentity
from v1consortium.settings import PROVIDER_VARIABLES, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """One adapter per port; None where its settings are not given."""

    identity: IdentityProvider | None = None
    payments: PaymentProvider | None = None
    lab: DrugTestLab | None = None
    email: EmailSender | None = None
    sms: SmsSender | None = None
    closers: tuple[Callable[[], Awaitable[None]], ...] = field(default=(), repr=False)

    async def aclose(self) -> None:
        """Close the adapters' connections."""
        for close in self.closers:
            await close()


def unconfigured(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The providers that cannot be called, with the variables they miss."""
    return {name: missing for name in PROVIDER_VARIABLES if (missing := settings.missing_for(name))}


def build_providers(settings: Settings) -> Providers:
    """Adapters for the providers whose settings are given; nothing is connected yet."""
    missing = unconfigured(settings)
    closers: list[Callable[[], Awaitable[None]]] = []
    identity = payments = lab = email = sms = None
    if "supabase" not in missing:
        identity = SupabaseIdentity(
            settings.supabase_url or "",
            _secret(settings.supabase_service_role_key),
            timedelta(seconds=settings.supabase_auth_timeout_s),
        )
        closers.append(identity.aclose)
    if "stripe" not in missing:
        payments = StripePayments(
            _secret(settings.stripe_api_key),
            api_base=settings.stripe_api_base,
            timeout=timedelta(seconds=settings.stripe_timeout_s),
            payment_behavior=settings.stripe_payment_behavior,
        )
        closers.append(payments.aclose)
    if "quest" not in missing:
        lab = QuestLab(
            settings.quest_url or "",
            _secret(settings.quest_username),
            _secret(settings.quest_password),
            lab_account=settings.quest_lab_account or "",
            contact_name=settings.quest_contact_name,
            contact_phone=settings.quest_contact_phone,
            timeout=timedelta(seconds=settings.quest_timeout_s),
        )
        closers.append(lab.aclose)
    if "email" not in missing:
        email = SmtpEmail(
            settings.smtp_host or "",
            settings.smtp_port,
            sender=settings.email_from or "",
            username=settings.smtp_user,
            password=_secret(settings.smtp_pass) or None,
            start_tls=settings.smtp_starttls,
            reply_to=settings.email_reply_to,
        )
    if "sms" not in missing:
        base = settings.twilio_api_base or "https://api.twilio.com"
        sms = TwilioSms(
            settings.twilio_account_sid or "",
            _secret(settings.twilio_auth_token),
            sender=settings.twilio_from,
            api_base=base,
        )
        closers.append(sms.aclose)
    return Providers(
        identity=identity,
        payments=payments,
        lab=lab,
        email=email,
        sms=sms,
        closers=tuple(closers),
    )


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value is not None else ""
