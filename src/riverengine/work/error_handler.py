"""Hears of every failed attempt, and may end the job for good."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from riverengine.types.job import JobRow


@dataclass(frozen=True, slots=True)
class ErrorHandlerResult:
    """What the handler decides. set_cancelled: never run the job again, whatever is left."""

    set_cancelled: bool = False


class ErrorHandler(Protocol):
    """Called after each attempt that failed: not for cancellations, snoozes and stops.

    Source: error_handler.go at v0.51.1. Python's exceptions are Go's errors and panics in one:
    ``error.__traceback__`` is what Go's HandlePanic is given as a trace. It is called outside of
    hooks and middleware, with what is left of the error after them.
    """

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        """Report the error; None lets the retry policy decide.

        What this raises is logged and changes nothing.
        """


@dataclass(frozen=True, slots=True)
class ErrorHandlerFunc:
    """A function, plain or async, as :class:`ErrorHandler`; plain ones must not block."""

    function: Callable[
        [JobRow, BaseException], ErrorHandlerResult | Awaitable[ErrorHandlerResult | None] | None
    ]

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        """Call the function."""
        result = self.function(job, error)
        return await result if inspect.isawaitable(result) else result
