"""Tells the other clients that this process lives, and holds its id.

Beyond River, whose jobs of a dead process wait an hour: every working client keeps a row of
``riverengine_client`` fresh, from a thread with an event loop and a connection of its own, so that
neither a blocked event loop nor a dead pool lets it look dead; while no such connection is to be
had, it beats over the pool. Whoever finds rows that are not refreshed takes the jobs back
(``dead_clients.py``).

A client named by its user holds the name by a lock of that connection as well. The lock is free the
moment its process is gone, so the next process of that name takes the jobs back at once. Where the
lock tells nothing, behind a pooler or after a machine vanished, the heartbeats decide.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

import asyncpg

from riverengine.queries.client import (
    Beat,
    Incarnation,
    client_beat,
    client_id_lock,
    client_last_heartbeat,
    client_register,
    client_remove,
)
from riverengine.queries.statement import Executor
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.database_errors import DATABASE_ERRORS
from riverengine.run.notifier import Connect
from riverengine.run.pooler import is_session_shared
from riverengine.run.take_back import take_back
from riverengine.types.errors import ConfigError

_CLAIM_PAUSE = 0.1
_RETRY_PAUSE = timedelta(seconds=1)
_LEAVE_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatTimings:
    """Durations; the defaults unless a test shortens them.

    interval: between two heartbeats.  timeout: of one.  dead_after: silence that proves a process
    dead; several heartbeats must fit in, with a reconnect.  look_interval: between two looks at the
    others.  lock_within: how long the session of a process that just died may linger.
    """

    interval: timedelta = timedelta(seconds=5)
    timeout: timedelta = timedelta(seconds=5)
    dead_after: timedelta = timedelta(seconds=25)
    look_interval: timedelta = timedelta(seconds=10)
    lock_within: timedelta = timedelta(seconds=8)


class HeartbeatState(StrEnum):
    """How a client's heartbeats stand.

    OFF: the table is missing, or the client is stopped.  BEATING: the last one was in time.  LATE:
    none reached the database for a while; other clients may take the jobs back.
    """

    OFF = "off"
    BEATING = "beating"
    LATE = "late"


class Heartbeat:
    """The heartbeats of one client, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        connect: Connect,
        *,
        schema: str | None,
        client_id: str,
        named: bool,
        has_table: bool,
        max_deaths: int,
        on_replaced: Callable[[], None],
        on_restored: Callable[[], None],
        logger: logging.Logger,
        timings: HeartbeatTimings | None = None,
        pool: BoundedPool | None = None,
    ) -> None:
        """named: whether the user chose the id, so that an earlier process had it too.

        has_table: whether ``riverengine_client`` exists; without it only the name is held.
        on_replaced: called when another process took the id.  on_restored: called when this one had
        been taken for dead, so that its jobs may have been given to others. Both are called on the
        event loop of :meth:`start`.  pool: what to beat over while ``connect`` fails.
        """
        self._connect = connect
        self._schema = schema
        self._named = named
        self._has_table = has_table
        self._max_deaths = max_deaths
        self._on_replaced = on_replaced
        self._on_restored = on_restored
        self._logger = logger
        self._timings = timings or HeartbeatTimings()
        self._pool = pool
        self._me = Incarnation(client_id, uuid4(), socket.gethostname(), os.getpid())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: asyncio.Event | None = None
        self._stopping = threading.Event()
        self._connection: asyncpg.Connection | None = None
        self._locked = False
        self._last_beat: float | None = None
        self._replaced = False
        self.started_at: datetime | None = None
        """Since when, by the database's clock, the id is this process's; None without the table."""
        self.errors: int = 0
        """Failed heartbeats, each tried again."""

    @property
    def predecessor_before(self) -> datetime | None:
        """Running jobs of this id begun before it are an earlier process's; None if none can be."""
        return self.started_at if self._named else None

    @property
    def state(self) -> HeartbeatState:
        """How the heartbeats stand."""
        if self._last_beat is None or not self._has_table or self._replaced:
            return HeartbeatState.OFF
        late = time.monotonic() - self._last_beat > self._timings.dead_after.total_seconds() / 2
        return HeartbeatState.LATE if late else HeartbeatState.BEATING

    async def start(self) -> None:
        """Take the id, and an earlier process's jobs; then go on beating in a thread.

        Raises ``ConfigError`` when another living process has the id, or what connecting raised.
        """
        if not self._has_table and not self._named:
            return
        self._stopping.clear()
        caller = asyncio.get_running_loop()
        ready: asyncio.Future[None] = caller.create_future()
        ended = self._ended = asyncio.Event()

        def tell(error: BaseException | None) -> None:
            if ready.done():
                return
            if error is None:
                ready.set_result(None)
            else:
                ready.set_exception(error)

        def work() -> None:
            try:
                asyncio.run(self._run(caller, tell))
            except asyncio.CancelledError:
                pass  # stopped while it was leaving anyway
            except Exception:
                self._logger.exception("the heartbeats ended")
            finally:
                with suppress(RuntimeError):  # the caller's loop may be closed already
                    caller.call_soon_threadsafe(ended.set)

        threading.Thread(target=work, name="riverengine:heartbeat", daemon=True).start()
        try:
            await ready
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Forget the process, release the id, end the thread; safe to call twice."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._stopping.set()
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with suppress(RuntimeError):  # it ended by itself
                loop.call_soon_threadsafe(task.cancel)
        await ended.wait()

    # In the thread

    async def _run(
        self,
        caller: asyncio.AbstractEventLoop,
        tell: Callable[[BaseException | None], None],
    ) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            try:
                if self._stopping.is_set():
                    raise asyncio.CancelledError
                limit = self._timings.dead_after + self._timings.lock_within
                async with asyncio.timeout((limit + 2 * self._timings.timeout).total_seconds()):
                    self._connection = await self._connect()
                    await self._take_id(self._connection)
            except BaseException as error:  # noqa: BLE001 - told to the caller of start
                caller.call_soon_threadsafe(tell, error)
                return
            self._last_beat = time.monotonic()
            caller.call_soon_threadsafe(tell, None)
            await self._keep_beating(caller)
            with suppress(RuntimeError):  # the caller's loop is closed
                caller.call_soon_threadsafe(self._on_replaced)
        except asyncio.CancelledError:
            pass  # stop() asked for it
        finally:
            self._last_beat = None
            await self._leave()

    async def _take_id(self, connection: asyncpg.Connection) -> None:
        if not self._named:
            await self._register(connection)
        elif await self._claim_name(connection):
            taken = await take_back(
                connection,
                schema=self._schema,
                client_id=self._me.client_id,
                before=self.started_at,
                max_deaths=self._max_deaths,
                logger=self._logger,
            )
            if taken.jobs:
                self._logger.warning(
                    "%d job(s) of an earlier process taken back, %d set aside",
                    *(len(taken.jobs), len(taken.set_aside)),
                )

    async def _claim_name(self, connection: asyncpg.Connection) -> bool:
        """Take the name; whether that proves an earlier process of this name to be gone.

        Raises ``ConfigError`` when it is not.
        """
        taken = ConfigError("id", f"another running client is named {self._me.client_id}")
        # Through a pooler the lock would be held by a stranger's session, and outlive this process.
        shared = await is_session_shared(connection)
        seen = await self._last_heartbeat(connection)
        began = time.monotonic()
        while True:
            if not shared and await self._lock(connection):
                await self._register(connection)
                return True
            waited = time.monotonic() - began
            if not self._has_table:
                if shared:
                    return False
                if waited > self._timings.lock_within.total_seconds():
                    raise taken
            else:
                latest = await self._last_heartbeat(connection)
                if latest is not None and latest != seen:
                    raise taken
                if (shared and seen is None) or waited > self._timings.dead_after.total_seconds():
                    if not await self._register(connection, unless_heard_since=seen):
                        raise taken
                    return True
            await asyncio.sleep(_CLAIM_PAUSE)

    async def _register(
        self, connection: asyncpg.Connection, *, unless_heard_since: datetime | None = None
    ) -> bool:
        if not self._has_table:
            return True
        self.started_at = await client_register(
            connection,
            schema=self._schema,
            incarnation=self._me,
            unless_heard_since=unless_heard_since,
        )
        return self.started_at is not None

    async def _last_heartbeat(self, connection: asyncpg.Connection) -> datetime | None:
        if not self._has_table:
            return None
        return await client_last_heartbeat(
            connection, schema=self._schema, client_id=self._me.client_id
        )

    async def _lock(self, connection: asyncpg.Connection) -> bool:
        return await client_id_lock(connection, schema=self._schema, client_id=self._me.client_id)

    async def _keep_beating(self, caller: asyncio.AbstractEventLoop) -> None:
        """Beat until cancelled or replaced."""
        pause = self._timings.interval
        while not self._replaced:
            await asyncio.sleep(pause.total_seconds())
            pause = self._timings.interval
            try:
                async with asyncio.timeout(self._timings.timeout.total_seconds()):
                    if self._connection is None:
                        self._connection = await self._connect()
                    found = await self._beat(self._connection)
                self._heard(found, caller)
            except Exception as error:
                # Dropped without a farewell: a dead link would hold up the next heartbeat.
                self._drop_connection()
                self.errors += 1
                pause = min(pause, _RETRY_PAUSE)
                if isinstance(error, DATABASE_ERRORS):
                    self._logger.warning("a heartbeat failed: %s", type(error).__name__)
                else:
                    self._logger.exception("a heartbeat failed")
                await self._beat_over_pool(caller)

    async def _beat_over_pool(self, caller: asyncio.AbstractEventLoop) -> None:
        """Beat as the client's other statements do, as long as there is no better way."""
        if self._pool is None:
            return
        told = self._tell(self._pool)
        try:
            beat = asyncio.run_coroutine_threadsafe(told, caller)
        except RuntimeError:  # the caller's loop is closed
            told.close()
            return
        try:
            async with asyncio.timeout(self._timings.timeout.total_seconds()):
                self._heard(await asyncio.wrap_future(beat), caller)
        except DATABASE_ERRORS as error:
            self._logger.warning("a heartbeat over the pool failed: %s", type(error).__name__)

    def _heard(self, found: Beat, caller: asyncio.AbstractEventLoop) -> None:
        self._last_beat = time.monotonic()
        self._replaced = found is Beat.REPLACED
        if found is Beat.RESTORED:
            self._logger.warning(
                "client %s had been taken for dead: its jobs may run elsewhere too",
                self._me.client_id,
            )
            caller.call_soon_threadsafe(self._on_restored)

    async def _beat(self, connection: asyncpg.Connection) -> Beat:
        if self._named and not await is_session_shared(connection):
            # After a reconnect the lost session may still hold the name for a while.
            self._locked = self._locked or await self._lock(connection)
        return await self._tell(connection)

    async def _tell(self, db: Executor) -> Beat:
        if self.started_at is None:
            return Beat.KEPT
        return await client_beat(
            db, schema=self._schema, incarnation=self._me, started_at=self.started_at
        )

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._locked = False
        if connection is not None:
            connection.terminate()

    async def _leave(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                if self.started_at is not None:
                    await client_remove(connection, schema=self._schema, incarnation=self._me)
                await connection.close()
        except DATABASE_ERRORS as error:
            self._logger.debug("leaving failed: %s", type(error).__name__)
        finally:
            self.started_at = None
            self._drop_connection()
