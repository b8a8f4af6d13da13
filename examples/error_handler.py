"""An error handler that hears of every failed attempt, and may cancel the job.

Prints::

    Job errored with: this job errored
    Job panicked with: this job panicked

Go has errors that are returned and panics. Python has exceptions only; this handler takes those
that are bugs, not expected failures, for what a panic is.
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    ErrorHandlerResult,
    EventKind,
    InsertOpts,
    Job,
    JobRow,
    QueueConfig,
    Worker,
    Workers,
)


class CustomErrorHandler:
    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        if isinstance(error, AssertionError):
            print(f"Job panicked with: {error}")
            return ErrorHandlerResult(set_cancelled=True)
        print(f"Job errored with: {error}")
        return None


@dataclass(frozen=True)
class ErroringArgs:
    kind: ClassVar[str] = "erroring"
    should_error: bool = False
    should_panic: bool = False

    def insert_opts(self) -> InsertOpts:
        # A retry would print its line again.
        return InsertOpts(max_attempts=1)


class ErroringWorker(Worker[ErroringArgs]):
    async def work(self, job: Job[ErroringArgs]) -> None:
        if job.args.should_error:
            raise ValueError("this job errored")
        if job.args.should_panic:
            raise AssertionError("this job panicked")


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(ErroringWorker())
    config = Config(
        error_handler=CustomErrorHandler(), queues={"default": QueueConfig(max_workers=10)}
    )
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_CANCELLED, EventKind.JOB_FAILED) as ended:
            # One after the other, so that the lines come in order.
            await client.insert(ErroringArgs(should_error=True))
            await ended.next(timeout=30)
            await client.insert(ErroringArgs(should_panic=True))
            await ended.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
