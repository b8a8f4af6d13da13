"""Choice of the collection site."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from v1consortium.facilities import (
    Facility,
    OpeningHours,
    SiteNeed,
    Specimen,
    Tier,
    choose_facility,
    distance_km,
    parse_hours,
    rank_facilities,
    refusal,
)

MONDAY_NOON = datetime(2026, 6, 1, 16, 0, tzinfo=UTC)
"""Noon in New York."""

SITE = Facility(
    site_code="A1",
    name="Site",
    latitude=40.71,
    longitude=-74.0,
    time_zone="America/New_York",
    hours=tuple(OpeningHours(weekday=day, opens=time(8), closes=time(17)) for day in range(5)),
    dot_urine=True,
    non_dot_urine=True,
)
NEED = SiteNeed(
    latitude=40.71,
    longitude=-74.0,
    dot=True,
    specimen=Specimen.URINE,
    now=MONDAY_NOON,
    deadline=MONDAY_NOON + timedelta(days=5),
)


def test_a_fitting_site_is_chosen_at_once() -> None:
    choice = choose_facility([SITE], NEED)
    assert choice is not None
    assert choice.facility is SITE
    assert choice.wait == timedelta(0)


def test_no_site_gives_none() -> None:
    assert choose_facility([], NEED) is None


@pytest.mark.parametrize(
    ("site", "need", "reason"),
    [
        (replace(SITE, active=False), NEED, "inactive"),
        (replace(SITE, open_to_public=False), NEED, "not open to the public"),
        (replace(SITE, dot_urine=False), NEED, "cannot do this collection"),
        (replace(SITE, non_dot_urine=False), replace(NEED, dot=False), "cannot do this collection"),
        (SITE, replace(NEED, observed=True), "cannot do this collection"),
        (SITE, replace(NEED, specimen=Specimen.BREATH), "cannot do this collection"),
        (SITE, replace(NEED, specimen=Specimen.ORAL_FLUID), "cannot do this collection"),
        (
            replace(SITE, hair=True),
            replace(NEED, specimen=Specimen.HAIR),
            "cannot do this collection",
        ),
        (SITE, replace(NEED, electronic_ccf=True), "no electronic form"),
        (replace(SITE, latitude=42.0), NEED, "too far"),
        (
            SITE,
            replace(
                NEED,
                now=MONDAY_NOON + timedelta(hours=3),
                deadline=MONDAY_NOON + timedelta(hours=6),
            ),
            "not open in time",
        ),
        (replace(SITE, time_zone="Nowhere/At_All"), NEED, "not open in time"),
    ],
)
def test_a_site_that_does_not_fit_is_refused(site: Facility, need: SiteNeed, reason: str) -> None:
    assert refusal(site, need) == reason
    assert choose_facility([site], need) is None


def test_a_non_dot_collection_may_begin_in_the_last_three_hours() -> None:
    late = replace(NEED, dot=False, now=MONDAY_NOON + timedelta(hours=4))
    choice = choose_facility([SITE], late)
    assert choice is not None
    assert choice.wait == timedelta(0)


def test_a_dot_collection_late_in_the_day_waits_for_the_next_morning() -> None:
    choice = choose_facility([SITE], replace(NEED, now=MONDAY_NOON + timedelta(hours=3)))
    assert choice is not None
    assert choice.wait == timedelta(hours=17)


def test_the_order_of_the_sites_never_matters_and_ties_go_to_the_lower_code() -> None:
    sites = [replace(SITE, site_code=code) for code in ("C", "A", "B")]
    for seed in range(20):
        random.Random(seed).shuffle(sites)
        ranked = [choice.facility.site_code for choice in rank_facilities(sites, NEED)]
        assert ranked == ["A", "B", "C"]


def test_nearer_wins_over_farther() -> None:
    far = replace(SITE, site_code="A0", latitude=41.0)
    choice = choose_facility([far, SITE], NEED)
    assert choice is not None
    assert choice.facility is SITE


def test_urgency_prefers_the_open_site_and_ignores_price() -> None:
    own = replace(SITE, site_code="OWN", tier=Tier.OWN)
    always = replace(SITE, site_code="ALWAYS", open_24_7=True, latitude=40.8)
    night = replace(NEED, now=MONDAY_NOON + timedelta(hours=12), urgent=True)
    choice = choose_facility([own, always], night)
    assert choice is not None
    assert choice.facility is always


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("M-F 8:00 am-5:00 pm", 5),
        ("M-F 8am-5pm, Sa 9 am-1 pm", 6),
        ("Su 10:30 AM - 2 PM", 1),
        ("Sa-M 8 am-12 am", 3),
        ("Vary", 0),
        ("", 0),
        ("M-F 25 am-5 pm", 0),
        ("M 5 pm-8 am", 0),
    ],
)
def test_hours_are_read_leniently(text: str, spans: int) -> None:
    assert len(parse_hours(text)) == spans


def test_distance_is_a_great_circle() -> None:
    assert distance_km(40.7128, -74.0060, 34.0522, -118.2437) == pytest.approx(3936, abs=2)
    assert distance_km(0, 0, 0, 180) == pytest.approx(20015, abs=1)
