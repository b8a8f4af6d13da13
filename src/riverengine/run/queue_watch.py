"""Hears what others do to one queue and its jobs: by notification, and by looking again.

Source: producer.go at v0.51.1 (protocol 5.2): a notification can be lost, the row cannot.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping
from datetime import timedelta

from riverengine.queries.job_fetch import job_get_cancel_requested, job_get_held
from riverengine.queries.notification import TOPIC_CONTROL, TOPIC_INSERT
from riverengine.queries.queue import queue_get, queue_upsert
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.executor import CancelCause, Executor
from riverengine.run.notifier import Notifier, TopicSubscription
from riverengine.run.test_signal import TestSignal
from riverengine.types.job import JobId

TIMEOUT = 10.0
"""Seconds a statement of a producer may take."""

_HEARTBEAT = timedelta(minutes=10)
_RECHECK_LISTENING = timedelta(seconds=60)
_RECHECK_POLLING = timedelta(seconds=2)
_CANCEL_CHUNK = 1_000
_PAUSE = 1.0


class QueueWatch:
    """Tells a producer of new jobs, cancellations, pauses and resumptions."""

    def __init__(
        self,
        pool: BoundedPool,
        *,
        queue: str,
        schema: str | None,
        notifier: Notifier | None,
        active: Mapping[JobId, Executor],
        on_insert: Callable[[], None],
        on_cancel: Callable[[int], None],
        on_paused: Callable[[bool], None],
        logger: logging.Logger,
        recheck_interval: timedelta | None,
    ) -> None:
        """active: the producer's running jobs, looked at live.  recheck_interval: None for
        River's."""
        self._pool = pool
        self._queue = queue
        self._schema = schema
        self._notifier = notifier
        self._active = active
        self._on_insert = on_insert
        self._on_cancel = on_cancel
        self._on_paused = on_paused
        self._logger = logger
        self._recheck = recheck_interval or (
            _RECHECK_POLLING if notifier is None else _RECHECK_LISTENING
        )
        self._losses_suspected = asyncio.Event()
        self._pauses_heard = 0
        self.signal_rechecked: TestSignal[int] = TestSignal()

    def listen(self) -> list[TopicSubscription]:
        """Subscribe to the queue's notifications; the caller closes the subscriptions."""
        if self._notifier is None:
            return []
        return [
            self._notifier.subscribe(TOPIC_INSERT, self._hear_insert),
            self._notifier.subscribe(TOPIC_CONTROL, self._hear_control),
        ]

    async def recheck_loop(self) -> None:
        """Look for missed messages until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._recheck.total_seconds()):
                    await self._losses_suspected.wait()
            except TimeoutError:
                pass  # nobody asked; it is time to look
            try:
                if self._losses_suspected.is_set():
                    await self._cancel_lost()
                    self._losses_suspected.clear()
                await self._recheck_cancels()
                heard = self._pauses_heard
                row = await queue_get(self._pool, schema=self._schema, name=self._queue)
                if heard == self._pauses_heard:
                    # Else the row may be older than what was heard meanwhile.
                    self._on_paused(row.paused_at is not None)
            except LookupError:
                self._logger.warning("queue %s has no row; the heartbeat restores it", self._queue)
            except DATABASE_ERRORS as error:
                self._failed("looking after", error)
                await asyncio.sleep(_PAUSE)

    def suspect_losses(self) -> None:
        """Look at once which running jobs were given to others, and cancel those."""
        self._losses_suspected.set()

    async def heartbeat_loop(self) -> None:
        """Keep the queue's row fresh until cancelled, or the leader would delete it."""
        await asyncio.sleep(random.uniform(0, 1))
        while True:
            await asyncio.sleep(_HEARTBEAT.total_seconds())
            try:
                await queue_upsert(
                    self._pool, schema=self._schema, name=self._queue, timeout=TIMEOUT
                )
            except DATABASE_ERRORS as error:
                self._failed("the heartbeat of", error)

    async def _recheck_cancels(self) -> None:
        # The executions of this moment are cancelled, not what may run under an id afterwards.
        snapshot = dict(self._active)
        ids = sorted(snapshot)
        for start in range(0, len(ids), _CANCEL_CHUNK):
            found = await job_get_cancel_requested(
                self._pool,
                schema=self._schema,
                ids=ids[start : start + _CANCEL_CHUNK],
                timeout=TIMEOUT,
            )
            for job_id in found:
                snapshot[job_id].cancel(CancelCause.REMOTE)
        self.signal_rechecked.fire(len(ids))

    async def _cancel_lost(self) -> None:
        # What they still do would be done twice; their outcomes do not count any more.
        snapshot = dict(self._active)
        held = await job_get_held(
            self._pool,
            schema=self._schema,
            ids=list(snapshot),
            attempted_at=[executor.attempted_at for executor in snapshot.values()],
            timeout=TIMEOUT,
        )
        lost = [executor for job_id, executor in snapshot.items() if job_id not in held]
        for executor in lost:
            executor.cancel(CancelCause.REMOTE)
        if lost:
            self._logger.warning(
                "%d running job(s) of queue %s were given to others, and are cancelled here",
                *(len(lost), self._queue),
            )

    def _hear_insert(self, payload: str) -> None:
        if self._parse(payload).get("queue") == self._queue:
            self._on_insert()

    def _hear_control(self, payload: str) -> None:
        message = self._parse(payload)
        if message.get("queue") not in (self._queue, "*"):
            return
        match message.get("action"):
            case "pause" | "resume" as action:
                self._pauses_heard += 1
                self._on_paused(action == "pause")
            case "cancel":
                job_id = message.get("job_id")
                if isinstance(job_id, int):
                    self._on_cancel(job_id)

    def _parse(self, payload: str) -> dict[str, object]:
        try:
            message = json.loads(payload)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._logger.warning("a notification that is not a JSON object was ignored")
            return {}
        return message

    def _failed(self, what: str, error: Exception) -> None:
        self._logger.warning("%s queue %s failed: %s", what, self._queue, type(error).__name__)
