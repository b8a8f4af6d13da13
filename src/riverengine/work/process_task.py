"""What travels between a client and the processes that work its jobs."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from dataclasses import dataclass, field
from typing import Any

from riverengine.types.job import Json
from riverengine.types.work_errors import (
    RemoteWorkError,
)
from riverengine.work.outcome import REMOTE_TRACE, error_text
from riverengine.work.resumable import ResumableState
from riverengine.work.worker import Job, Worker


@dataclass(frozen=True, slots=True)
class ProcessTask:
    """One attempt to work."""

    worker: Worker[Any]
    job: Job[Any]
    resumable: ResumableState | None


@dataclass(frozen=True, slots=True)
class RemoteError:
    """What a worker raised in its process.

    pickled: the error itself, None when it does not survive the journey.  text, trace: as they are
    stored with the job.
    """

    pickled: bytes | None
    text: str
    trace: str
    is_cancellation: bool = False

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """The error as it leaves the process."""
        return cls(
            pickled=_pickled(error),
            text=error_text(error),
            trace="".join(traceback.format_tb(error.__traceback__)),
            is_cancellation=isinstance(error, asyncio.CancelledError),
        )

    def error(self) -> BaseException:
        """The error as it arrives at the client."""
        if self.is_cancellation:
            return asyncio.CancelledError()
        error: BaseException = RemoteWorkError(self.text)
        if self.pickled is not None:
            error = pickle.loads(self.pickled)  # noqa: S301 - written by a process of our own
        setattr(error, REMOTE_TRACE, self.trace)
        return error


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What an attempt left: its error, the metadata it recorded, the progress of its steps."""

    error: RemoteError | None = None
    metadata: dict[str, Json] = field(default_factory=dict)
    resumable: ResumableState | None = None


def _pickled(error: BaseException) -> bytes | None:
    """The error's bytes, if what comes back is the same error and can be marked with its trace."""
    try:
        encoded = pickle.dumps(error)
        back = pickle.loads(encoded)  # noqa: S301 - the bytes of the line above
        setattr(back, REMOTE_TRACE, "")
    except Exception:  # noqa: BLE001 - any class may refuse, in any way
        return None
    return encoded if type(back) is type(error) and str(back) == str(error) else None
