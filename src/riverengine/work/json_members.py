"""Takes a JSON object apart without changing the text of its values."""

from __future__ import annotations

import json
from json.decoder import scanstring  # type: ignore[attr-defined]

_VALUES = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds where values end, whatever numbers they hold."""


def object_members(text: str) -> list[tuple[str, str]]:
    """Names and the raw text of the values, in the order written, repeated names included.

    Raises ``ValueError`` for anything but a JSON object.
    """
    found: list[tuple[str, str]] = []
    try:
        at = _skip(text, 0)
        if text[at] != "{":
            raise ValueError("not a JSON object")
        at = _skip(text, at + 1)
        while text[at] != "}":
            name, at = scanstring(text, at + 1, False)
            start = _skip(text, _skip(text, at) + 1)
            _, end = _VALUES.raw_decode(text, start)
            found.append((name, text[start:end]))
            at = _skip(text, end)
            if text[at] == ",":
                at = _skip(text, at + 1)
    except (IndexError, RecursionError):
        raise ValueError("not a JSON object") from None
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
