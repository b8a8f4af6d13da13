"""Cron expressions: the instants found by Go's robfig/cron v3.0.1, recorded by running it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from riverengine.run.maintenance.cron import Every, parse_cron


class Golden(TypedDict):
    expression: str
    zone: str
    after: str
    next: list[str]


class Goldens(TypedDict):
    valid: list[Golden]
    invalid: list[str]


_GOLDENS: Goldens = json.loads(
    Path(__file__).with_name("cron_goldens.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    "golden",
    _GOLDENS["valid"],
    ids=lambda golden: f"{golden['expression']}|{golden['zone']}|{golden['after']}",
)
def test_instants_are_those_of_go(golden: Golden) -> None:
    # Fractions beyond a microsecond do not occur; Python 3.11 reads the offsets Go writes.
    instant = datetime.fromisoformat(golden["after"]).astimezone(ZoneInfo(golden["zone"]))
    schedule = parse_cron(golden["expression"])
    found = []
    for _ in golden["next"]:
        following = schedule.next(instant)
        assert following is not None
        assert following.timestamp() > instant.timestamp()
        instant = following
        found.append(instant.isoformat().replace("+00:00", "Z"))
    assert found == golden["next"]
    if not golden["next"]:
        assert schedule.next(instant) is None


@pytest.mark.parametrize("expression", _GOLDENS["invalid"])
def test_what_go_refuses_is_refused(expression: str) -> None:
    with pytest.raises(ValueError):
        parse_cron(expression)


def test_a_zone_without_an_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="must follow the zone"):
        parse_cron("TZ=UTC")


def test_an_instant_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        parse_cron("* * * * *").next(naive)
    with pytest.raises(ValueError, match="time zone"):
        parse_cron("@every 1m").next(naive)


def test_the_result_is_in_the_zone_asked_from() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    found = parse_cron("TZ=UTC 0 0 * * *").next(datetime(2026, 5, 1, tzinfo=tokyo))
    assert found == datetime(2026, 5, 1, 9, tzinfo=tokyo)
    assert found is not None
    assert found.tzinfo is tokyo


def test_a_day_the_zone_skipped_does_not_hang_the_search() -> None:
    apia = ZoneInfo("Pacific/Apia")
    found = parse_cron("0 0 1 * *").next(datetime(2011, 12, 29, 2, tzinfo=apia))
    assert found == datetime(2012, 1, 1, tzinfo=apia)


def test_the_end_of_the_calendar_is_never() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert parse_cron("* * * * *").next(last) is None
    assert parse_cron("@every 1h").next(last) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("1.5h", 5400), ("1.9s", 1), ("2m0.5s", 120), ("1ns", 1)]
)
def test_every_counts_whole_seconds(text: str, seconds: int) -> None:
    assert parse_cron(f"@every {text}") == Every(seconds)


_minutes = st.sampled_from(["*", "*/7", "5", "0,30", "10-20", "50-59/3"])
_hours = st.sampled_from(["*", "*/5", "3", "8-17"])
_days = st.sampled_from(["*", "1", "13", "29", "31", "1-7"])
_months = st.sampled_from(["*", "2", "1,7", "*/3", "apr"])
_weekdays = st.sampled_from(["*", "0", "1-5", "fri"])


@settings(max_examples=200)
@given(
    fields=st.tuples(_minutes, _hours, _days, _months, _weekdays),
    start=st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_an_independent_implementation_agrees(
    fields: tuple[str, str, str, str, str], start: datetime
) -> None:
    expression = " ".join(fields)
    found = parse_cron(expression).next(start)
    try:
        expected = next(CronSim(expression, start), None)
    except CronSimError:  # it refuses 30 and 31 February, which Go accepts and never runs
        expected = None
    if expected is not None and expected - start > timedelta(days=5 * 365):
        assert found is None or found == expected
    else:
        assert found == expected
