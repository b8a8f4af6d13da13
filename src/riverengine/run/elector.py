"""Elects one leader among the clients of a database.

The leader runs the maintenance services. Source: internal/leadership/elector.go at v0.51.1. Two
clients can believe in their leadership at once for a moment (``river_leader`` is empty after a
crash of PostgreSQL), so leadership saves work; it never guards a row.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from riverengine.queries.leader import (
    TOPIC_LEADERSHIP,
    leader_attempt_elect,
    leader_attempt_reelect,
    leader_resign,
)
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import Clock, SystemClock
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.service import Service, backoff
from riverengine.run.test_signal import TestSignal
from riverengine.types.queue import Leader

T = TypeVar("T")

_RESIGN_TIMEOUTS = (1.0, 2.0, 3.0)


class Closable(Protocol):
    """A subscription to a notification topic."""

    def close(self) -> None:
        """End the subscription."""


class LeadershipNotifier(Protocol):
    """What the elector needs of :class:`riverengine.run.notifier.Notifier`."""

    def subscribe(self, topic: str, callback: Callable[[str], None], /) -> Closable:
        """Call ``callback`` with the payload of every notification of ``topic``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectorTimings:
    """Durations of an election; River's unless a test shortens them.

    interval: between two elections or prolongations.  jitter: added at random to a follower's
    interval.  wake_jitter: random pause after a resignation.  ttl: how long a term lasts without
    prolongation.  safety_margin: how much earlier than ``ttl`` the leader stops trusting its term.
    timeout: per attempt.  retry_scale: factor on the pauses after database errors.
    """

    interval: timedelta = timedelta(seconds=5)
    jitter: timedelta = timedelta(seconds=1)
    wake_jitter: timedelta = timedelta(milliseconds=50)
    ttl: timedelta = timedelta(seconds=15)
    safety_margin: timedelta = timedelta(seconds=1)
    timeout: timedelta = timedelta(seconds=5)
    retry_scale: float = 1.0

    @property
    def trust(self) -> float:
        """Seconds a term is trusted, from the start of the attempt that won or prolonged it."""
        return (self.ttl - self.safety_margin).total_seconds()


class LeadershipSubscription:
    """Callbacks on gaining and losing leadership, until :meth:`close`."""

    def __init__(
        self,
        elector: Elector,
        on_gained: Callable[[Leader], None],
        on_lost: Callable[[Leader], None],
    ) -> None:
        self._elector = elector
        self.on_gained = on_gained
        self.on_lost = on_lost

    def close(self) -> None:
        """End the subscription; safe to call twice."""
        self._elector.unsubscribe(self)


