"""Cuts JSON text into its parts without decoding them: numbers keep every digit."""

from __future__ import annotations

import json

_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds where values end, whatever numbers they hold."""


def object_members(text: str) -> dict[str, str]:
    """The members of a JSON object, each as the text it is stored as; none of other values."""
    members: dict[str, str] = {}
    if not text.startswith("{"):
        return members
    at = _behind(text, 0, "{")
    while text[at] != "}":
        name, end = _SCANNER.raw_decode(text, at)
        start = _behind(text, end, ":")
        _, end = _SCANNER.raw_decode(text, start)
        members[name] = text[start:end]
        at = _behind(text, end, ",")
    return members


def array_elements(text: str) -> list[tuple[int, int]]:
    """Begin and end of each element of a JSON array; none of other values."""
    elements: list[tuple[int, int]] = []
    if not text.startswith("["):
        return elements
    at = _behind(text, 0, "[")
    while text[at] != "]":
        _, end = _SCANNER.raw_decode(text, at)
        elements.append((at, end))
        at = _behind(text, end, ",")
    return elements


def _behind(text: str, at: int, mark: str) -> int:
    """The place of the first character behind blanks and one mark, if it is there."""
    while text[at].isspace():
        at += 1
    if text[at] == mark:
        at += 1
    while text[at].isspace():
        at += 1
    return at
