"""What code running inside a job can reach: its row, its client, its metadata."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, TypeVar

from riverengine.types.job import JobRow, Json
from riverengine.types.work_errors import (
    NotInJobError,
)
from riverengine.work.go_json import encode_json

if TYPE_CHECKING:
    from riverengine.client import Client
    from riverengine.work.resumable import ResumableState

T = TypeVar("T")

MAX_OUTPUT_BYTES = 32 * 1024 * 1024
"""Largest encoded output River accepts."""


class WorkContext:
    """One execution as the code inside it sees it.

    metadata: merged into the job's when the attempt ends.  cancel_requested, timed_out: whether the
    work was asked to end, and whether because of its timeout.  resumable: the steps' progress, None
    while there is none.
    """

    __slots__ = ("_row", "cancel_requested", "client", "metadata", "resumable", "timed_out")

    def __init__(self, row: JobRow | None, client: object) -> None:
        """row: None when a subclass reads it on demand."""
        self._row = row
        self.client: object = client
        self.metadata: dict[str, Json] = {}
        self.cancel_requested: bool = False
        self.timed_out: bool = False
        self.resumable: ResumableState | None = None

    @property
    def row(self) -> JobRow:
        """The job as it was fetched."""
        if self._row is None:
            self._row = self._read_row()
        return self._row

    def replace_row(self, row: JobRow) -> None:
        """Show another row to what follows; the stored one stays as it is."""
        self._row = row

    def _read_row(self) -> JobRow:
        raise NotImplementedError


_current: ContextVar[WorkContext] = ContextVar("riverengine_work")


def enter_work(context: WorkContext) -> Token[WorkContext]:
    """Make ``context`` the current task's; the token takes it back."""
    return _current.set(context)


def leave_work(token: Token[WorkContext]) -> None:
    """Make current what was before :func:`enter_work`."""
    _current.reset(token)


def work_context() -> WorkContext:
    """The current execution; raises ``NotInJobError`` outside of a job."""
    try:
        return _current.get()
    except LookupError:
        raise NotInJobError from None


def current_job() -> JobRow:
    """The row of the job being worked; raises ``NotInJobError`` outside of a job."""
    return work_context().row


def client_from_context() -> Client:
    """The client working the current job, also in hooks, middleware and threads.

    Raises ``NotInJobError`` outside of a job.
    """
    client = client_from_context_or_none()
    if client is None:
        raise NotInJobError
    return client


def client_from_context_or_none() -> Client | None:
    """The client working the current job; None outside of a job."""
    context = _current.get(None)
    client: Client | None = None if context is None else context.client  # type: ignore[assignment]
    return client


_loop: ContextVar[asyncio.AbstractEventLoop] = ContextVar("riverengine_loop")


def bind_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Remember the client's loop in a context that is handed to a thread."""
    _loop.set(loop)


def run_on_loop(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine on the client's event loop and wait for its result.

    For workers that are plain functions, which run in threads:
    ``run_on_loop(client_from_context().insert(args))``.  Raises what the coroutine raises, and
    ``NotInJobError`` outside of such a worker.
    """
    try:
        loop = _loop.get()
    except LookupError:
        coroutine.close()
        raise NotInJobError from None
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def cancel_requested() -> bool:
    """Whether the current job was asked to end: by cancellation, timeout or stop.

    For plain functions running in a thread, which cannot be interrupted.
    """
    return work_context().cancel_requested


def timed_out() -> bool:
    """Whether the current job's timeout has passed: the reason of its cancellation, if so."""
    return work_context().timed_out


def encode_output(value: Json) -> str:
    """The JSON text of an output.

    Raises ``ArgsEncodeError`` for values JSON cannot hold and ``ValueError`` above 32 MiB.
    """
    encoded = encode_json(value, "output")
    size = len(encoded.encode())
    if size > MAX_OUTPUT_BYTES:
        raise ValueError(f"output of {size:,} bytes, but the limit is {MAX_OUTPUT_BYTES:,}")
    return encoded


def record_output(value: Json) -> None:
    """Store ``value`` with the job when the attempt ends, however it ends.

    Raises ``ArgsEncodeError`` for values JSON cannot hold and ``ValueError`` above 32 MiB.
    """
    # Kept as a copy: what the caller changes afterwards must not fail the attempt's last write.
    work_context().metadata["output"] = json.loads(encode_output(value))


def metadata_set(key: str, value: Json) -> None:
    """Merge a key into the job's metadata when the attempt ends.

    Raises ``ValueError`` for River's own keys, ``ArgsEncodeError`` for values JSON cannot hold.
    """
    if key.startswith("river:"):
        raise ValueError(f"metadata keys starting with river: are reserved: {key}")
    work_context().metadata[key] = json.loads(encode_json(value, f"metadata.{key}"))


def recorded_metadata() -> Mapping[str, Json]:
    """As :func:`metadata_of_work`; empty outside of a job."""
    context = _current.get(None)
    return {} if context is None else context.metadata


def metadata_of_work() -> Mapping[str, Json]:
    """What the current execution will merge into the job's metadata."""
    return work_context().metadata
