"""Reads stored JSON into args types; each type's decoder is built once.

Building a decoder means reading type hints, which costs more than a whole no-op job.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from uuid import UUID

from riverengine.types.job import Json

Decode = Callable[[Json], object]
"""Turns a decoded JSON value into a Python object; raises ``MisfitError``."""

_raw_decode = json.JSONDecoder().raw_decode


class MisfitError(ValueError):
    """A value of the wrong type; the text names the place, never the value."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def below(self, step: str) -> MisfitError:
        """The same error as its container sees it."""
        return MisfitError(self.reason, step + self.path)

    def __str__(self) -> str:
        return f"${self.path} {self.reason}"


def parse_json(text: str) -> Json:
    """The value of a JSON text; quicker than ``json.loads`` on text as PostgreSQL writes it."""
    value, end = _raw_decode(text)
    return value if end == len(text) else json.loads(text)


@cache
def text_decoder(target: type) -> Callable[[str], object]:
    """Reads JSON text into ``target``: pydantic model, msgspec struct, dataclass or other class.

    The result raises ``TypeError``, ``ValueError``, ``KeyError`` or ``RecursionError``.
    """
    validate = getattr(target, "model_validate", None)
    if callable(validate):
        validated: Decode = validate
        return lambda text: validated(parse_json(text))
    if hasattr(target, "__struct_fields__"):
        import msgspec

        return lambda text: msgspec.convert(parse_json(text), target)
    if dataclasses.is_dataclass(target):
        decode = _dataclass_decoder(target)
        return lambda text: decode(parse_json(text))
    return lambda text: target(**parse_json(text))


@cache
def _dataclass_decoder(target: type) -> Decode:
    hints = typing.get_type_hints(target)
    fields = tuple(
        (
            field.name,
            _exact(hints[field.name]),
            _decoder(hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(target)
        if field.init
    )

    def decode(value: Json) -> object:
        if type(value) is not dict:
            raise MisfitError("must be an object")
        found = {}
        for name, exact, decode_field, required in fields:
            if name in value:
                item = value[name]
                if type(item) is exact:
                    found[name] = item
                else:
                    try:
                        found[name] = decode_field(item)
                    except MisfitError as error:
                        raise error.below(f".{name}") from None
            elif required:
                raise MisfitError("is missing", f".{name}")
        return target(**found)

    return decode


def _exact(hint: Json) -> type | None:
    """A type whose values need no decoding."""
    return hint if hint in (str, int, bool, float) else None


def _decoder(hint: Json) -> Decode:
    origin: Json = typing.get_origin(hint)
    if hint is typing.Any or hint is object:
        return lambda value: value
    if origin is typing.Annotated:
        return _decoder(typing.get_args(hint)[0])
    if origin in (typing.Union, UnionType):
        return _union_decoder(typing.get_args(hint))
    if origin is tuple and typing.get_args(hint)[1:] != (Ellipsis,):
        return _record_decoder(typing.get_args(hint))
    if origin in (list, tuple, set, frozenset):
        return _array_decoder(origin, typing.get_args(hint)[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_decoder(typing.get_args(hint)[1])
    if dataclasses.is_dataclass(hint):
        # Looked up when first used, since a type may contain itself.
        nested = typing.cast("type", hint)
        return lambda value: _dataclass_decoder(nested)(value)
    return _scalar_decoder(hint)


def _array_decoder(container: Callable[..., object], item: Json) -> Decode:
    decode_item = _decoder(item)

    def decode(value: Json) -> object:
        if type(value) is not list:
            raise MisfitError("must be an array")
        found = []
        for index, each in enumerate(value):
            try:
                found.append(decode_item(each))
            except MisfitError as error:
                raise error.below(f"[{index}]") from None
        return container(found)

    return decode


def _record_decoder(items: tuple[Json, ...]) -> Decode:
    decoders = [_decoder(item) for item in items]

    def decode(value: Json) -> object:
        if type(value) is not list or len(value) != len(decoders):
            raise MisfitError(f"must be an array of {len(decoders)}")
        found = []
        for index, (decode_item, each) in enumerate(zip(decoders, value, strict=True)):
            try:
                found.append(decode_item(each))
            except MisfitError as error:
                raise error.below(f"[{index}]") from None
        return tuple(found)

    return decode


def _mapping_decoder(item: Json) -> Decode:
    decode_item = _decoder(item)

    def decode(value: Json) -> object:
        if type(value) is not dict:
            raise MisfitError("must be an object")
        found = {}
        for key, each in value.items():
            try:
                found[key] = decode_item(each)
            except MisfitError as error:
                raise error.below(f".{key}") from None
        return found

    return decode


def _union_decoder(members: tuple[Json, ...]) -> Decode:
    nullable = NoneType in members
    decoders = [_decoder(member) for member in members if member is not NoneType]

    def decode(value: Json) -> object:
        if value is None and nullable:
            return None
        for each in decoders:
            try:
                return each(value)
            except ValueError:
                continue
        raise MisfitError("has the wrong type")

    return decode


def _scalar_decoder(hint: Json) -> Decode:
    from_text = _FROM_TEXT.get(hint)
    is_enum = isinstance(hint, type) and issubclass(hint, Enum)

    def decode(value: Json) -> object:
        try:
            if from_text is not None and type(value) is str:
                return from_text(value)
            if is_enum:
                return hint(value)
        except ValueError:
            raise MisfitError("has the wrong form") from None
        if hint is float and type(value) is int:
            return float(value)
        if isinstance(hint, type) and type(value) is hint:
            return value
        raise MisfitError("has the wrong type")

    return decode


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


_FROM_TEXT: Mapping[object, Callable[[str], object]] = {
    datetime: datetime.fromisoformat,
    UUID: UUID,
    bytes: _bytes,
}
