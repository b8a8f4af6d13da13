"""Choosing where a specimen is collected: pure, total and deterministic.

Hard filters first, then a score; equal scores are settled by site code, so that every retry of an
order chooses the same site. Times are those of the site's own zone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DOT_CLOSING_MARGIN = timedelta(hours=3)
"""A federal urine collection may need this long (shy bladder, 49 CFR 40.193)."""

_EARTH_RADIUS_KM = 6371.0088
_SEARCH_DAYS = 8
_FAR_WAIT = timedelta(hours=72)
_DAYS = {"M": 0, "T": 1, "TU": 1, "W": 2, "TH": 3, "R": 3, "F": 4, "S": 5, "SA": 5, "SU": 6}
_HOURS = re.compile(
    r"(?P<first>SU|SA|TH|TU|[MTWRFS])(?:\s*-\s*(?P<last>SU|SA|TH|TU|[MTWRFS]))?\s+"
    r"(?P<h1>\d{1,2})(?::(?P<m1>\d{2}))?\s*(?P<p1>[AP])\.?M\.?\s*-\s*"
    r"(?P<h2>\d{1,2})(?::(?P<m2>\d{2}))?\s*(?P<p2>[AP])\.?M",
    re.IGNORECASE,
)


class Specimen(StrEnum):
    """What is collected."""

    URINE = "urine"
    ORAL_FLUID = "oral_fluid"
    HAIR = "hair"
    BREATH = "breath"


class Tier(StrEnum):
    """Whose site it is, the cheapest first."""

    OWN = "own"
    PREFERRED = "preferred"
    THIRD_PARTY = "third_party"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningHours:
    """One span on one weekday (0 is Monday); ``closes`` may be 24:00, given as ``time.max``."""

    weekday: int
    opens: time
    closes: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility:
    """A collection site. No known ``hours`` and not ``open_24_7`` means hours unknown."""

    site_code: str
    name: str
    latitude: float
    longitude: float
    time_zone: str
    tier: Tier = Tier.THIRD_PARTY
    active: bool = True
    open_to_public: bool = True
    open_24_7: bool = False
    hours: tuple[OpeningHours, ...] = ()
    appointment_needed: bool = False
    dot_urine: bool = False
    non_dot_urine: bool = False
    observed: bool = False
    hair: bool = False
    oral_fluid: bool = False
    breath_alcohol: bool = False
    electronic_ccf: bool = False
    turnaround_hours: int = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNeed:
    """What an order asks of a site. ``now`` and ``deadline`` are aware; radius in kilometres."""

    latitude: float
    longitude: float
    dot: bool
    specimen: Specimen
    now: datetime
    deadline: datetime
    observed: bool = False
    electronic_ccf: bool = False
    urgent: bool = False
    radius_km: float = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChoice:
    """The chosen site; the lower ``score`` the better, ``parts`` are its weighted summands."""

    facility: Facility
    distance_km: float
    wait: timedelta | None
    score: float
    parts: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    distance: float
    wait: float
    tier: float
    appointment: float
    turnaround: float


_NORMAL = _Weights(distance=0.45, wait=0.15, tier=0.2, appointment=0.1, turnaround=0.1)
_URGENT = _Weights(distance=0.35, wait=0.5, tier=0.0, appointment=0.1, turnaround=0.05)
_TIER_COST = {Tier.OWN: 0.0, Tier.PREFERRED: 0.5, Tier.THIRD_PARTY: 1.0}


def choose_facility(facilities: Sequence[Facility], need: SiteNeed) -> SiteChoice | None:
    """The best site for ``need``, or None where no site fits."""
    ranked = rank_facilities(facilities, need)
    return ranked[0] if ranked else None


def rank_facilities(facilities: Sequence[Facility], need: SiteNeed) -> list[SiteChoice]:
    """All sites that fit ``need``, the best first."""
    choices = [
        choice for facility in facilities if (choice := _consider(facility, need)) is not None
    ]
    return sorted(choices, key=lambda choice: (choice.score, choice.facility.site_code))


def refusal(facility: Facility, need: SiteNeed) -> str | None:
    """Why the site does not fit ``need`` (a word for statistics and explanations), or None."""
    if not facility.active:
        return "inactive"
    if not facility.open_to_public:
        return "not open to the public"
    if not _is_capable(facility, need):
        return "cannot do this collection"
    if need.electronic_ccf and not facility.electronic_ccf:
        return "no electronic form"
    if _distance(facility, need) > need.radius_km:
        return "too far"
    if _knows_hours(facility) and _next_opening(facility, need) is None:
        return "not open in time"
    return None


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance in kilometres between two points given in degrees."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    half = (
        math.sin((phi2 - phi1) / 2) ** 2
        + math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    )
    return 2 * _EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def parse_hours(text: str) -> tuple[OpeningHours, ...]:
    """Opening hours from free text such as ``M-F 8:00 am-5:00 pm, Sa 9 am-1 pm``.

    Lenient: what cannot be read is left out, so an unreadable text gives no hours at all.
    """
    spans: list[OpeningHours] = []
    for match in _HOURS.finditer(text):
        opens = _clock_time(match["h1"], match["m1"], match["p1"])
        closes = _clock_time(match["h2"], match["m2"], match["p2"])
        if opens is None or closes is None:
            continue
        if closes == time(0):
            closes = time.max
        if closes <= opens:
            continue
        first = _DAYS[match["first"].upper()]
        last = _DAYS[match["last"].upper()] if match["last"] else first
        count = (last - first) % 7 + 1
        spans += [
            OpeningHours(weekday=(first + offset) % 7, opens=opens, closes=closes)
            for offset in range(count)
        ]
    return tuple(sorted(set(spans), key=lambda span: (span.weekday, span.opens)))


def _clock_time(hour: str, minute: str | None, half: str) -> time | None:
    hours, minutes = int(hour), int(minute or 0)
    if not 1 <= hours <= 12 or minutes > 59:
        return None
    return time(hours % 12 + (12 if half.upper() == "P" else 0), minutes)


def _consider(facility: Facility, need: SiteNeed) -> SiteChoice | None:
    if refusal(facility, need) is not None:
        return None
    distance = _distance(facility, need)
    opening = _next_opening(facility, need) if _knows_hours(facility) else None
    wait = None if opening is None else max(opening - need.now, timedelta(0))
    weights = _URGENT if need.urgent else _NORMAL
    waited = _FAR_WAIT if wait is None else min(wait, _FAR_WAIT)
    parts = {
        "distance": weights.distance * distance / need.radius_km,
        "wait": weights.wait * (waited / _FAR_WAIT),
        "tier": weights.tier * _TIER_COST[facility.tier],
        "appointment": weights.appointment * facility.appointment_needed,
        "turnaround": weights.turnaround * min(facility.turnaround_hours, 96) / 96,
    }
    if need.urgent and not facility.open_24_7:
        parts["not_24_7"] = 0.05
    # Rounded, so that the last bit of a float never decides between two sites.
    parts = {name: round(value, 6) for name, value in parts.items()}
    return SiteChoice(
        facility=facility,
        distance_km=round(distance, 2),
        wait=wait,
        score=round(sum(parts.values()), 6),
        parts=parts,
    )


def _distance(facility: Facility, need: SiteNeed) -> float:
    return distance_km(need.latitude, need.longitude, facility.latitude, facility.longitude)


def _is_capable(facility: Facility, need: SiteNeed) -> bool:
    if need.observed and not facility.observed:
        return False
    match need.specimen:
        case Specimen.URINE:
            return facility.dot_urine if need.dot else facility.non_dot_urine
        case Specimen.ORAL_FLUID:
            return facility.oral_fluid
        case Specimen.HAIR:
            return facility.hair and not need.dot
        case Specimen.BREATH:
            return facility.breath_alcohol


def _knows_hours(facility: Facility) -> bool:
    return facility.open_24_7 or bool(facility.hours)


def _next_opening(facility: Facility, need: SiteNeed) -> datetime | None:
    """The first instant from ``need.now`` to its deadline at which the collection can begin."""
    if facility.open_24_7:
        return need.now if need.now <= need.deadline else None
    try:
        zone = ZoneInfo(facility.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return None
    margin = (
        DOT_CLOSING_MARGIN if need.dot and need.specimen is Specimen.URINE else timedelta(minutes=1)
    )
    today = need.now.astimezone(zone).date()
    for offset in range(_SEARCH_DAYS):
        day = today + timedelta(days=offset)
        for span in facility.hours:
            if span.weekday != day.weekday():
                continue
            opens = datetime.combine(day, span.opens, zone).astimezone(need.now.tzinfo)
            closes = datetime.combine(day, span.closes, zone).astimezone(need.now.tzinfo)
            begin = max(opens, need.now)
            if begin > need.deadline:
                return None
            if begin <= closes - margin:
                return begin
    return None
