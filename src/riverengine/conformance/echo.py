"""The suite's job: its behaviour is one of its arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, NoReturn

from riverengine.conformance.barriers import Barriers
from riverengine.conformance.observations import Observations
from riverengine.types.errors import RiverError
from riverengine.types.signals import JobCancel, JobSnooze
from riverengine.work.context import (
    cancel_requested,
    client_from_context,
    metadata_set,
    record_output,
)
from riverengine.work.outcome import Completed
from riverengine.work.resumable import (
    resumable_set_cursor,
    resumable_step,
    resumable_step_cursor,
)
from riverengine.work.worker import Job, Worker

KIND = "conformance_echo"


@dataclass(frozen=True, slots=True)
class EchoArgs:
    """All three are always written, in this order."""

    kind: ClassVar[str] = KIND
    behavior: str = ""
    duration_ms: int = 0
    message: str = ""


class EchoError(RiverError):
    """An ordinary failure, stored with this text and nothing else."""


class EchoWorker(Worker[EchoArgs]):
    """Does what the args say."""

    def __init__(self, barriers: Barriers, observations: Observations) -> None:
        self._barriers = barriers
        self._seen = observations

    async def work(self, job: Job[EchoArgs]) -> None:
        """Run the behaviour."""
        await BEHAVIORS[job.args.behavior](self, job)

    async def _complete(self, job: Job[EchoArgs]) -> None:
        return

    async def _error(self, job: Job[EchoArgs]) -> None:
        raise EchoError("conformance retryable error")

    async def _panic(self, job: Job[EchoArgs]) -> None:
        raise RuntimeError("conformance worker panic")

    async def _cancel(self, job: Job[EchoArgs]) -> None:
        raise JobCancel("conformance cancellation")

    async def _discard(self, job: Job[EchoArgs]) -> None:
        raise EchoError("conformance discard")

    async def _snooze_once(self, job: Job[EchoArgs]) -> None:
        if "snoozes" not in job.row.metadata:
            raise JobSnooze(timedelta(milliseconds=max(job.args.duration_ms, 1)))

    async def _snooze_then_cancel(self, job: Job[EchoArgs]) -> None:
        await self._snooze_once(job)
        await _until_cancelled()

    async def _output(self, job: Job[EchoArgs]) -> None:
        record_output({"message": job.args.message})

    async def _sleep(self, job: Job[EchoArgs]) -> None:
        await asyncio.sleep(job.args.duration_ms / 1000)

    async def _barrier_wait(self, job: Job[EchoArgs]) -> None:
        await self._barriers.wait(job.args.message)

    async def _barrier_output(self, job: Job[EchoArgs]) -> None:
        await self._barriers.wait(job.args.message)
        record_output({"race": "worker"})

    async def _cooperative_cancel(self, job: Job[EchoArgs]) -> None:
        if cancel_requested():
            self._seen.cancelled_at_start += 1
        await _until_cancelled()

    async def _cancel_error(self, job: Job[EchoArgs]) -> None:
        try:
            await _until_cancelled()
        except asyncio.CancelledError:
            raise EchoError("conformance error after cancellation") from None

    async def _cancel_panic(self, job: Job[EchoArgs]) -> None:
        try:
            await _until_cancelled()
        except asyncio.CancelledError:
            raise RuntimeError("conformance worker panic after cancellation") from None

    async def _ignored_cancel(self, job: Job[EchoArgs]) -> None:
        while True:
            try:
                await _until_cancelled()
            except asyncio.CancelledError:
                continue

    async def _resumable(self, job: Job[EchoArgs]) -> None:
        async def first() -> None:
            self._seen.resumable_first_runs += 1

        async def second() -> None:
            self._seen.resumable_second_runs += 1
            if job.row.attempt == 1:
                raise EchoError("conformance resumable second step fails once")

        await resumable_step("first", first)
        await resumable_step("second", second)

    async def _resumable_cursor(self, job: Job[EchoArgs]) -> None:
        async def first() -> None:
            metadata_set("first_attempt", job.row.attempt)

        async def second(cursor: int) -> None:
            if job.row.attempt == 1:
                resumable_set_cursor(7)
                raise EchoError("conformance resumable cursor was set")
            if cursor != 7:
                raise EchoError(f"conformance resumable cursor is {cursor}, not 7")
            metadata_set("cursor_observed", cursor)

        async def third() -> None:
            if job.row.attempt == 2:
                raise EchoError("conformance resumable third step fails once")

        await resumable_step("first", first)
        await resumable_step_cursor("second", second, 0)
        await resumable_step("third", third)

    async def _resumable_duplicate(self, job: Job[EchoArgs]) -> None:
        async def step() -> None:
            return

        await resumable_step("first", step)
        await resumable_step("first", step)
        await resumable_step("later", step)

    async def _transactional_complete(self, job: Job[EchoArgs]) -> None:
        client = client_from_context()
        async with client.transaction() as tx:
            await client.job_finish_tx(
                tx, job, Completed(), metadata={"transactional_completion": True}
            )


async def _until_cancelled() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


Behavior = Callable[[EchoWorker, Job[EchoArgs]], Awaitable[None]]

BEHAVIORS: dict[str, Behavior] = {
    "": EchoWorker._complete,
    "barrier_output": EchoWorker._barrier_output,
    "barrier_wait": EchoWorker._barrier_wait,
    "cancel": EchoWorker._cancel,
    "cancel_error": EchoWorker._cancel_error,
    "cancel_panic": EchoWorker._cancel_panic,
    "cooperative_cancel": EchoWorker._cooperative_cancel,
    "discard": EchoWorker._discard,
    "error": EchoWorker._error,
    "ignored_cancel": EchoWorker._ignored_cancel,
    "output": EchoWorker._output,
    "panic": EchoWorker._panic,
    "resumable": EchoWorker._resumable,
    "resumable_cursor": EchoWorker._resumable_cursor,
    "resumable_duplicate": EchoWorker._resumable_duplicate,
    "sleep": EchoWorker._sleep,
    "snooze_once": EchoWorker._snooze_once,
    "snooze_then_cancel": EchoWorker._snooze_then_cancel,
    "transactional_complete": EchoWorker._transactional_complete,
}
"""Every behaviour of the contract."""
