"""What a workflow may be started with: checked as a whole before anything is written.

No message of these models repeats a value: inputs hold personal data.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from v1consortium.facilities import Specimen
from v1consortium.services.lab import TestReason

TESTING_AUTHORITIES = ("FMCSA", "PHMSA", "FAA", "FTA", "FRA", "USCG")
DOT_REASONS = frozenset(TestReason) - {TestReason.PERIODIC, TestReason.OTHER}
OBSERVED_REASONS = frozenset({TestReason.RETURN_TO_DUTY, TestReason.FOLLOW_UP})
"""Reasons for which 49 CFR 40.67 makes the observed collection mandatory in a DOT test."""

_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]",
    re.ASCII,
)
_DIGIT_RUN = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)", re.ASCII)
_SSN = re.compile(r"\d{3}-?\d{2}-?\d{4}", re.ASCII)
_FORBIDDEN_KEYS = {
    "password": "a password is never accepted here: the user receives a link to set one",
    "passwd": "a password is never accepted here: the user receives a link to set one",
    "card_number": "card numbers are never accepted here: send Stripe's payment method id",
    "card": "card data are never accepted here: send Stripe's payment method id",
    "cvc": "card data are never accepted here: send Stripe's payment method id",
    "cvv": "card data are never accepted here: send Stripe's payment method id",
    "ssn": "social security numbers are never accepted here",
    "social_security_number": "social security numbers are never accepted here",
}


def normalize_email(value: str) -> str:
    """``value`` trimmed, in Unicode NFC and lower case; raises ValueError if it is no address."""
    value = unicodedata.normalize("NFC", value.strip()).lower()
    if len(value) > 254 or not _EMAIL.fullmatch(value) or ".." in value:
        raise ValueError("is not an e-mail address")
    return value


def normalize_phone(value: str) -> str:
    """``value`` as E.164 (``+`` and digits); ten digits alone are taken as a US number."""
    digits = re.sub(r"[\s().-]", "", value)
    if re.fullmatch(r"[2-9]\d{9}", digits, re.ASCII):
        return "+1" + digits
    if re.fullmatch(r"\+[1-9]\d{7,14}", digits, re.ASCII):
        return digits
    raise ValueError("is not a telephone number (ten digits, or + and the country code)")


def holds_card_number(value: str) -> bool:
    """Whether ``value`` contains 13 to 19 digits that pass the check of card numbers (Luhn)."""
    return any(_passes_luhn(match.group()) for match in _DIGIT_RUN.finditer(value))


def _passes_luhn(text: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed([int(char) for char in text if char.isdigit()])):
        doubled = digit * 2 if index % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _plain(value: str) -> str:
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in value):
        raise ValueError("must not contain control characters")
    if holds_card_number(value):
        raise ValueError("looks like a card number, which is never accepted here")
    return value


Email = Annotated[str, StringConstraints(max_length=300), AfterValidator(normalize_email)]
Phone = Annotated[str, StringConstraints(max_length=40), AfterValidator(normalize_phone)]


def _text(longest: int) -> object:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=longest)


Name20 = Annotated[str, _text(20), AfterValidator(_plain)]
Name25 = Annotated[str, _text(25), AfterValidator(_plain)]
Text100 = Annotated[str, _text(100), AfterValidator(_plain)]
Identifier = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=64)
]


class _Input(BaseModel):
    """Refuses unknown keys by name, and secrets with the reason."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True, frozen=True
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, data: object) -> object:
        if isinstance(data, dict):
            for key in data:
                reason = _FORBIDDEN_KEYS.get(str(key).lower())
                if reason is not None:
                    raise ValueError(f"{str(key).lower()}: {reason}")
        return data


class UserSignupInput(_Input):
    """Input of ``user_signup``.

    Without ``payment_method`` (Stripe's ``pm_...``, made in the browser) the subscription begins
    with a trial of ``trial_days``, or of the setting SIGNUP_TRIAL_DAYS.
    """

    email: Email
    organization_name: Text100
    full_name: Text100 | None = None
    phone: Phone | None = None
    plan: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")] = "standard"
    payment_method: (
        Annotated[str, StringConstraints(pattern=r"^(pm|tok|card)_[A-Za-z0-9_]{1,100}$")] | None
    ) = None
    trial_days: Annotated[int, Field(strict=True, ge=1, le=730)] | None = None
    time_zone: str = "America/New_York"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is not an IANA time zone such as America/Chicago")
        return value


