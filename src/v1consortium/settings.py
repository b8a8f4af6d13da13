"""Everything the application reads from its environment, in one place.

Reading validates: every problem is reported at once, each with the name of its variable, and never
with a value. Secrets are ``SecretStr``: they print as asterisks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from riverengine.config import validate_schema
from riverengine.types.errors import ConfigError

_PRICE = re.compile(r"STRIPE_PRICE_([A-Z0-9_]{1,40})", re.ASCII)
_URL_SETTINGS = ("supabase_url", "stripe_api_base", "quest_url", "twilio_api_base")

DATABASE_HINT = (
    "no database is given: set DATABASE_URL (postgres://user:password@host:5432/name), "
    "or DB_HOST, DB_PORT, DB_USER, DB_PASS and DB_NAME; "
    "or use a PostgreSQL of this application's own: start `river_worker --embedded`, and set "
    "EMBEDDED_DATABASE=.v1consortium/postgres for the other commands"
)

PROVIDER_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "supabase": ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"),
    "stripe": ("STRIPE_API_KEY",),
    "quest": ("QUEST_URL", "QUEST_USERNAME", "QUEST_PASSWORD", "QUEST_LAB_ACCOUNT"),
    "email": ("SMTP_HOST", "EMAIL_FROM"),
    "sms": ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"),
}
"""The variables each provider needs, all of them or none."""


class SettingsError(Exception):
    """The environment cannot be used; ``problems`` maps each variable to what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        lines = "\n".join(f"  {name}: {problem}" for name, problem in problems.items())
        super().__init__(f"settings are missing or wrong:\n{lines}")
        self.problems = dict(problems)


class Settings(BaseModel):
    """The application's settings; each field is the environment variable of the same name.

    ``embedded_database`` is the folder of an embedded PostgreSQL, used instead of a server.
    Durations are in seconds. ``workflow_retry_base`` is the wait after a step's first failure; it
    doubles with each further one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = None
    db_host: str | None = None
    db_port: int = Field(default=5432, ge=1, le=65535)
    db_user: str | None = None
    db_pass: SecretStr | None = None
    db_name: str | None = None
    river_schema: str | None = None
    embedded_database: str | None = None

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    workflow_retry_base: float = Field(default=60.0, gt=0, le=86_400, allow_inf_nan=False)
    worker_grace: float = Field(default=30.0, gt=0, le=3600, allow_inf_nan=False)
    worker_poll_interval_s: float = Field(default=5.0, ge=0.1, le=3600, allow_inf_nan=False)

    supabase_url: str | None = None
    supabase_service_role_key: SecretStr | None = None
    supabase_auth_timeout_s: float = Field(default=15.0, gt=0, le=300, allow_inf_nan=False)

    stripe_api_key: SecretStr | None = None
    stripe_api_base: str | None = None
    stripe_timeout_s: float = Field(default=20.0, gt=0, le=300, allow_inf_nan=False)
    stripe_payment_behavior: Literal["error_if_incomplete", "allow_incomplete"] = (
        "error_if_incomplete"
    )
    stripe_prices: dict[str, str] = Field(default_factory=dict)
    signup_trial_days: int = Field(default=14, ge=1, le=730)

    quest_url: str | None = None
    quest_username: SecretStr | None = None
    quest_password: SecretStr | None = None
    quest_lab_account: str | None = None
    quest_contact_name: str = "V1 Consortium"
    quest_contact_phone: str = "8005550100"
    quest_timeout_s: float = Field(default=60.0, gt=0, le=280, allow_inf_nan=False)
    quest_resubmit_ambiguous: bool = False
    quest_unconfirmed_wait_s: float = Field(default=900.0, ge=0, le=86_400, allow_inf_nan=False)
    quest_order_days: int = Field(default=5, ge=1, le=60)
    facility_radius_km: float = Field(default=50.0, gt=0, le=1000, allow_inf_nan=False)

    smtp_host: str | None = None
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_user: str | None = None
    smtp_pass: SecretStr | None = None
    smtp_starttls: bool = True
    email_from: str | None = None
    email_reply_to: str | None = None

    twilio_account_sid: str | None = None
    twilio_auth_token: SecretStr | None = None
    twilio_from: str | None = None
    twilio_api_base: str | None = None
    notify_dry_run: bool = False

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_database_url(value.get_secret_value())
        return value

    @field_validator("river_schema")
    @classmethod
    def _is_schema(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                validate_schema(value)
            except ConfigError as error:
                raise ValueError(str(error).partition(": ")[2]) from error
        return value

    @field_validator(*_URL_SETTINGS)
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("must be an http:// or https:// address")
        return value

    def missing_for(self, provider: str) -> tuple[str, ...]:
        """The variables that ``provider`` (a key of :data:`PROVIDER_VARIABLES`) still needs."""
        return tuple(
            name for name in PROVIDER_VARIABLES[provider] if getattr(self, name.lower()) is None
        )

    def require_database_url(self) -> str:
        """The DSN of the database; raises SettingsError where none is given."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.db_host is None or self.db_user is None or self.db_name is None:
            raise SettingsError({"DATABASE_URL": DATABASE_HINT})
        password = self.db_pass.get_secret_value() if self.db_pass else ""
        login = quote(self.db_user, safe="") + (f":{quote(password, safe='')}" if password else "")
        host = f"[{self.db_host}]" if ":" in self.db_host else quote(self.db_host, safe=".")
        return f"postgres://{login}@{host}:{self.db_port}/{quote(self.db_name, safe='')}"

    def price_for(self, plan: str) -> str | None:
        """The Stripe price of ``plan`` (STRIPE_PRICE_<PLAN>), or None."""
        return self.stripe_prices.get(plan.lower())

    @property
    def retry_base(self) -> timedelta:
        """The wait after a step's first failure."""
        return timedelta(seconds=self.workflow_retry_base)


