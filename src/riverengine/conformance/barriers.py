"""Barriers: places where jobs, or a claim, wait until the harness lets them go on."""

from __future__ import annotations

import asyncio

from riverengine.conformance.errors import MissingError, RejectedError


class Barriers:
    """The barriers of one adapter process, by name."""

    def __init__(self) -> None:
        self._barriers: dict[str, asyncio.Event] = {}

    def create(self, name: str) -> None:
        """Raise a barrier; one that was released may be raised again."""
        if self.is_up(name):
            raise RejectedError(f"barrier {name!r} exists already")
        self._barriers[name] = asyncio.Event()

    def release(self, name: str) -> None:
        """Let pass whoever waits, and whoever comes later."""
        if not self.is_up(name):
            raise MissingError(f"there is no barrier {name!r}")
        self._barriers[name].set()

    def is_up(self, name: str) -> bool:
        """Whether the barrier was raised and not released."""
        found = self._barriers.get(name)
        return found is not None and not found.is_set()

    async def wait(self, name: str) -> None:
        """Return when the barrier is released; raises ``LookupError`` for one never raised."""
        found = self._barriers.get(name)
        if found is None:
            raise LookupError(name)
        await found.wait()


class ClaimGate:
    """Holds back the jobs of one claim, while the client goes on receiving notifications."""

    def __init__(self, barriers: Barriers) -> None:
        self._barriers = barriers
        self._barrier: str | None = None
        self._stopping = asyncio.Event()

    @property
    def is_armed(self) -> bool:
        """Whether a claim is to be held."""
        return self._barrier is not None

    def arm(self, barrier: str) -> None:
        """Hold the next claim that returns jobs until the barrier is released."""
        self._barrier = barrier
        self._stopping = asyncio.Event()

    def open(self) -> None:
        """Let a held claim go on: the client stops."""
        self._barrier = None
        self._stopping.set()

    async def hold(self) -> None:
        """Called with every claim that returned jobs."""
        barrier, self._barrier = self._barrier, None
        if barrier is None:
            return
        waits = [
            asyncio.ensure_future(self._barriers.wait(barrier)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
