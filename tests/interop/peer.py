"""Drives the Go program ``cmd/peer``: a Go River client on the tests' database."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import asyncpg

from riverengine import (
    Job,
    JobCancel,
    JobRow,
    JobSnooze,
    JobState,
    Json,
    Worker,
    record_output,
)
from riverengine.queries.job_row import job_row_from_record


class PeerError(Exception):
    """Go River refused."""


class Peer:
    """One Go process."""

    def __init__(self, program: Path, url: str) -> None:
        self._program = program
        self._url = url
        self._numbers = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None

    async def call(self, method: str, **params: Json) -> Json:
        """One request; raises ``PeerError`` with Go's text."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "jsonrpc": "2.0",
            "id": next(self._numbers),
            "method": method,
            "params": params,
        }
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(60):
            line = await self._process.stdout.readline()
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"]["message"])
        return answer.get("result")

    async def __aenter__(self) -> Peer:
        self._process = await asyncio.create_subprocess_exec(
            str(self._program),
            self._url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(60):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@dataclass(frozen=True)
class InteropArgs:
    """Args of the kind both sides work; the fields are in the order of the Go struct's."""

    kind: ClassVar[str] = "interop"

    behavior: str = ""
    text: str = ""
    number: int = 0


class InteropWorker(Worker[InteropArgs]):
    """Does what the Go worker does."""

    async def work(self, job: Job[InteropArgs]) -> None:
        match job.args.behavior:
            case "error":
                raise RuntimeError("told to fail")
            case "error_once" if job.row.attempt == 1:
                raise RuntimeError("told to fail once")
            case "cancel":
                raise JobCancel("told to cancel")
            case "snooze_once" if "snoozes" not in job.row.metadata:
                raise JobSnooze(timedelta(milliseconds=50))
            case "wait":
                await asyncio.Event().wait()
            case "output":
                record_output({"text": job.args.text, "by": "python"})

    def next_retry(self, job: Job[InteropArgs]) -> datetime:
        return datetime.now(UTC) + timedelta(milliseconds=50)


async def wait_for(
    pool: asyncpg.Pool, job_id: int, *states: JobState, seconds: float = 30.0
) -> JobRow:
    """The job once it is in one of the states."""
    async with asyncio.timeout(seconds):
        while True:
            record = await pool.fetchrow("SELECT * FROM river_job WHERE id = $1", job_id)
            row = job_row_from_record(record)
            if row.state in states:
                return row
            await asyncio.sleep(0.02)


OUTCOMES: Mapping[str, tuple[JobState, int]] = {
    "": (JobState.COMPLETED, 1),
    "error_once": (JobState.COMPLETED, 2),
    "error": (JobState.DISCARDED, 3),
    "cancel": (JobState.CANCELLED, 1),
    "snooze_once": (JobState.COMPLETED, 1),
    "output": (JobState.COMPLETED, 1),
}
"""Final state and attempt by behaviour, for jobs of three attempts."""
