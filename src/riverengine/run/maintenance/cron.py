"""Cron expressions as Go programs write them.

Accepts what ``ParseStandard`` of robfig/cron v3.0.1 accepts and finds the instants it finds, around
clock changes as well: five fields, names, lists, ranges and steps, descriptors such as ``@daily``,
``@every 1h30m``, and a leading ``CRON_TZ=`` or ``TZ=`` zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - seconds are counted from it, in any zone
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_WEEKDAYS = {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_YEARS_AHEAD = 5
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_BLANKS = re.compile(f"[{_SPACES}]+")


class Schedule(Protocol):
    """When something runs."""

    def next(self, after: datetime) -> datetime | None:
        """The first instant later than ``after`` (aware), in its zone; None when there is none."""


def parse_cron(expression: str) -> Schedule:
    """The schedule of a cron expression; raises ``ValueError`` where Go's parser refuses it.

    Without a zone prefix the fields mean the zone of the instant passed to ``next``.
    """
    if not expression:
        raise ValueError("empty cron expression")
    zone: tzinfo | None = None
    if expression.startswith(("TZ=", "CRON_TZ=")):
        prefix, space, expression = expression.partition(" ")
        if not space:
            raise ValueError("a cron expression must follow the zone")
        zone = _zone(prefix.partition("=")[2])
        expression = expression.strip(_SPACES)
    if expression.startswith("@every "):
        return Every(_seconds(expression.removeprefix("@every ")))
    if expression.startswith("@"):
        fields = _DESCRIPTORS.get(expression)
        if fields is None:
            raise ValueError(f"unrecognized descriptor: {expression}")
        expression = fields
    return _parse_fields(expression, zone)


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed number of whole seconds after the instant asked for, cut to the second."""

    seconds: int

    def next(self, after: datetime) -> datetime | None:
        """The first instant later than ``after``; None beyond the calendar's end."""
        try:
            return _at(_timestamp(after) + self.seconds, after.tzinfo or UTC)
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The parsed fields: allowed values each.

    any_day, any_weekday: the field is a wildcard, so that only the other one restricts the date;
    with both restricted a date fits when either does.  zone: None for that of the instant asked
    for.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone: tzinfo | None

    def next(self, after: datetime) -> datetime | None:
        """The first instant later than ``after``, in its zone; None when none comes in 5 years."""
        here = after.tzinfo
        if here is None:
            raise ValueError("the instant needs a time zone")
        try:
            found = self._search(_timestamp(after) + 1, self.zone or here)
            return None if found is None else _at(found, here)
        except OverflowError:
            return None

    def _search(self, instant: int, zone: tzinfo) -> int | None:
        """The first fitting instant from ``instant`` on, in seconds since 1970.

        Goes from the largest unit to the smallest. The first unit that has to move sets the smaller
        ones to their minimum; one that wraps sends the search back to the month. An hour or less is
        a step in real time, a day or month one in calendar time: it matters where clocks change.
        """
        if not (self.minutes and self.hours and self.months):
            return None
        last_year = _at(instant, zone).year + _YEARS_AHEAD
        moved = False
        while _at(instant, zone).year <= last_year:
            for unit in self._units():
                wrapped = False
                while not wrapped and not unit.fits(_at(instant, zone)):
                    if not moved:
                        moved = True
                        instant = unit.start(instant, zone)
                    stepped = unit.step(instant, zone)
                    # A zone that skipped a whole day throws a calendar step back (Go hangs there).
                    instant = stepped if stepped > instant else instant + 86400
                    wrapped = unit.wrapped(_at(instant, zone))
                if wrapped:
                    break
            else:
                return instant
        return None

    def _units(self) -> Sequence[_Unit]:
        return (
            _Unit(
                lambda now: now.month in self.months,
                lambda instant, zone: _start_of(instant, zone, "month"),
                lambda instant, zone: _calendar_step(instant, zone, months=1),
                lambda now: now.month == 1,
            ),
            _Unit(
                self._fits_day,
                lambda instant, zone: _start_of(instant, zone, "day"),
                _next_day,
                lambda now: now.day == 1,
            ),
            _Unit(
                lambda now: now.hour in self.hours,
                lambda instant, zone: _start_of(instant, zone, "hour"),
                lambda instant, _zone: instant + 3600,
                lambda now: now.hour == 0,
            ),
            _Unit(
                lambda now: now.minute in self.minutes,
                lambda instant, _zone: instant - instant % 60,
                lambda instant, _zone: instant + 60,
                lambda now: now.minute == 0,
            ),
            _Unit(
                lambda now: now.second == 0,
                lambda instant, _zone: instant,
                lambda instant, _zone: instant + 1,
                lambda now: now.second == 0,
            ),
        )

    def _fits_day(self, date: datetime) -> bool:
        day = date.day in self.days
        weekday = date.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return day and weekday
        return day or weekday


@dataclass(frozen=True, slots=True)
class _Unit:
    """One unit of time in the search: whether it fits, its start, its step, its wrap-around."""

    fits: Callable[[datetime], bool]
    start: Callable[[int, tzinfo], int]
    step: Callable[[int, tzinfo], int]
    wrapped: Callable[[datetime], bool]


