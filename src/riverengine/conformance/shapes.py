"""What parameters may look like; everything else is refused, in nested objects too."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from riverengine.conformance.errors import InvalidParamsError
from riverengine.conformance.json_text import ReadObject
from riverengine.types.job import Json

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


class Shape(Protocol):
    """A form of JSON value."""

    def check(self, value: Json, path: str) -> None:
        """Raises ``InvalidParamsError`` naming ``path`` when the value has another form."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""

    def check(self, value: Json, path: str) -> None:
        """Accepts."""


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def check(self, value: Json, path: str) -> None:
        """Refuses all but booleans."""
        if not isinstance(value, bool):
            raise InvalidParamsError(f"{path} must be a boolean")


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer within bounds, the signed 64-bit ones unless given."""

    minimum: int = INT64_MIN
    maximum: int = INT64_MAX

    def check(self, value: Json, path: str) -> None:
        """Refuses fractions, also those of zero such as 1.0, and booleans."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidParamsError(f"{path} must be an integer")
        if not self.minimum <= value <= self.maximum:
            raise InvalidParamsError(f"{path} must be from {self.minimum} to {self.maximum}")


@dataclass(frozen=True, slots=True)
class Text:
    """A string. shortest: in characters.  choices: the only values.  prefix: how it starts."""

    shortest: int = 0
    choices: Collection[str] | None = None
    prefix: str = ""

    def check(self, value: Json, path: str) -> None:
        """Refuses other types."""
        if not isinstance(value, str):
            raise InvalidParamsError(f"{path} must be a string")
        if len(value) < self.shortest:
            raise InvalidParamsError(f"{path} must have at least {self.shortest} character(s)")
        if self.choices is not None and value not in self.choices:
            raise InvalidParamsError(f"{path} must be one of: {', '.join(sorted(self.choices))}")
        if not value.startswith(self.prefix):
            raise InvalidParamsError(f"{path} must start with {self.prefix}")


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in RFC 3339."""

    def check(self, value: Json, path: str) -> None:
        """Refuses what does not name an instant."""
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            raise InvalidParamsError(f"{path} must be an RFC 3339 time")
        try:
            moment(value)
        except ValueError:
            raise InvalidParamsError(f"{path} must be an RFC 3339 time") from None


@dataclass(frozen=True, slots=True)
class Nullable:
    """A value of a shape, or null."""

    of: Shape

    def check(self, value: Json, path: str) -> None:
        """Accepts null."""
        if value is not None:
            self.of.check(value, path)


@dataclass(frozen=True, slots=True)
class Items:
    """An array of values of one shape."""

    of: Shape

    def check(self, value: Json, path: str) -> None:
        """Checks every item."""
        if not isinstance(value, list):
            raise InvalidParamsError(f"{path} must be an array")
        for index, item in enumerate(value):
            self.of.check(item, f"{path}[{index}]")


@dataclass(frozen=True, slots=True)
class AnyObject:
    """An object with any members."""

    def check(self, value: Json, path: str) -> None:
        """Refuses all but objects."""
        if not isinstance(value, dict):
            raise InvalidParamsError(f"{path} must be an object")


@dataclass(frozen=True, slots=True)
class Members:
    """An object with these members and no others."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    required: Collection[str] = ()

    def check(self, value: Json, path: str) -> None:
        """Refuses unknown members, repeated and missing ones."""
        if not isinstance(value, dict):
            raise InvalidParamsError(f"{path} must be an object")
        if isinstance(value, ReadObject) and value.repeated is not None:
            raise InvalidParamsError(f"{path}.{value.repeated} is given twice")
        for name, member in value.items():
            shape = self.fields.get(name)
            if shape is None:
                raise InvalidParamsError(f"{path}.{name} is not a parameter")
            shape.check(member, f"{path}.{name}")
        for name in self.required:
            if name not in value:
                raise InvalidParamsError(f"{path}.{name} is missing")

    def with_fields(self, fields: Mapping[str, Shape], *required: str) -> Members:
        """The same object with more members."""
        return Members({**self.fields, **fields}, (*self.required, *required))


def moment(text: str) -> datetime:
    """The instant of an RFC 3339 text; digits beyond microseconds are cut. Raises ValueError."""
    return datetime.fromisoformat(text.upper())
