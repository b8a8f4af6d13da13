"""Job args: any class with a ``kind``, encoded to JSON and decoded again.

Dataclasses are understood as they are; msgspec structs and pydantic models when these libraries are
installed; any other class may offer ``to_json()``.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from riverengine.types.errors import ArgsDecodeError, ArgsEncodeError
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
        decode = text_decoder(args_type)  # type: ignore[arg-type] # every class can be hashed
        return typing.cast("T", decode(encoded))
    except (TypeError, ValueError, RecursionError, KeyError) as error:
        # The error's text may quote stored values, which may be private: only its type is told.
        reason = str(error) if isinstance(error, MisfitError) else type(error).__name__
        raise ArgsDecodeError(kind, reason) from None
