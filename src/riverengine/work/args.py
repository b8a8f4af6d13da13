"""Job args: any class with a ``kind``, encoded to JSON and decoded again.

Dataclasses are understood as they are; msgspec structs and pydantic models when these libraries are
installed; any other class may offer ``to_json()``.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from riverengine.types.errors import ArgsDecodeError, ArgsEncodeError
from riverengine.types.job import Json
from riverengine.work.decode import MisfitError, text_decoder
from riverengine.work.go_json import Fields, encode_json

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
        try:
            value = json.loads(text, object_pairs_hook=Fields)
        except (ValueError, RecursionError):
            raise ArgsEncodeError("to_json() must return JSON") from None
        return encode_json(value)
    if dataclasses.is_dataclass(args):
        return encode_json(args)
    if hasattr(type(args), "__struct_fields__"):
        return encode_json(args)
    dump = getattr(args, "model_dump", None)
    if callable(dump):
        return encode_json(_in_field_order(dump(mode="json"), args))
    raise ArgsEncodeError(
        f"{type(args).__name__} is not a dataclass, msgspec struct or pydantic model and has no "
        "to_json()"
    )


def _in_field_order(dumped: Json, original: object) -> Json:
    """What a pydantic model dumped, its models' members kept in their order, as a Go struct's.

    Only keys of mappings are sorted: both are dicts once they are dumped.
    """
    if isinstance(dumped, dict):
        infos: Mapping[str, Json] | None = getattr(type(original), "model_fields", None)
        if infos is None:
            members = original if isinstance(original, Mapping) else {}
            return {key: _in_field_order(each, members.get(key)) for key, each in dumped.items()}
        names: dict[str, str] = {
            info.serialization_alias or info.alias or name: name for name, info in infos.items()
        }
        return Fields(
            (key, _in_field_order(each, getattr(original, names.get(key) or key, None)))
            for key, each in dumped.items()
        )
    # A serializer of the model's own may have made something else of a list.
    if (
        isinstance(original, list | tuple)
        and isinstance(dumped, list)
        and len(dumped) == len(original)
    ):
        return [_in_field_order(each, of) for each, of in zip(dumped, original, strict=True)]
    return dumped


def decode_args(args_type: type[T], encoded: str, *, kind: str) -> T:
    """The stored args as ``args_type``; unknown keys are ignored.

    Raises ``ArgsDecodeError``, and nothing else, for any stored text that does not fit.
    """
    try:
        decode = text_decoder(args_type)  # type: ignore[arg-type] # every class can be hashed
        return typing.cast("T", decode(encoded))
    except (TypeError, ValueError, RecursionError, KeyError) as error:
        # The error's text may quote stored values, which may be private: only its type is told.
        reason = str(error) if isinstance(error, MisfitError) else type(error).__name__
        raise ArgsDecodeError(kind, reason) from None
