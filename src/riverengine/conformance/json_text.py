"""JSON as the wire needs it: strict to read, exact to write.

Rows hold numbers that no float holds. So the stored text of JSON columns goes into answers as it
is, and the text of a parameter can be had as the caller wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from riverengine.types.job import Json
from riverengine.work.go_json import RawJson
from riverengine.work.json_members import object_members

_TOO_LONG = re.compile(r"\d{309}", re.ASCII)


class ReadObject(dict[str, Json]):
    """A JSON object as it was read. repeated: a name that it holds twice, None for none."""

    repeated: str | None = None


def read_json(text: str) -> Json:
    """The value of a JSON text; raises ``ValueError``, also for NaN and infinities.

    Objects are of type :class:`ReadObject`; the last of repeated members counts.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: Json) -> str:
    """The JSON text of a value, in one line; a :class:`RawJson` inside goes in as it is."""
    match value:
        case RawJson(text):
            return text
        case Mapping():
            members = (f"{json.dumps(key)}:{write_json(item)}" for key, item in value.items())
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(write_json, value)) + "]"
    return json.dumps(value)


def member_text(text: str, *names: str) -> str:
    """The text of a member inside nested objects, as it was written; raises ``KeyError``."""
    for name in names:
        text = dict(object_members(text))[name]
    return text


def fits_float(text: str) -> bool:
    """Whether every number of a stored JSON text is within a float's range.

    PostgreSQL writes numbers of jsonb without exponents, so a larger one has 309 digits or more.
    """
    if not _TOO_LONG.search(text):
        return True
    try:
        json.loads(text, parse_int=_within_float, parse_float=_within_float)
    except ValueError:
        return False
    return True


def _object(members: list[tuple[str, Json]]) -> ReadObject:
    read = ReadObject(members)
    if len(read) < len(members):
        names = [name for name, _ in members]
        read.repeated = next(name for name in names if names.count(name) > 1)
    return read


def _within_float(token: str) -> float:
    number = float(token)
    if number in (float("inf"), float("-inf")):
        raise ValueError(token)
    return number


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_object)
