"""Job args: any class with a ``kind``, encoded to JSON and decoded again.

Dataclasses are understood as they are; msgspec structs and pydantic models when these libraries are
installed; any other class may offer ``to_json()``.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import ClassVar, Protocol, TypeVar, runtime_checkable
from uuid import UUID

from riverengine.types.errors import ArgsDecodeError, ArgsEncodeError
from riverengine.types.job import Json
from riverengine.work.go_json import encode_json

T = TypeVar("T")


@runtime_checkable
class JobArgs(Protocol):
    """Arguments of one kind of job.

    ``kind`` selects the worker. An args class may also define
    ``kind_aliases: ClassVar[tuple[str, ...]]`` (former names, still worked) and a method
    ``insert_opts() -> InsertOpts``.
    """

    kind: ClassVar[str]


def encode_args(args: object) -> str:
    """The args as JSON text, by Go's conventions; raises ``ArgsEncodeError``."""
    to_json = getattr(args, "to_json", None)
    if callable(to_json):
        text = to_json()
        if not isinstance(text, str):
            raise ArgsEncodeError("to_json() must return a str")
        return encode_json(json.loads(text))
    if dataclasses.is_dataclass(args):
        return encode_json(args)
    if hasattr(type(args), "__struct_fields__"):
        return encode_json(args)
    dump = getattr(args, "model_dump", None)
    if callable(dump):
        return encode_json(dump(mode="json"))
    raise ArgsEncodeError(
        f"{type(args).__name__} is not a dataclass, msgspec struct or pydantic model and has no "
        "to_json()"
    )


def decode_args(args_type: type[T], encoded: str, *, kind: str) -> T:
    """The stored args as ``args_type``; unknown keys are ignored.

    Raises ``ArgsDecodeError``, and nothing else, for any stored text that does not fit.
    """
    try:
        value = json.loads(encoded)
        validate = getattr(args_type, "model_validate", None)
        if callable(validate):
            return typing.cast("T", validate(value))
        if hasattr(args_type, "__struct_fields__"):
            import msgspec

            return msgspec.convert(value, args_type)
        if dataclasses.is_dataclass(args_type):
            return typing.cast("T", _decode_dataclass(args_type, value, "$"))
        return args_type(**value)
    except (TypeError, ValueError, RecursionError, KeyError) as error:
        # The error's text may quote stored values, which may be private: only its type is told.
        reason = str(error) if isinstance(error, _MisfitError) else type(error).__name__
        raise ArgsDecodeError(kind, reason) from None


class _MisfitError(ValueError):
    """A value of the wrong type; the text names the place, never the value."""


def _decode_dataclass(target: type, value: Json, path: str) -> object:
    if not isinstance(value, dict):
        raise _MisfitError(f"{path} must be an object")
    hints = typing.get_type_hints(target)
    found = {}
    for field in dataclasses.fields(target):
        if not field.init:
            continue
        if field.name in value:
            found[field.name] = _decode(
                hints[field.name], value[field.name], f"{path}.{field.name}"
            )
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _MisfitError(f"{path}.{field.name} is missing")
    return target(**found)


def _decode(hint: Json, value: Json, path: str) -> object:
    origin: Json = typing.get_origin(hint)
    if hint is typing.Any or hint is object:
        return value
    if origin in (typing.Union, UnionType):
        return _decode_union(typing.get_args(hint), value, path)
    if origin in (list, tuple, set, frozenset):
        if not isinstance(value, list):
            raise _MisfitError(f"{path} must be an array")
        item = typing.get_args(hint)[0]
        return origin(_decode(item, each, f"{path}[{i}]") for i, each in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _MisfitError(f"{path} must be an object")
        item = typing.get_args(hint)[1]
        return {key: _decode(item, each, f"{path}.{key}") for key, each in value.items()}
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(typing.cast("type", hint), value, path)
    return _decode_scalar(hint, value, path)


def _decode_union(members: tuple[Json, ...], value: Json, path: str) -> object:
    if value is None and NoneType in members:
        return None
    for member in members:
        if member is NoneType:
            continue
        try:
            return _decode(member, value, path)
        except ValueError:
            continue
    raise _MisfitError(f"{path} has the wrong type")


def _decode_scalar(hint: Json, value: Json, path: str) -> object:
    try:
        if hint is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
        if hint is UUID and isinstance(value, str):
            return UUID(value)
        if hint is bytes and isinstance(value, str):
            return b64decode(value, validate=True)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(value)
    except ValueError:
        raise _MisfitError(f"{path} has the wrong form") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise _MisfitError(f"{path} has the wrong type")
