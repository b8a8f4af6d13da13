"""Processes that work jobs for a client, and can be killed.

A job that is cancelled (at its timeout, from outside, by a stop) is sent SIGTERM, which raises
``asyncio.CancelledError`` in it; if it has not ended after a grace time, its process is killed with
everything it started. Beyond Go River, which cannot end work that ignores its cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from riverengine.run.process_child import serve
from riverengine.types.errors import (
    ConfigError,
)
from riverengine.types.work_errors import (
    WorkProcessDiedError,
    WorkProcessSendError,
)
from riverengine.work.process_task import ProcessResult, ProcessTask
from riverengine.work.registry import Workers

T = TypeVar("T")

_CLOSE_TIMEOUT = 2.0
_MAX_PROCESSES_TRIED = 3


def check_process_workers(workers: Workers) -> None:
    """Refuse workers that could not be sent to a process; raises ``ConfigError``."""
    for kind in workers.kinds():
        registered = workers.get(kind)
        if registered is None or not registered.in_process:
            continue
        try:
            pickle.dumps(registered.worker)
        except Exception as error:
            raise ConfigError(
                "workers",
                f"the worker of kind {kind!r} cannot be sent to a process "
                f"({type(error).__name__}): define it at the top of a module",
            ) from error


class _NotBegunError(Exception):
    """The process died before it began the work: another one may do it."""


class _Process:
    """One process and the way to talk to it."""

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            # Without effect when the server of this process runs already.
            context.set_forkserver_preload(["__main__", serve.__module__])
        self._tasks, tasks = context.Pipe()
        alive, self._alive = context.Pipe(duplex=False)
        self._process = context.Process(  # type: ignore[attr-defined]
            target=serve, args=(tasks, alive), name="riverengine:work", daemon=True
        )
        try:
            self._process.start()
        finally:
            tasks.close()
            alive.close()

    @property
    def is_alive(self) -> bool:
        return bool(self._process.is_alive())

    def exchange(self, payload: bytes) -> bytes:
        """Send a task and wait for its result.

        Raises ``_NotBegunError`` when the process died before the work began, ``EOFError`` or
        ``OSError`` when it died later.
        """
        try:
            self._tasks.send_bytes(payload)
            self._receive()
        except (EOFError, OSError) as error:
            raise _NotBegunError from error
        return self._receive()

    def _receive(self) -> bytes:
        # What the work started may hold the other end open, and outlive the process.
        ready = wait([self._tasks, self._process.sentinel])
        if self._tasks not in ready and not self._tasks.poll():
            raise EOFError
        return self._tasks.recv_bytes()

    def cancel(self) -> None:
        """Cancel the work under way."""
        if self.is_alive:
            self._process.terminate()

    def kill(self) -> None:
        """End the process and everything it started."""
        pid: int | None = self._process.pid
        if pid is not None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._process.kill()

    def close(self, timeout: float) -> int | None:
        """Let an idle process end, or a killed one be buried: its exit code."""
        for connection in (self._tasks, self._alive):
            _close(connection)
        self._process.join(timeout)
        if self._process.is_alive():
            self.kill()
            self._process.join()
        code: int | None = self._process.exitcode
        self._process.close()
        return code


def _close(connection: Connection) -> None:
    with contextlib.suppress(OSError):
        connection.close()


class ProcessPool:
    """At most ``limit`` processes; started when needed, used again, closed with the client."""

    def __init__(self, *, limit: int, grace: timedelta, logger: logging.Logger) -> None:
        """grace: how long a cancelled job may clean up before its process is killed."""
        self._grace = grace.total_seconds()
        self._logger = logger
        self._places = asyncio.Semaphore(limit)
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._is_closed = False
        # Each process is listened to by a thread; one more, to start and close them meanwhile.
        self._threads = ThreadPoolExecutor(limit + 1, thread_name_prefix="riverengine-process")

    async def run(self, task: ProcessTask, on_begin: Callable[[], None]) -> ProcessResult:
        """Work a job in a process.

        on_begin: called when a process is free for it.  Raises ``asyncio.CancelledError`` when the
        work was cancelled, ``WorkProcessDiedError`` when its process ended by itself,
        ``WorkProcessSendError`` when the job cannot be sent.
        """
        try:
            payload = pickle.dumps(task)
        except Exception as error:
            raise WorkProcessSendError(type(error).__name__) from error
        async with self._places:
            for tried in range(1, _MAX_PROCESSES_TRIED + 1):
                process = await self._free_process()
                if tried == 1:
                    on_begin()
                try:
                    answer = await self._worked(process, payload)
                except _NotBegunError:
                    if tried == _MAX_PROCESSES_TRIED:
                        raise WorkProcessDiedError(None) from None
                else:
                    break
        result: ProcessResult = pickle.loads(answer)  # noqa: S301 - of our own process
        return result

    async def close(self) -> None:
        """End all processes; those still at work are killed."""
        for process in self._busy:
            process.kill()
        await asyncio.gather(*(self._discard(process) for process in self._idle))
        self._idle.clear()
        self._is_closed = True
        self._threads.shutdown(wait=False)

    async def _free_process(self) -> _Process:
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            # It is dead: nothing is waited for here, where a cancellation must not be lost.
            process.close(0)
        starting = asyncio.get_running_loop().run_in_executor(self._threads, _Process)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await _insist(starting)
            if starting.exception() is None:
                self._idle.append(starting.result())
            raise
        return starting.result()

    async def _worked(self, process: _Process, payload: bytes) -> bytes:
        """What the process answers; it is ready for the next job then, or gone."""
        self._busy.add(process)
        answer = asyncio.get_running_loop().run_in_executor(
            self._threads, process.exchange, payload
        )
        was_cancelled = await self._answered(process, answer)
        death = answer.exception()
        if death is None and not was_cancelled:
            self._busy.discard(process)
            self._idle.append(process)
            return answer.result()
        # What the job started does not outlive it, even if it went quietly itself.
        process.kill()
        code = await self._discard(process)
        if death is None:
            return answer.result()
        task = asyncio.current_task()
        if was_cancelled or (task is not None and task.cancelling()):
            # The second: cancelled while the dead process was buried.
            raise asyncio.CancelledError
        if isinstance(death, _NotBegunError):
            raise death
        raise WorkProcessDiedError(code) from death

    async def _answered(self, process: _Process, answer: asyncio.Future[bytes]) -> bool:
        """Wait for the end of the work; whether it had to be cancelled.

        The process is killed if its cancellation does not help.
        """
        try:
            await asyncio.wait({answer})
        except asyncio.CancelledError:
            process.cancel()
            await _insist(answer, self._grace)
            if not answer.done():
                self._logger.warning("a work process ignores its cancellation; it is killed")
                process.kill()
                await _insist(answer)
            return True
        return False

    async def _discard(self, process: _Process) -> int | None:
        self._busy.discard(process)
        if self._is_closed:
            # A job that was abandoned: its process is dead, so this does not block.
            return process.close(_CLOSE_TIMEOUT)
        closing = asyncio.get_running_loop().run_in_executor(
            self._threads, process.close, _CLOSE_TIMEOUT
        )
        await _insist(closing)
        return closing.result()


async def _insist(future: asyncio.Future[T], seconds: float | None = None) -> None:
    """Wait for a future whatever happens to the waiting task, at most ``seconds``."""
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    while not future.done():
        left = None if deadline is None else deadline - loop.time()
        if left is not None and left <= 0:
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future}, timeout=left)
