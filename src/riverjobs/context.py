"""A workflow's context: a JSON object, grown by what each step returns."""

from __future__ import annotations

import json
from collections.abc import Mapping

from riverengine import ArgsEncodeError, Json
from riverengine.work.go_json import encode_json
from riverjobs.errors import ContextTooLargeError, ContextValueError

MAX_CONTEXT_BYTES = 1024 * 1024
"""Largest context, as JSON text, unless an orchestrator is told otherwise."""


def checked_object(value: object, *, what: str) -> dict[str, Json]:
    """``value`` as a plain JSON object, copied.

    what: names the value in errors.  Raises ``ContextValueError`` with the path of what JSON or
    PostgreSQL cannot hold: NaN, NUL characters, bytes, unknown types, names that are not text.
    """
    if not isinstance(value, Mapping):
        raise ContextValueError(f"must be an object, not {type(value).__name__}", path=what)
    try:
        copied: dict[str, Json] = json.loads(encode_json(value, what))
    except ArgsEncodeError as error:
        raise ContextValueError(error.reason, path=error.path or what) from None
    _refuse_bytes(value, what)
    return copied


def merged(
    context: Mapping[str, Json], output: Mapping[str, Json], *, limit: int = MAX_CONTEXT_BYTES
) -> dict[str, Json]:
    """The context with ``output`` merged in at top level; raises ``ContextTooLargeError``."""
    result = {**context, **output}
    check_size(result, limit)
    return result


def check_size(context: Mapping[str, Json], limit: int = MAX_CONTEXT_BYTES) -> None:
    """Refuse a context above ``limit`` bytes of JSON text; raises ``ContextTooLargeError``."""
    size = len(json.dumps(context, ensure_ascii=False, separators=(",", ":")).encode())
    if size > limit:
        raise ContextTooLargeError(size, limit)


def _refuse_bytes(value: object, path: str) -> None:
    # River's own encoding would turn bytes into base64, as Go does; a context must not guess.
    if isinstance(value, bytes | bytearray):
        raise ContextValueError("bytes are not a JSON value", path=path)
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_bytes(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_bytes(item, f"{path}[{index}]")
