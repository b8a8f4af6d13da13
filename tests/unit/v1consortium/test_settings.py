"""Settings: every problem at once, by variable name, never with a value."""

from __future__ import annotations

import pytest

from v1consortium.settings import SettingsError, masked_url, read_settings

URL = "postgres://app:s3cret@db.example:5432/v1"


def problems(**environment: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    return caught.value.problems


def test_database_url_is_taken_as_it_is() -> None:
    assert read_settings({"DATABASE_URL": URL}).require_database_url() == URL


def test_the_five_parts_make_a_url_with_reserved_characters_quoted() -> None:
    settings = read_settings(
        {"DB_HOST": "h", "DB_PORT": "6543", "DB_USER": "u@x", "DB_PASS": "p:/#", "DB_NAME": "n"}
    )
    assert settings.require_database_url() == "postgres://u%40x:p%3A%2F%23@h:6543/n"


def test_database_url_wins_over_the_parts() -> None:
    assert read_settings({"DATABASE_URL": URL, "DB_HOST": "h"}).require_database_url() == URL


def test_no_database_names_every_way_to_give_one() -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL.*DB_HOST.*DB_NAME.*--embedded"):
        read_settings({}).require_database_url()


def test_half_given_parts_name_the_missing_ones() -> None:
    assert set(problems(DB_HOST="h")) == {"DB_USER", "DB_NAME"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://h/x"),
        ("DATABASE_URL", "postgres://h:notaport/x"),
        ("DATABASE_URL", "postgres://h:0/x"),
        ("DATABASE_URL", "postgres://h/x\0"),
        ("DB_PORT", "70000"),
        ("DB_PORT", "many"),
        ("RIVER_SCHEMA", "1bad"),
        ("RIVER_SCHEMA", "x" * 47),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("WORKFLOW_RETRY_BASE", "0"),
        ("WORKFLOW_RETRY_BASE", "nan"),
        ("WORKER_GRACE", "inf"),
        ("STRIPE_API_BASE", "localhost:1"),
        ("STRIPE_TIMEOUT_S", "-1"),
        ("STRIPE_PAYMENT_BEHAVIOR", "whatever"),
        ("SMTP_PORT", "0"),
        ("QUEST_RESUBMIT_AMBIGUOUS", "perhaps"),
    ],
)
def test_a_wrong_value_names_its_variable_only(name: str, value: str) -> None:
    assert list(problems(**{name: value})) == [name]


def test_all_problems_come_at_once() -> None:
    found = problems(LOG_LEVEL="loud", DB_PORT="x", SUPABASE_URL="http://x", SMTP_USER="u")
    assert {"LOG_LEVEL", "DB_PORT", "SUPABASE_SERVICE_ROLE_KEY", "SMTP_PASS"} <= set(found)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("SUPABASE_SERVICE_ROLE_KEY", {"SUPABASE_URL"}),
        ("QUEST_USERNAME", {"QUEST_URL", "QUEST_PASSWORD", "QUEST_LAB_ACCOUNT"}),
        ("SMTP_HOST", {"EMAIL_FROM"}),
        ("TWILIO_FROM", {"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"}),
    ],
)
def test_a_half_set_provider_names_what_is_missing(given: str, missing: set[str]) -> None:
    assert set(problems(**{given: "x"})) == missing


def test_secrets_are_in_no_representation_and_no_message() -> None:
    canary = "canary-7f3a"
    settings = read_settings(
        {"DATABASE_URL": f"postgres://u:{canary}@h/n", "STRIPE_API_KEY": canary}
    )
    assert canary not in repr(settings) + str(settings) + str(settings.model_dump())
    with pytest.raises(SettingsError) as caught:
        read_settings({"DATABASE_URL": f"mysql://u:{canary}@h/n", "SMTP_USER": canary})
    assert canary not in str(caught.value)


def test_prices_are_read_by_plan() -> None:
    settings = read_settings({"STRIPE_PRICE_STANDARD": "price_1"})
    assert settings.price_for("standard") == "price_1"
    assert settings.price_for("other") is None


def test_an_empty_variable_counts_as_unset() -> None:
    assert read_settings({"LOG_LEVEL": "", "DB_HOST": ""}).log_level == "info"


@pytest.mark.parametrize("level", ["debug", "DEBUG", "Warning"])
def test_log_level_ignores_case(level: str) -> None:
    assert read_settings({"LOG_LEVEL": level}).log_level == level.lower()


def test_masked_url_hides_password_and_query() -> None:
    assert masked_url(URL + "?password=x") == "postgres://app:***@db.example:5432/v1"
