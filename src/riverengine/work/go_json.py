"""JSON text as Go's encoding/json writes it: unique keys hash these bytes."""

from __future__ import annotations

import dataclasses
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from uuid import UUID

from riverengine.types.errors import ArgsEncodeError

MAX_DEPTH = 64
"""Deepest nesting accepted; Python's own decoder gives up at about a thousand."""


@dataclasses.dataclass(frozen=True, slots=True)
class RawJson:
    """JSON text that is written as it is: numbers keep digits that a float would lose."""

    text: str


class Fields(dict[str, object]):
    """An object whose members keep their order, as a Go struct's; others' are sorted, as a map's.

    ``json.loads(text, object_pairs_hook=Fields)`` keeps what a text says.
    """


_ESCAPED = re.compile(r'["\\<>&\u2028\u2029\x00-\x1f]')
_HTML = re.compile("[<>&\u2028\u2029]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\r\n]+')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def encode_json(value: object, path: str = "$", depth: int = 0) -> str:
    """The JSON text of ``value``.

    Raises ``ArgsEncodeError`` with the path of a value that JSON or PostgreSQL cannot hold: NaN,
    infinities, NUL characters, lone surrogates, unknown types, nesting beyond ``MAX_DEPTH``.
    """
    if depth > MAX_DEPTH:
        raise ArgsEncodeError(f"nested deeper than {MAX_DEPTH} levels", path=path)
    match value:
        case None:
            return "null"
        case Enum():
            return encode_json(value.value, path, depth)
        case bool():
            return "true" if value else "false"
        case str():
            return encode_string(value, path)
        case int():
            return str(int(value))
        case float():
            return _encode_float(value, path)
        case datetime():
            return encode_string(format_time(value, path), path)
        case UUID():
            return encode_string(str(value), path)
        case RawJson(text):
            return text
        case bytes():
            return encode_string(b64encode(value).decode("ascii"), path)
        case Mapping():
            return _encode_mapping(value, path, depth)
        case Sequence():
            items = [
                encode_json(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)
            ]
            return "[" + ",".join(items) + "]"
    members = _members(type(value))  # type: ignore[arg-type] # every class can be hashed
    if members is None:
        raise ArgsEncodeError(f"a {type(value).__name__} is not a JSON value", path=path)
    encoded = [
        head + encode_json(getattr(value, attribute), f"{path}.{name}", depth + 1)
        for attribute, name, head in members
    ]
    return "{" + ",".join(encoded) + "}"


@cache
def _members(of: type) -> Sequence[tuple[str, str, str]] | None:
    """The members of a dataclass or a msgspec struct, in their order, as of a Go struct.

    Each with its attribute, its name in JSON, and that name as text; None for other types.
    """
    if dataclasses.is_dataclass(of):
        attributes = names = [field.name for field in dataclasses.fields(of)]
    elif (encoded := getattr(of, "__struct_encode_fields__", None)) is not None:
        attributes, names = of.__struct_fields__, encoded  # type: ignore[attr-defined]
    else:
        return None
    return [
        (attribute, name, f"{encode_string(name)}:")
        for attribute, name in zip(attributes, names, strict=True)
    ]


def _encode_mapping(value: Mapping[object, object], path: str, depth: int) -> str:
    # Go sorts the keys of maps by their bytes; only struct fields keep their order.
    keys: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise ArgsEncodeError(f"a {type(key).__name__} is not an object key", path=path)
        keys[key] = item
    encoded = {
        key: encode_string(key, path) + ":" + encode_json(item, f"{path}.{key}", depth + 1)
        for key, item in keys.items()
    }
    ordered = encoded if isinstance(value, Fields) else sorted(encoded, key=str.encode)
    return "{" + ",".join(encoded[key] for key in ordered) + "}"


def encode_string(value: str, path: str = "$") -> str:
    """A JSON string with Go's escapes; refuses NUL and lone surrogates."""
    if "\x00" in value:
        raise ArgsEncodeError("PostgreSQL cannot store a NUL character", path=path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArgsEncodeError("a lone surrogate is not text", path=path) from None
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def compact_json(text: str) -> str:
    """Go's bytes for JSON text given as it is: no spaces, its HTML characters escaped.

    The order of keys, doubled keys and the writing of numbers stay. ``text`` must be valid JSON.
    """
    return _TOKEN.sub(lambda match: _HTML.sub(_escape, match[0]).strip(" \t\r\n"), text)


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return _SHORT.get(char) or f"\\u{ord(char):04x}"


def _encode_float(value: float, path: str) -> str:
    if not math.isfinite(value):
        raise ArgsEncodeError(f"{value} is not a JSON number", path=path)
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    if 1e-6 <= abs(value) < 1e21:
        return _positional(repr(value))
    digits, _, exponent_text = repr(value).partition("e")
    exponent = int(exponent_text)
    return f"{digits}e{'-' if exponent < 0 else '+'}{abs(exponent)}"


def _positional(shortest: str) -> str:
    """Write a shortest representation without an exponent."""
    mantissa, _, exponent_text = shortest.partition("e")
    if exponent_text:
        sign = "-" if mantissa.startswith("-") else ""
        whole, _, fraction = mantissa.lstrip("-").partition(".")
        point = len(whole) + int(exponent_text)
        digits = whole + fraction
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        digits = digits.ljust(point, "0")
        mantissa = sign + digits[:point] + ("." + digits[point:] if digits[point:] else "")
    return mantissa.removesuffix(".0")


def format_time(value: datetime, path: str = "$") -> str:
    """RFC 3339 with the fraction's trailing zeros trimmed, UTC as Z."""
    if value.tzinfo is None:
        raise ArgsEncodeError("a time needs a zone", path=path)
    text = value.isoformat()
    if value.microsecond:
        head, dot, rest = text.partition(".")
        fraction = rest[:6].rstrip("0")
        text = f"{head}{dot}{fraction}{rest[6:]}"
    return text.replace("+00:00", "Z") if value.utcoffset() == UTC.utcoffset(None) else text
