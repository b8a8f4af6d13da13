"""Collection sites as the application keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import time
from json import dumps, loads
from typing import Final

from riverengine.queries.statement import Executor, Record, statement
from riverengine.types.job import Json
from v1consortium.facilities import Facility, OpeningHours, Tier

_PACKAGE: Final = "v1consortium.queries.sql"
_UPSERT = statement("facility.sql", "facility_upsert_many", package=_PACKAGE)
_LIST = statement("facility.sql", "facility_list_in_box", package=_PACKAGE)
_COUNT = statement("facility.sql", "facility_count", package=_PACKAGE)

_FLAGS: Final = (
    "active",
    "open_to_public",
    "open_24_7",
    "appointment_needed",
    "dot_urine",
    "non_dot_urine",
    "observed",
    "hair",
    "oral_fluid",
    "breath_alcohol",
    "electronic_ccf",
)
_KM_PER_DEGREE: Final = 111.0


async def facility_upsert_many(db: Executor, *, facilities: Sequence[Facility]) -> None:
    """Store the sites, replacing those with the same code. Codes must be distinct."""
    await db.execute(
        _UPSERT.sql(None),
        [site.site_code for site in facilities],
        [site.name for site in facilities],
        [site.latitude for site in facilities],
        [site.longitude for site in facilities],
        [site.time_zone for site in facilities],
        [site.tier.value for site in facilities],
        [dumps(_details(site)) for site in facilities],
    )


async def facility_list_near(
    db: Executor, *, latitude: float, longitude: float, radius_km: float
) -> list[Facility]:
    """Sites in the smallest box of degrees that holds the circle, by site code."""
    rise = radius_km / _KM_PER_DEGREE
    widest = max(abs(latitude - rise), abs(latitude + rise))
    low: float | None = None
    high: float | None = None
    if widest < 89:
        run = rise / math.cos(math.radians(widest))
        if longitude - run >= -180 and longitude + run <= 180:
            low, high = longitude - run, longitude + run
    records = await db.fetch(_LIST.sql(None), latitude - rise, latitude + rise, low, high)
    return [_facility(record) for record in records]


async def facility_count(db: Executor) -> int:
    """How many sites are known."""
    return int(await db.fetchval(_COUNT.sql(None)))


def _details(site: Facility) -> dict[str, Json]:
    return {
        **{name: getattr(site, name) for name in _FLAGS},
        "turnaround_hours": site.turnaround_hours,
        "hours": [
            [span.weekday, span.opens.isoformat(), span.closes.isoformat()] for span in site.hours
        ],
    }


def _facility(record: Record) -> Facility:
    details = loads(record["details"])
    return Facility(
        site_code=record["site_code"],
        name=record["name"],
        latitude=record["latitude"],
        longitude=record["longitude"],
        time_zone=record["time_zone"],
        tier=Tier(record["tier"]),
        turnaround_hours=int(details.get("turnaround_hours", 48)),
        hours=tuple(
            OpeningHours(
                weekday=int(weekday),
                opens=time.fromisoformat(opens),
                closes=time.fromisoformat(closes),
            )
            for weekday, opens, closes in details.get("hours", ())
        ),
        **{name: bool(details.get(name, False)) for name in _FLAGS},
    )
