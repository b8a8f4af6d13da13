"""Points in production code that tests can wait for; free of cost until a test arms them."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class TestSignal(Generic[T]):
    """A no-op until :meth:`arm`; afterwards every :meth:`fire` can be awaited, in order."""

    __test__ = False  # not a pytest class

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: asyncio.Queue[T] | None = None

    def arm(self) -> None:
        """Start keeping fired values."""
        self._values = asyncio.Queue()

    def fire(self, value: T) -> None:
        """Report that the point was reached."""
        if self._values is not None:
            self._values.put_nowait(value)

    async def wait(self, timeout: float = 20.0) -> T:
        """The next value fired since :meth:`arm`.

        timeout: seconds; raises ``TimeoutError``.
        """
        if self._values is None:
            raise RuntimeError("arm() the signal before waiting for it")
        return await asyncio.wait_for(self._values.get(), timeout)
