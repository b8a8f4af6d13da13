"""River_worker that kills or freezes itself once, at one point of one step.

``python -m tests.fault.killing_worker river_worker ...``; KILL_SIGNAL (its name), KILL_POINT,
KILL_STEP and KILL_MARKER (a file whose existence means that it was done) come from the environment.
The production code has no such points: they are put around it here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from riverengine import Json
from riverjobs import StepContext
from riverjobs.step_attempt import OnCommit, StepAttempt
from v1consortium.cli import script

BEGIN, COMMIT, TELL = StepAttempt.begin, StepAttempt.commit, StepAttempt._tell


def _die(point: str, attempt: StepAttempt) -> None:
    marker = Path(os.environ["KILL_MARKER"])
    if os.environ["KILL_POINT"] != point or marker.exists():
        return
    if attempt.job.args.step_name == os.environ["KILL_STEP"]:
        marker.touch()
        os.kill(os.getpid(), signal.Signals[os.environ["KILL_SIGNAL"]])


async def begin(self: StepAttempt) -> StepContext | None:
    _die("before", self)
    return await BEGIN(self)


async def commit(
    self: StepAttempt, output: Mapping[str, Json] | None, on_commit: OnCommit | None = None
) -> None:
    _die("between", self)
    await COMMIT(self, output, on_commit)
    _die("after", self)


async def tell(
    self: StepAttempt, connection: asyncpg.Connection, kind: str, *, error: str | None = None
) -> None:
    """The last statement of the transaction that begins the step, the fourth that commits it."""
    await TELL(self, connection, kind, error=error)
    _die(f"in {kind}", self)


if __name__ == "__main__":
    StepAttempt.begin = begin  # type: ignore[method-assign]
    StepAttempt.commit = commit  # type: ignore[method-assign]
    StepAttempt._tell = tell  # type: ignore[method-assign]
    script()
