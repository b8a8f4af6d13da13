"""How a method of the contract is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import Members
from riverengine.types.job import Json

Handler = Callable[[Session, Call], Awaitable[Json]]
"""Runs a method whose parameters were checked, and returns its result."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name, the parameters it takes, what it does.

    reads: it changes nothing, so it is run again when a connection of the pool was dead.
    """

    name: str
    params: Members
    run: Handler
    reads: bool = False


NOTHING: dict[str, Json] = {}
"""The result of methods that tell nothing."""
