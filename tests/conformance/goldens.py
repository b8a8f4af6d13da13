"""What Go River v0.51.1 and its cron library computed, as recorded in files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


UNIQUE_CASES: Sequence[Mapping[str, Any]] = _read(_HERE / "fixtures" / "unique_keys.json")["cases"]
"""Args, options and the key they have to give; River's published cases are among them."""

RETRY_BOUNDS: Mapping[int, tuple[int, int]] = {
    case["errors"]: (case["shortest_ns"], case["longest_ns"])
    for case in _read(_HERE / "fixtures" / "protocol_values.json")["retries"]
}
"""Shortest and longest delay in nanoseconds by number of errors."""

_SCHEDULES = _read(_HERE / "fixtures" / "cron_schedules.json")
_ZONES = _read(_HERE.parent / "unit" / "riverengine" / "cron_goldens.json")


def _cron_case(case: Mapping[str, Any]) -> tuple[str, str, Sequence[str]]:
    # Only an offset travels with a time; a zone has to come with the expression.
    expression, zone = case["expression"], case.get("zone", "UTC")
    if zone != "UTC" and not expression.startswith(("TZ=", "CRON_TZ=")):
        expression = f"CRON_TZ={zone} {expression}"
    return expression, case.get("from") or case["after"], case["next"]


CRON_VALID: Sequence[tuple[str, str, Sequence[str]]] = [
    _cron_case(case) for case in (*_SCHEDULES["valid"], *_ZONES["valid"])
]
"""Expression, reference time, and what comes next."""

CRON_INVALID: Sequence[str] = sorted({*_SCHEDULES["invalid"], *_ZONES["invalid"]})
"""Expressions that are refused."""
