"""The count of a job's snoozes, kept in its metadata."""

from __future__ import annotations

import math
import re

from riverengine.types.job import Json

_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_DIGITS = "[0-9](?:_?[0-9])*"
_NUMBER = re.compile(
    rf"[+-]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?", re.ASCII
)


def next_snooze_count(stored: Json) -> int:
    """The count to write when a job is snoozed, from the one its metadata holds.

    Whoever wrote the metadata may have stored anything: read as Go River's JSON reader does, in 64
    bits. Numbers and numeric texts lose their fraction, true is 1, everything else 0.
    Source: jobexecutor.NextSnoozeCount at v0.51.1, with gjson 1.20.
    """
    count = _bounded(stored) + 1
    return _SMALLEST if count > _LARGEST else count


def _bounded(stored: Json) -> int:
    match stored:
        case bool():
            return int(stored)
        case int():
            number = stored
        case float() if not math.isnan(stored):
            number = _truncated(stored)
        case str() if _INTEGER.fullmatch(stored):
            number = _integer(stored)
        case str() if _NUMBER.fullmatch(stored) and math.isfinite(float(stored)):
            number = _truncated(float(stored))
        case _:
            return 0
    return min(max(number, _SMALLEST), _LARGEST)


def _integer(text: str) -> int:
    digits = text.lstrip("-0")
    # Python refuses to read thousands of digits; beyond 19 the bound is passed anyway.
    value = _LARGEST + 1 if len(digits) > 19 else int(digits or "0")
    return -value if text.startswith("-") else value


def _truncated(value: float) -> int:
    if math.isinf(value):
        return _LARGEST if value > 0 else _SMALLEST
    return int(value)