def _check_database_url(url: str) -> None:
    if "\0" in url:
        raise ValueError("must not contain a NUL character")
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError("must start with postgres:// or postgresql://")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("has a port that is not a number from 1 to 65535") from error
    if port == 0:
        raise ValueError("has a port that is not a number from 1 to 65535")


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from ``environment`` (None: the process); SettingsError holds all problems."""
    source = os.environ if environment is None else environment
    values: dict[str, object] = {
        name.lower(): value
        for name, value in source.items()
        if value != "" and name.lower() in Settings.model_fields and name == name.upper()
    }
    values.pop("stripe_prices", None)
    values["stripe_prices"] = {
        match.group(1).lower(): value
        for name, value in source.items()
        if value and (match := _PRICE.fullmatch(name))
    }
    problems = _half_set_providers(values) | _half_set_database(values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems |= {
            str(detail["loc"][0]).upper(): detail["msg"].removeprefix("Value error, ")
            for detail in error.errors(include_url=False, include_input=False)
        }
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _half_set_providers(values: Mapping[str, object]) -> dict[str, str]:
    problems: dict[str, str] = {}
    for names in PROVIDER_VARIABLES.values():
        given = [name for name in names if name.lower() in values]
        if given and len(given) < len(names):
            for name in names:
                if name not in given:
                    problems[name] = f"is missing, although {', '.join(given)} is set"
    if ("smtp_user" in values) != ("smtp_pass" in values):
        name = "SMTP_PASS" if "smtp_user" in values else "SMTP_USER"
        problems[name] = "is missing: SMTP_USER and SMTP_PASS go together"
    return problems


def _half_set_database(values: Mapping[str, object]) -> dict[str, str]:
    if "database_url" in values:
        return {}
    names = ("DB_HOST", "DB_USER", "DB_NAME")
    missing = [name for name in names if name.lower() not in values]
    if len(missing) == len(names):
        return {}
    return dict.fromkeys(missing, "is missing (or set DATABASE_URL instead)")


def masked_url(url: str) -> str:
    """``url`` without its password and query, fit to be printed."""
    parts = urlsplit(url)
    login = f"{parts.username}:***@" if parts.password else f"{parts.username}@"
    host = parts.hostname or ""
    where = f"{host}:{parts.port}" if parts.port else host
    return f"{parts.scheme}://{login if parts.username else ''}{where}{parts.path}"
