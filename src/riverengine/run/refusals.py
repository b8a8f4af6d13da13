"""What PostgreSQL's refusal of a statement says: this row never, anything later, or neither."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import asyncpg

Item = TypeVar("Item")
Result = TypeVar("Result")

_NEVER = frozenset({"22", "23", "44", "54", "P0"})
"""SQLSTATE classes of a row's values, of constraints, and of what triggers raise."""

_LATER = frozenset({"08", "25", "26", "28", "3D", "40", "53", "55", "57", "58", "72"})
"""Classes of connections, of races, locks and limits, of a server that starts, stops or follows."""

TRIES = 10
"""Refusals that say neither, after which an outcome is given up: a minute and a half."""

_LONGEST_PAUSE = 16.0
_LONGEST_PAUSE_AT_END = 1.0

SEARCH_SECONDS = 5.0
"""How long to look for the rows that are refused; a later call reaches others."""


class Verdict(Enum):
    """Whose fault it is: NEVER the row's, LATER the server's, UNKNOWN where nothing tells.

    Class 42 is UNKNOWN: a privilege or a column that is missing refuses one row, where a trigger
    needs it, or all of them until somebody mends it.
    """

    NEVER = "never"
    LATER = "later"
    UNKNOWN = "unknown"


def verdict_of(error: Exception) -> Verdict:
    """The verdict of a statement's error; an error of the connection says nothing of the rows."""
    state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    if state is None or state[:2] in _LATER:
        return Verdict.LATER
    return Verdict.NEVER if state[:2] in _NEVER else Verdict.UNKNOWN


async def by_halves(
    items: Sequence[Item], change: Callable[[Sequence[Item]], Awaitable[Result]]
) -> tuple[list[Result], list[tuple[Item, asyncpg.PostgresError]]]:
    """Change rows by one statement, or by several so that none that is refused stops the others.

    Returns what the statements returned, and which items are refused alone, with the error. What
    was not reached in ``SEARCH_SECONDS`` is in neither.  An error that is no row's is raised.
    """
    results: list[Result] = []
    refused: list[tuple[Item, asyncpg.PostgresError]] = []
    # In no order: of thousands every call would look at the same ones, and none at the rest.
    parts: list[Sequence[Item]] = [random.sample(items, len(items))] if items else []
    clock = asyncio.get_running_loop().time
    until = clock() + SEARCH_SECONDS
    while parts and clock() < until:
        part = parts.pop()
        try:
            results.append(await change(part))
        except asyncpg.PostgresError as error:
            if verdict_of(error) is Verdict.LATER:
                raise
            if len(part) == 1:
                refused.append((part[0], error))
                continue
            half = len(part) // 2
            parts += [part[half:], part[:half]]
    return results, refused


@dataclass(slots=True)
class Suspicion:
    """An outcome that PostgreSQL refused while it stood alone, for an unknown reason.

    tries: how often.  refusals: those of them that count.  written: batches of the completer's
    that were written before the last one.  due: when it is tried again, on the loop's clock.
    """

    tries: int = 0
    refusals: int = 0
    written: int = 0
    due: float = 0.0

    def refused(self, *, written: int, ending: bool, now: float, scale: float) -> bool:
        """Note a try; returns whether it was the last.

        written: batches written so far. A try counts when another outcome was written since the one
        before: where nothing can be written, nothing says that it is this outcome's fault.  ending:
        the client stops, every try counts, and the pauses are short.  scale: factor on the pause
        until the next try.
        """
        if ending or not self.tries or written > self.written:
            self.refusals += 1
        self.tries += 1
        self.written = written
        longest = _LONGEST_PAUSE_AT_END if ending else _LONGEST_PAUSE
        self.due = now + scale * min(2.0 ** (self.tries - 1), longest)
        return self.refusals >= TRIES
