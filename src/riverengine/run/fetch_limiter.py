"""How soon one fetch may follow another.

Source: producer.go at v0.51.1, whose fetches are a cooldown apart whatever they find. Here, for
speed, the cooldown follows in full only an announced fetch that found nothing: a poll that finds
nothing starts none, and after a fetch that found jobs the producer rests ten times as long as that
took, if this is shorter.
"""

from __future__ import annotations

from riverengine.run.clock import Clock

_REST = 10
"""A producer that finds jobs keeps a connection busy for a tenth of the time at most."""


class FetchLimiter:
    """Paces the fetches of one producer."""

    def __init__(self, cooldown: float, clock: Clock) -> None:
        """cooldown: seconds."""
        self._cooldown = cooldown
        self._clock = clock
        self._began = float("-inf")
        self._rests_until = float("-inf")

    def begin(self, *, announced: bool) -> None:
        """A fetch begins. announced: whether jobs were told of, or it is only a look."""
        self._began = self._clock.monotonic()
        if announced:
            self._rests_until = self._began + self._cooldown

    def end(self, *, found: bool) -> None:
        """The fetch came back. found: whether with jobs."""
        if found:
            took = self._clock.monotonic() - self._began
            self._rests_until = self._began + min(self._cooldown, _REST * took)

    def delay(self) -> float:
        """Seconds until the next fetch may begin."""
        return max(self._rests_until - self._clock.monotonic(), 0.0)