class Elector(Service):
    """Takes part in the election until stopped; resigns at the end."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        schema: str | None,
        client_id: str,
        notifier: LeadershipNotifier | None = None,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
        timings: ElectorTimings | None = None,
    ) -> None:
        """notifier: None where nothing can be listened to; a resignation is then seen late."""
        super().__init__("elector", logger)
        self._pool = pool
        self._schema = schema
        self._client_id = client_id
        self._notifier = notifier
        self._clock: Clock = clock or SystemClock()
        self._timings = timings or ElectorTimings()
        self._term: Leader | None = None
        self._trusted_until = 0.0
        self._subscriptions: list[LeadershipSubscription] = []
        self._wake = asyncio.Event()
        self._resign_requested = asyncio.Event()
        self._abandoned: set[asyncio.Task[object]] = set()
        self._late: tuple[Leader, float] | None = None
        self.errors: int = 0
        """Failed statements since the start, for metrics."""
        self.signal_denied: TestSignal[None] = TestSignal()
        self.signal_gained: TestSignal[Leader] = TestSignal()
        self.signal_reelected: TestSignal[Leader] = TestSignal()
        self.signal_lost: TestSignal[Leader] = TestSignal()
        self.signal_resigned: TestSignal[bool] = TestSignal()
        self.signal_error: TestSignal[Exception] = TestSignal()

    @property
    def is_leader(self) -> bool:
        """Whether this client leads and its term may still be trusted."""
        return self.term is not None

    @property
    def term(self) -> Leader | None:
        """The trusted term, or None."""
        return self._term if self._remaining() > 0 else None

    def subscribe(
        self, on_gained: Callable[[Leader], None], on_lost: Callable[[Leader], None]
    ) -> LeadershipSubscription:
        """Call back on every change, and at once if this client leads already.

        The callbacks run in the elector's task: they must not block, and must not raise.
        """
        subscription = LeadershipSubscription(self, on_gained, on_lost)
        self._subscriptions.append(subscription)
        term = self.term
        if term is not None:
            self._call(on_gained, term)
        return subscription

    def unsubscribe(self, subscription: LeadershipSubscription) -> None:
        """End a subscription; unknown ones are ignored."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def request_resign(self, term: Leader | None = None) -> None:
        """Make the leader resign and compete again; nothing happens on a follower.

        term: resign only this term; a later one is not touched.
        """
        if self._term is None or (term is not None and not _same_term(term, self._term)):
            return
        self._resign_requested.set()

    async def run(self) -> None:
        """Compete, lead, compete again."""
        subscription = (
            self._notifier.subscribe(TOPIC_LEADERSHIP, self._on_notification)
            if self._notifier is not None
            else None
        )
        self.started.set()
        try:
            while True:
                await self._follow()
                await self._lead()
        finally:
            if subscription is not None:
                subscription.close()
            if self._term is not None:
                term = self._step_down("stopping")
                await self._resign(term)
            for task in self._abandoned:
                if not task.cancelling():
                    task.cancel()
            if self._abandoned:
                await asyncio.wait(self._abandoned, timeout=1.0)
            late, self._late = self._late, None
            if late is not None:
                await self._resign(late[0])

    async def _follow(self) -> None:
        failures = 0
        while self._term is None:
            self._wake.clear()
            late, self._late = self._late, None
            if late is not None:
                self._gain(*late)
                return
            try:
                term, started = await self._attempt()
            except DATABASE_ERRORS as error:
                failures += 1
                self._failed("election", error)
                pause = backoff(failures).total_seconds() * self._timings.retry_scale
                await _wait(self._wake, pause)
                continue
            failures = 0
            if term is None:
                self.signal_denied.fire(None)
                await self._wait_as_follower()
                continue
            self._gain(term, started)

    async def _attempt(self) -> tuple[Leader | None, float]:
        """The term won, if any, and when the attempt began; raises what it failed with."""
        started = self._clock.monotonic()
        attempt = asyncio.ensure_future(
            leader_attempt_elect(
                self._pool,
                schema=self._schema,
                leader_id=self._client_id,
                ttl=self._timings.ttl,
            )
        )
        try:
            done, _ = await asyncio.wait({attempt}, timeout=self._timings.timeout.total_seconds())
        except BaseException:
            self._abandon(attempt)
            raise
        if done:
            return attempt.result(), started
        # Its cancellation may reach PostgreSQL too late: the term it won would be served by nobody.
        self._abandoned.add(attempt)
        attempt.add_done_callback(lambda _: self._came_late(attempt, started))
        raise TimeoutError("no answer in time")

    def _came_late(self, attempt: asyncio.Task[Leader | None], started: float) -> None:
        self._forget(attempt)
        if self._term is None and not attempt.cancelled() and attempt.exception() is None:
            term = attempt.result()
            if term is not None:
                self._late = (term, started)
                self._wake.set()

    async def _wait_as_follower(self) -> None:
        pause = self._timings.interval + random.random() * self._timings.jitter
        if await _wait(self._wake, pause.total_seconds()):
            await asyncio.sleep(random.random() * self._timings.wake_jitter.total_seconds())

    async def _lead(self) -> None:
        """Prolong the term until it is lost."""
        failures = 0
        pause = self._timings.interval.total_seconds()
        while (term := self._term) is not None:
            if await _wait(self._resign_requested, max(0.0, min(pause, self._remaining()))):
                await self._resign(self._step_down("asked to resign"))
                return
            remaining = self._remaining()
            if remaining <= 0:
                await self._resign(self._step_down("the term could not be prolonged in time"))
                return
            started = self._clock.monotonic()
            try:
                renewed = await self._bounded(
                    leader_attempt_reelect(
                        self._pool, schema=self._schema, term=term, ttl=self._timings.ttl
                    ),
                    min(self._timings.timeout.total_seconds(), remaining),
                )
            except DATABASE_ERRORS as error:
                failures += 1
                self._failed("re-election", error)
                scale = self._timings.retry_scale
                pause = backoff(failures, max_exponent=2).total_seconds() * scale
                continue
            failures = 0
            pause = self._timings.interval.total_seconds()
            if renewed is None:
                self._step_down("another term replaced ours")
                return
            self._trusted_until = started + self._timings.trust
            self.signal_reelected.fire(renewed)

    def _gain(self, term: Leader, started: float) -> None:
        self._resign_requested.clear()
        self._late = None
        self._term = term
        self._trusted_until = started + self._timings.trust
        self.logger.info("%s gained leadership", self._client_id)
        for subscription in tuple(self._subscriptions):
            self._call(subscription.on_gained, term)
        self.signal_gained.fire(term)

    def _step_down(self, reason: str) -> Leader:
        term, self._term = self._term, None
        assert term is not None
        self._trusted_until = 0.0
        self.logger.info("%s lost leadership: %s", self._client_id, reason)
        for subscription in tuple(self._subscriptions):
            self._call(subscription.on_lost, term)
        self.signal_lost.fire(term)
        return term

    async def _resign(self, term: Leader) -> None:
        for timeout in _RESIGN_TIMEOUTS:
            try:
                resigned = await self._bounded(
                    leader_resign(self._pool, schema=self._schema, term=term), timeout
                )
            except DATABASE_ERRORS as error:
                self._failed("resignation", error)
                continue
            self.signal_resigned.fire(resigned)
            return
        self.logger.warning("%s could not resign; its term ends by itself", self._client_id)

    async def _bounded(self, attempt: Coroutine[object, object, T], timeout: float) -> T:
        """The attempt's result within ``timeout`` seconds, or ``TimeoutError``.

        An attempt on a dead link can take minutes to be cancelled; the term does not wait for it.
        """
        task = asyncio.ensure_future(attempt)
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout)
            if done:
                return task.result()
        except BaseException:
            self._abandon(task)
            raise
        self._abandon(task)
        raise TimeoutError(f"no answer within {timeout:.1f} s")

    def _abandon(self, task: asyncio.Task[T]) -> None:
        if task.done():
            return
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[T]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.logger.debug("an abandoned attempt ended: %s", type(error).__name__)

    def _failed(self, what: str, error: Exception) -> None:
        self.errors += 1
        self.logger.warning("%s: %s failed: %s", self._client_id, what, type(error).__name__)
        self.signal_error.fire(error)

    def _remaining(self) -> float:
        return self._trusted_until - self._clock.monotonic()

    def _call(self, callback: Callable[[Leader], None], term: Leader) -> None:
        try:
            callback(term)
        except Exception:
            self.logger.exception("a leadership callback failed")

    def _on_notification(self, payload: str) -> None:
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            self.logger.warning("a leadership notification is not JSON")
            return
        if not isinstance(message, dict):
            self.logger.warning("a leadership notification is not a JSON object")
            return
        match message.get("action"):
            case "resigned" if message.get("leader_id") != self._client_id:
                self._wake.set()
            case "request_resign":
                self.request_resign()
            case _:
                pass  # unknown actions belong to later releases


def _same_term(one: Leader, other: Leader) -> bool:
    return one.leader_id == other.leader_id and one.elected_at == other.elected_at


async def _wait(event: asyncio.Event, timeout: float) -> bool:
    """Whether the event was set within ``timeout`` seconds."""
    if event.is_set():
        return True
    try:
        # Not wait_for: on Python 3.11 it can swallow a cancellation that meets the event.
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True
