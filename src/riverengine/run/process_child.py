"""The inside of a work process: works one job after the other, as it is told.

SIGTERM cancels the job: ``asyncio.CancelledError`` is raised in it. The process ends with its
client, even when that is killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import os
import pickle
import signal
import sys
import threading
from collections.abc import Coroutine
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from types import FrameType

from riverengine.work.context import WorkContext, enter_work
from riverengine.work.process_task import ProcessResult, ProcessTask, RemoteError

_PR_SET_PDEATHSIG = 1

BEGUN = b"begun"
"""Sent before a job is worked: until then it may be given to another process."""


class _Cancellation:
    """Turns the signal into a cancellation of the work under way."""

    def __init__(self) -> None:
        self.context: WorkContext | None = None

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.context is not None:
            self.context.cancel_requested = True
            raise asyncio.CancelledError


def serve(tasks: Connection, alive: Connection) -> None:
    """Work what comes in on ``tasks`` until it is closed.

    alive: closed by the death of the client.
    """
    if hasattr(os, "setpgid"):
        # A group of its own: it is killed together with what its jobs started.
        os.setpgid(0, 0)
    _die_with_fork_server()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cancellation = _Cancellation()
    cancellation.install()
    threading.Thread(target=_die_with_client, args=(alive,), daemon=True).start()
    while True:
        try:
            payload = tasks.recv_bytes()
        except EOFError:
            return
        tasks.send_bytes(BEGUN)
        tasks.send_bytes(_worked(payload, cancellation))


def _die_with_fork_server() -> None:
    """Die with the server that forked this process, which dies with the client.

    Code that never lets go of the interpreter keeps the thread that watches the client from acting.
    """
    server = getattr(forkserver, "_forkserver", None)
    fd: int | None = getattr(server, "_forkserver_alive_fd", None)
    if sys.platform != "linux" or server is None or fd is None:
        return
    # The server lives as long as anybody holds this, and its children inherit it.
    os.close(fd)
    server._forkserver_alive_fd = None
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_with_client(alive: Connection) -> None:
    try:
        alive.recv_bytes()
    except (EOFError, OSError):
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _worked(payload: bytes, cancellation: _Cancellation) -> bytes:
    try:
        task: ProcessTask = pickle.loads(payload)  # noqa: S301 - written by our client
        context = WorkContext(task.job.row, client=None)
        context.resumable = task.resumable
    except Exception as error:  # noqa: BLE001 - told by the attempt
        return pickle.dumps(ProcessResult(RemoteError.of(error)))
    failure: RemoteError | None = None
    try:
        try:
            cancellation.context = context
            enter_work(context)
            work = task.worker.work(task.job)
            if inspect.iscoroutine(work):
                _run(work, cancellation)
            if context.resumable is not None and context.resumable.error is not None:
                # A failed step whose error was swallowed.
                raise context.resumable.error
        finally:
            cancellation.context = None
    except BaseException as error:  # noqa: BLE001 - whatever ends the work is its outcome
        failure = RemoteError.of(error)
    return _encoded(ProcessResult(failure, context.metadata, context.resumable))


def _run(work: Coroutine[object, object, object], cancellation: _Cancellation) -> None:
    """Run a coroutine, which the signal cancels where it waits."""
    context = cancellation.context
    assert context is not None

    async def main() -> None:
        task = asyncio.ensure_future(work)

        def cancel() -> None:
            context.cancel_requested = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel)
        try:
            await task
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            cancellation.install()

    asyncio.run(main())


def _encoded(result: ProcessResult) -> bytes:
    if result.resumable is not None and result.resumable.error is not None:
        # It is told as the attempt's error; itself it may not survive the journey.
        result.resumable.error = None
    return pickle.dumps(result)