class Donor(_Input):
    """The person to be tested. ``employee_id`` is the employer's own number, never an SSN.

    ``latitude`` and ``longitude`` are where the site is looked for.
    """

    employee_id: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=25)
    ]
    first_name: Name20
    last_name: Name25
    phone: Phone
    email: Email | None = None
    date_of_birth: date | None = None
    zip_code: Annotated[str, StringConstraints(pattern=r"^\d{5}(-\d{4})?$")] = "00000"
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    sms_consent: bool = False

    @field_validator("employee_id")
    @classmethod
    def _no_ssn(cls, value: str) -> str:
        if _SSN.fullmatch(value):
            raise ValueError("looks like a social security number, which is never accepted here")
        return value

    @field_validator("first_name", "last_name")
    @classmethod
    def _allowed_by_lab(cls, value: str) -> str:
        if set(value) & set("&<>"):
            raise ValueError("must not contain & < or >")
        return value

    @field_validator("date_of_birth")
    @classmethod
    def _plausible(cls, value: date | None) -> date | None:
        if value is not None and not date(1900, 1, 1) <= value < datetime.now(UTC).date():
            raise ValueError("is not a plausible date of birth")
        return value


class Supervisor(_Input):
    """Who is told about the logistics of the order, and nothing else."""

    email: Email
    full_name: Text100 | None = None
    phone: Phone | None = None
    sms_consent: bool = False


class DrugTestOrderInput(_Input):
    """Input of ``drug_test_order``.

    ``test_type`` is accepted as another name of ``reason``, as in the system's description.
    ``unit_codes`` are the laboratory's codes of the panel. ``incident_at`` is required after an
    accident. ``release_employee_notice`` False holds the employee's message back (an unannounced
    random test); None decides by the reason.
    """

    donor: Donor = Field(validation_alias=AliasChoices("donor", "employee"))
    supervisor: Supervisor
    reason: TestReason = Field(validation_alias=AliasChoices("reason", "test_type"))
    dot: Annotated[bool, Field(strict=True)] = False
    testing_authority: str | None = None
    specimen: Specimen = Specimen.URINE
    unit_codes: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+$", max_length=15)], ...],
        Field(min_length=1, max_length=20),
    ]
    observed: Annotated[bool, Field(strict=True)] = False
    rush_order: Annotated[bool, Field(strict=True)] = False
    incident_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    organization_id: Identifier | None = None
    consent_reference: Identifier | None = None
    release_employee_notice: Annotated[bool, Field(strict=True)] | None = None

    @field_validator("testing_authority")
    @classmethod
    def _known_authority(cls, value: str | None) -> str | None:
        if value is not None and value not in TESTING_AUTHORITIES:
            raise ValueError(f"must be one of {', '.join(TESTING_AUTHORITIES)}")
        return value

    @field_validator("unit_codes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("must not name a code twice")
        return value

    @model_validator(mode="after")
    def _follows_the_rules(self) -> Self:
        problems = [*self._dot_problems(), *self._date_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _dot_problems(self) -> list[str]:
        problems = []
        if self.dot:
            if self.testing_authority is None:
                problems.append("testing_authority: a DOT test needs one")
            if self.reason not in DOT_REASONS:
                problems.append(f"reason: {self.reason.value} is not a reason for a DOT test")
            if self.specimen is Specimen.HAIR:
                problems.append("specimen: hair is not collected in a DOT test")
            if self.specimen is Specimen.ORAL_FLUID:
                problems.append("specimen: DOT oral fluid is not offered yet")
        elif self.testing_authority is not None:
            problems.append("testing_authority: only a DOT test has one")
        return problems

    def _date_problems(self) -> list[str]:
        problems = []
        if self.reason is TestReason.POST_ACCIDENT and self.dot and self.incident_at is None:
            problems.append("incident_at: a DOT post-accident test needs the time of the accident")
        if (
            self.incident_at is not None
            and self.expires_at is not None
            and self.expires_at <= self.incident_at
        ):
            problems.append("expires_at: must be after incident_at")
        return problems

    @property
    def collects_observed(self) -> bool:
        """Whether the collection is observed: asked for, or mandatory for a DOT test's reason."""
        return self.observed or (self.dot and self.reason in OBSERVED_REASONS)

    @property
    def is_urgent(self) -> bool:
        """Whether a site that is open now matters more than price."""
        return self.rush_order or self.reason is TestReason.POST_ACCIDENT

    @property
    def notifies_employee(self) -> bool:
        """Whether the employee is told at order time: never by default for a random test."""
        if self.release_employee_notice is not None:
            return self.release_employee_notice
        return self.reason is not TestReason.RANDOM

    def deadline(self, *, ordered_at: datetime, days: int) -> datetime:
        """When the order ends: as asked, ``days`` after ordering, or by the post-accident limit.

        Drug collections stop 32 h, alcohol (breath) 8 h after an accident (49 CFR 382.303).
        """
        end = self.expires_at or ordered_at + timedelta(days=days)
        if self.incident_at is not None and self.reason is TestReason.POST_ACCIDENT:
            hours = 8 if self.specimen is Specimen.BREATH else 32
            end = min(end, self.incident_at + timedelta(hours=hours))
        return end