def _timestamp(instant: datetime) -> int:
    """Whole seconds since 1970, the fraction cut off."""
    if instant.tzinfo is None:
        raise ValueError("the instant needs a time zone")
    return (instant.astimezone(UTC).replace(tzinfo=None) - _EPOCH) // timedelta(seconds=1)


def _at(instant: int, zone: tzinfo) -> datetime:
    """The instant as shown in ``zone``."""
    return (_EPOCH + timedelta(seconds=instant)).replace(tzinfo=UTC).astimezone(zone)


def _offset(instant: int, zone: tzinfo) -> int:
    offset = _at(instant, zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def _from_wall(wall: datetime, zone: tzinfo) -> int:
    """The instant of a wall-clock reading (naive), skipped and repeated ones as Go reads them.

    Go looks the offset up as if the reading were UTC, then once more with that offset applied.
    """
    seconds = (wall - _EPOCH) // timedelta(seconds=1)
    return seconds - _offset(seconds - _offset(seconds, zone), zone)


def _start_of(instant: int, zone: tzinfo, unit: str) -> int:
    wall = _at(instant, zone).replace(tzinfo=None, minute=0, second=0, fold=0)
    if unit != "hour":
        wall = wall.replace(hour=0)
    if unit == "month":
        wall = wall.replace(day=1)
    return _from_wall(wall, zone)


def _calendar_step(instant: int, zone: tzinfo, *, months: int = 0, days: int = 0) -> int:
    """Move the wall clock; a day the month lacks runs over into the next one."""
    wall = _at(instant, zone).replace(tzinfo=None, fold=0)
    month = wall.year * 12 + wall.month - 1 + months
    first = wall.replace(year=month // 12, month=month % 12 + 1, day=1)
    return _from_wall(first + timedelta(days=wall.day - 1 + days), zone)


def _next_day(instant: int, zone: tzinfo) -> int:
    """The next midnight, or the nearest hour where clocks skip it."""
    instant = _calendar_step(instant, zone, days=1)
    hour = _at(instant, zone).hour
    if hour > 12:
        return instant + (24 - hour) * 3600
    return instant - hour * 3600


def _zone(name: str) -> tzinfo | None:
    if name == "Local":
        return None
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise ValueError(f"unknown time zone: {name}") from error


def _seconds(duration: str) -> int:
    """A Go duration in whole seconds, at least 1."""
    text = duration[1:] if duration.startswith(("-", "+")) else duration
    sign = -1 if duration.startswith("-") else 1
    nanoseconds, position = 0, 0
    while text != "0":
        match = _DURATION.match(text, position)
        if match is None:
            raise ValueError(f"invalid duration: {duration}")
        nanoseconds += int(Decimal(match[1]) * _NANOSECONDS[match[2]])
        position = match.end()
        if position == len(text):
            break
    if nanoseconds > 2**63 - (sign > 0):
        raise ValueError(f"invalid duration: {duration}")
    return max(1, sign * nanoseconds // 10**9)


def _parse_fields(expression: str, zone: tzinfo | None) -> CronSchedule:
    fields = [field for field in _BLANKS.split(expression) if field]
    if len(fields) != 5:
        raise ValueError(f"expected 5 fields, found {len(fields)}")
    minutes, _ = _field(fields[0], 0, 59, {})
    hours, _ = _field(fields[1], 0, 23, {})
    days, any_day = _field(fields[2], 1, 31, {})
    months, _ = _field(fields[3], 1, 12, _MONTHS)
    weekdays, any_weekday = _field(fields[4], 0, 6, _WEEKDAYS)
    return CronSchedule(minutes, hours, days, months, weekdays, any_day, any_weekday, zone)


def _field(
    text: str, lowest: int, highest: int, names: Mapping[str, int]
) -> tuple[frozenset[int], bool]:
    """The values a field allows, and whether it counts as a wildcard."""
    values: set[int] = set()
    wildcard = False
    for part in filter(None, text.split(",")):
        bounds, *steps = part.split("/")
        if len(steps) > 1:
            raise ValueError(f"too many slashes: {part}")
        step = _integer(steps[0], {}) if steps else 1
        if step == 0:
            raise ValueError(f"the step must be positive: {part}")
        ends = bounds.split("-")
        if ends[0] in ("*", "?"):
            first, last = lowest, highest
            wildcard = wildcard or step == 1
        elif len(ends) > 2:
            raise ValueError(f"too many hyphens: {part}")
        else:
            first = _integer(ends[0], names)
            last = _integer(ends[1], names) if len(ends) == 2 else highest if steps else first
        if not lowest <= first <= last <= highest:
            raise ValueError(f"not a range within {lowest} to {highest}: {part}")
        values.update(range(first, last + 1, step))
    return frozenset(values), wildcard


def _integer(text: str, names: Mapping[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    if len(text) > 30 or not _INTEGER.fullmatch(text):
        raise ValueError(f"not a number: {text!r}")
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(f"the number is out of range: {text}")
    return number
