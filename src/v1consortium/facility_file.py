"""Reads collection sites from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from v1consortium.facilities import Facility, Tier, parse_hours

_FLAGS = (
    *("active", "open_to_public", "open_24_7", "appointment_needed", "dot_urine"),
    *("non_dot_urine", "observed", "hair", "oral_fluid", "breath_alcohol", "electronic_ccf"),
)
_REQUIRED = ("site_code", "name", "latitude", "longitude", "time_zone")
_OPTIONAL = (*_FLAGS, "tier", "hours", "turnaround_hours")
_YES, _NO = ("1", "true", "yes", "y"), ("0", "false", "no", "n", "")


class FacilityFileError(ValueError):
    """A file of sites cannot be used; ``problems`` name line and column."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_facilities(path: Path) -> list[Facility]:
    """All sites of the file; raises ``FacilityFileError`` with every problem at once.

    Columns: site_code, name, latitude, longitude, time_zone; and, as wanted, tier, hours,
    turnaround_hours and the capabilities, each yes or no.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            problems = _bad_columns(reader.fieldnames or ())
            if problems:
                raise FacilityFileError(problems)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FacilityFileError([f"{path}: cannot be read ({type(error).__name__})"]) from None
    found: dict[str, Facility] = {}
    for line, row in enumerate(rows, start=2):
        values: dict[str, Any] = {}
        for column, text in row.items():
            if column is None or text is None:
                problems.append(f"line {line}: has another number of columns than the header")
                continue
            try:
                values[column] = _READERS.get(column, _flag)(text.strip())
            except ValueError as error:
                problems.append(f"line {line}, {column}: {error}")
        if values.get("site_code") in found:
            problems.append(f"line {line}, site_code: {values['site_code']} is there twice")
        if not problems:
            site = Facility(**values)
            found[site.site_code] = site
    if problems:
        raise FacilityFileError(problems)
    return list(found.values())


def _bad_columns(given: Sequence[str]) -> list[str]:
    missing = [f"column {name} is missing" for name in _REQUIRED if name not in given]
    return missing + [
        f"column {name} is unknown" for name in given if name not in (*_REQUIRED, *_OPTIONAL)
    ]


def _text(longest: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not 0 < len(text) <= longest:
            raise ValueError(f"must have 1 to {longest} characters")
        return text

    return read


def _degrees(limit: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("is not a number") from None
        if not -limit <= value <= limit:
            raise ValueError(f"must be between -{limit:g} and {limit:g}")
        return value

    return read


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("must be yes or no")


def _tier(text: str) -> Tier:
    try:
        return Tier(text)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Tier)}") from None


def _hours(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("must be a number of hours")
    return int(text)


_READERS: dict[str, Callable[[str], object]] = {
    "site_code": _text(6),
    "name": _text(200),
    "latitude": _degrees(90),
    "longitude": _degrees(180),
    "time_zone": _text(64),
    "tier": _tier,
    "hours": parse_hours,
    "turnaround_hours": _hours,
}
