"""Unique keys as the official Python client computed them, for the time of a migration.

Source: riverqueue-python at f27a3bb (2025-02, its last commit; protocol 4.7). The release 0.7.0
before it wrote keys that River's current index ignores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from riverengine.compat.riverqueue.insert_opts import UniqueOpts
from riverengine.insert.plan import DEFAULT_QUEUE, InsertPlan
from riverengine.types.job import JobState

UNIQUE_STATES_DEFAULT: list[JobState] = [
    JobState.AVAILABLE,
    JobState.COMPLETED,
    JobState.PENDING,
    JobState.RUNNING,
    JobState.RETRYABLE,
    JobState.SCHEDULED,
]
"""States in which a job holds its unique key unless ``by_state`` says otherwise."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UniqueKeys(StrEnum):
    """Which unique keys a client writes. Keys of one scheme never equal those of the other."""

    GO = "go"
    """Go River's: duplicates are found whichever language inserted the first job."""

    RIVERQUEUE_PYTHON = "riverqueue-python"
    """The official Python client's: for a fleet in which it still inserts the same jobs."""


@dataclass(frozen=True, slots=True)
class KeyedArgs:
    """Args as encoded text, with the key that replaces Go's; None keeps it."""

    kind: str
    encoded: str
    unique_key: bytes | None

    def to_json(self) -> str:
        """The text."""
        return self.encoded


class ReplaceKeys:
    """A hook: puts the keys of :class:`KeyedArgs` into the plans of the engine."""

    async def insert_begin(self, plan: InsertPlan) -> InsertPlan | None:
        """The plan with its args' key."""
        args = plan.args
        if isinstance(args, KeyedArgs) and args.unique_key is not None:
            return replace(plan, unique_key=args.unique_key)
        return None


def riverqueue_python_key(
    opts: UniqueOpts, *, kind: str, encoded_args: str, queue: str | None, now: datetime
) -> bytes:
    """SHA-256 of the official client's key text. now: its clock, whatever ``scheduled_at`` is."""
    text = riverqueue_python_key_text(
        opts, kind=kind, encoded_args=encoded_args, queue=queue, now=now
    )
    return sha256(text.encode()).digest()


def riverqueue_python_key_text(
    opts: UniqueOpts, *, kind: str, encoded_args: str, queue: str | None, now: datetime
) -> str:
    """The text that is hashed: args sorted at every depth and in ASCII, periods from the epoch."""
    text = "" if opts.exclude_kind else f"&kind={kind}"
    if opts.by_args:
        args = json.loads(encoded_args)
        if isinstance(opts.by_args, list):
            args = {name: args[name] for name in opts.by_args if name in args}
        text += f"&args={json.dumps(args, sort_keys=True, separators=(',', ':'))}"
    if opts.period:
        since = now - _EPOCH
        begin = _EPOCH + timedelta(seconds=since // opts.period * opts.period.total_seconds())
        text += f"&period={begin:%Y-%m-%dT%H:%M:%SZ}"
    if opts.by_queue:
        text += f"&queue={queue or DEFAULT_QUEUE}"
    states = opts.by_state or UNIQUE_STATES_DEFAULT
    return text + "&state=" + ",".join(JobState(state).value for state in states)
