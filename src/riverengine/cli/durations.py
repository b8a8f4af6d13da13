"""Durations as Go reads and writes them: ``1m30s``, ``2.5ms``.

Source: time.ParseDuration and Duration.String of Go's standard library.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}


def parse_duration(text: str) -> timedelta:
    """The duration of a text such as ``1m`` or ``5m30s``; raises ``ValueError`` for any other.

    Nanoseconds are cut: a ``timedelta`` counts microseconds.
    """
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if digits == "0":
        return timedelta(0)
    parts = _PART.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        raise ValueError(f"invalid duration {text!r}: expected one like 30s, 1m or 5m30s")
    seconds = sum(
        (Fraction(number.rstrip(".")) * _SECONDS[unit] for number, unit in parts), Fraction(0)
    )
    return sign * timedelta(microseconds=int(seconds * 10**6))


def format_duration(duration: timedelta) -> str:
    """The text of a duration: its largest units, no trailing zeros."""
    micros = duration // timedelta(microseconds=1)
    if micros < 0:
        return "-" + format_duration(-duration)
    if micros == 0:
        return "0s"
    if micros < 1000:
        return f"{micros}µs"
    if micros < 10**6:
        return f"{_trimmed(micros, 1000)}ms"
    minutes, rest = divmod(micros, 60 * 10**6)
    seconds = f"{_trimmed(rest, 10**6)}s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def truncated(duration: timedelta) -> timedelta:
    """Cut to what is worth reading: 10 ms above a second, 10 µs above a millisecond."""
    if duration > timedelta(seconds=1):
        return duration - duration % timedelta(milliseconds=10)
    if duration < timedelta(milliseconds=1):
        return duration
    return duration - duration % timedelta(microseconds=10)


def _trimmed(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
