"""Whether a queue is paused, and when subscribers hear of it.

Source: producer.go at v0.51.1, innerFetchLoop: control messages wait for the fetch under way.
"""

from __future__ import annotations

from riverengine.run.events import EventHub
from riverengine.types.event import Event, EventKind


class QueuePause:
    """The state of one queue's pause in one client.

    A pause holds at once, but is told only while no fetch is under way: who hears of it relies on
    no job being claimed afterwards.
    """

    def __init__(self, queue: str, events: EventHub) -> None:
        self.is_paused: bool = False
        self._queue = queue
        self._events = events
        self._untold: list[EventKind] = []

    def change(self, paused: bool) -> bool:
        """Take a pause or a resumption over; whether it changes anything, and is to be told."""
        if paused == self.is_paused:
            return False
        self.is_paused = paused
        self._untold.append(EventKind.QUEUE_PAUSED if paused else EventKind.QUEUE_RESUMED)
        return True

    def tell(self) -> None:
        """Publish what changed, in its order. Call it when no fetch is under way."""
        for kind in self._untold:
            self._events.publish(Event(kind=kind, queue=self._queue))
        self._untold.clear()
