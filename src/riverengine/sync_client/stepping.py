"""Runs the asynchronous client's code from synchronous code, without an event loop.

Every ``await`` of that code ends at a driver's adapter, and a synchronous library's adapter never
suspends: such a coroutine runs from its start to its end in one step.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from riverengine.types.errors import ConfigError

T = TypeVar("T")


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result.

    Raises ``ConfigError`` when it suspends, which only hooks and middleware can do; what it
    had begun is rolled back.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise ConfigError(
        "middleware",
        "a synchronous client cannot wait: its hooks and middleware must await nothing but next_()",
    )
