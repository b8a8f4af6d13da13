"""One Python client of the fleet test: ``python -m tests.interop.fleet.client``.

Does what ``go/cmd/fleet`` does: inserts jobs at random, works those of everybody, cancels some,
pauses a queue now and then, and writes down what it does. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg

from riverengine import (
    Client,
    Config,
    InsertManyParams,
    InsertOpts,
    Job,
    JobCancel,
    JobNotFoundError,
    JobSnooze,
    QueueConfig,
    UniqueOpts,
    Worker,
    Workers,
)

REMEMBERED = 50
"""Latest jobs among which one may be cancelled."""


@dataclass(frozen=True)
class FleetArgs:
    """What a job does; the Go struct lists its fields alike."""

    kind: ClassVar[str] = "fleet"

    token: str
    behavior: str = ""
    duration_ms: int = 0
    failures: int = 0


class Book:
    """Writes into the test's tables, each row by itself."""

    def __init__(self, pool: asyncpg.Pool, settings: dict[str, Any]) -> None:
        self._pool = pool
        self._client_id = settings["client_id"]
        self._process = settings["process"]

    async def effect(self, job: Job[FleetArgs], phase: str) -> None:
        """A phase of an execution."""
        await self._pool.execute(
            "INSERT INTO fleet_effect"
            " (job_id, attempt, attempted_at, client_id, process, language, phase)"
            " VALUES ($1, $2, $3, $4, $5, 'python', $6)",
            job.row.id,
            job.row.attempt,
            job.row.attempted_at,
            self._client_id,
            self._process,
            phase,
        )

    async def insert(self, token: str, phase: str, job_id: int | None = None) -> None:
        """A phase of an insert."""
        await self._pool.execute(
            "INSERT INTO fleet_insert (token, client_id, language, phase, job_id)"
            " VALUES ($1, $2, 'python', $3, $4)",
            token,
            self._client_id,
            phase,
            job_id,
        )


class FleetWorker(Worker[FleetArgs]):
    """Does what the args say, and writes down when it begins and ends."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def work(self, job: Job[FleetArgs]) -> None:
        # A job may be cancelled while its beginning is being written down: it has an end, too.
        begun = asyncio.ensure_future(self._book.effect(job, "begin"))
        phase = "error"
        try:
            await asyncio.shield(begun)
            await self._act(job)
            phase = "ok"
        except (JobCancel, asyncio.CancelledError):
            phase = "cancel"
            raise
        except JobSnooze:
            phase = "snooze"
            raise
        finally:
            await asyncio.shield(self._ended(begun, job, phase))

    async def _ended(self, begun: asyncio.Future[None], job: Job[FleetArgs], phase: str) -> None:
        await begun
        await self._book.effect(job, phase)

    async def _act(self, job: Job[FleetArgs]) -> None:
        await asyncio.sleep(job.args.duration_ms / 1000)
        failed = len(job.row.errors)
        match job.args.behavior:
            case "fail" if failed < job.args.failures:
                raise RuntimeError("told to fail")
            case "panic" if not failed:
                raise AssertionError("told to panic")
            case "snooze" if "snoozes" not in job.row.metadata:
                raise JobSnooze(timedelta(milliseconds=200))
            case "cancel":
                raise JobCancel("told to cancel")
            case "wait":
                await asyncio.sleep(3)

    def next_retry(self, job: Job[FleetArgs]) -> datetime:
        return datetime.now(UTC) + timedelta(milliseconds=100)


class Load:
    """Inserts and interferes until its time is over."""

    def __init__(
        self, client: Client, pool: asyncpg.Pool, book: Book, settings: dict[str, Any]
    ) -> None:
        self._client = client
        self._pool = pool
        self._book = book
        self._settings = settings
        self._random = random.Random(settings["seed"])
        self._latest: list[int] = []
        self._number = 0
        self._later: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until ``insert_seconds`` have passed."""
        until = time.monotonic() + self._settings["insert_seconds"]
        while time.monotonic() < until:
            await asyncio.sleep(self._random.expovariate(self._settings["inserts_per_second"]))
            try:
                await self._step()
            except Exception:
                # The next step may succeed; whether this one did is unknown, as the book allows.
                logging.exception("step")

    async def _step(self) -> None:
        draw = self._random.randrange(100)
        if draw < 6 and self._latest:
            await self._cancel(self._random.choice(self._latest))
        elif draw < 8:
            await self._pause_a_while()
        elif draw < 14:
            await self._insert_many()
        elif draw < 24:
            await self._insert_in_transaction(commit=draw >= 18)
        else:
            await self._insert()

    def _job(self) -> tuple[FleetArgs, dict[str, Any]]:
        draw = self._random.randrange(100)
        behavior, failures, max_attempts = "", 0, 10
        if draw < 14:
            behavior, failures = "fail", self._random.randrange(1, 3)
        elif draw < 18:
            behavior, failures, max_attempts = "fail", 100, 2
        elif draw < 21:
            behavior = "panic"
        elif draw < 29:
            behavior = "snooze"
        elif draw < 33:
            behavior = "cancel"
        elif draw < 38:
            behavior = "wait"
        self._number += 1
        args = FleetArgs(
            f"{self._settings['process']}-{self._number}",
            behavior,
            self._random.randrange(500),
            failures,
        )
        opts: dict[str, Any] = {
            "queue": self._random.choice(self._settings["queues"]),
            "priority": self._random.randrange(1, 5),
            "max_attempts": max_attempts,
        }
        if not self._random.randrange(10):
            delay = timedelta(milliseconds=self._random.randrange(3000))
            opts["scheduled_at"] = datetime.now(UTC) + delay
        return args, opts

    async def _insert(self) -> None:
        args, opts = self._job()
        if not self._random.randrange(20):
            opts["unique_opts"] = UniqueOpts(by_queue=True, by_period=timedelta(seconds=1))
        await self._book.insert(args.token, "try")
        result = await self._client.insert(args, InsertOpts(**opts))
        if result.unique_skipped_as_duplicate:
            await self._book.insert(args.token, "skipped", result.job.id)
        else:
            await self._inserted(args, result.job.id)

    async def _inserted(self, args: FleetArgs, job_id: int) -> None:
        await self._book.insert(args.token, "ok", job_id)
        self._latest = [*self._latest, job_id][-REMEMBERED:]
        if args.behavior == "wait":
            task = asyncio.create_task(self._cancel(job_id, 0.7))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def _cancel(self, job_id: int, delay: float = 0.0) -> None:
        await asyncio.sleep(delay)
        try:
            await self._client.job_cancel(job_id)
        except JobNotFoundError:
            logging.warning("job %d is gone", job_id)

    async def _insert_many(self) -> None:
        jobs = [self._job() for _ in range(self._random.randrange(1, 11))]
        for args, _ in jobs:
            await self._book.insert(args.token, "try")
        results = await self._client.insert_many(
            [InsertManyParams(args, InsertOpts(**opts)) for args, opts in jobs]
        )
        for (args, _), result in zip(jobs, results, strict=True):
            await self._inserted(args, result.job.id)

    async def _insert_in_transaction(self, *, commit: bool) -> None:
        args, opts = self._job()
        await self._book.insert(args.token, "try")
        async with self._pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            result = await self._client.insert(args, InsertOpts(**opts), tx=connection)
            await (transaction.commit() if commit else transaction.rollback())
        if commit:
            await self._inserted(args, result.job.id)
        else:
            await self._book.insert(args.token, "rolled back", result.job.id)

    async def _pause_a_while(self) -> None:
        await self._client.queue_pause(self._settings["paused_queue"])
        await asyncio.sleep(self._random.uniform(0.1, 0.6))
        await self._client.queue_resume(self._settings["paused_queue"])


async def main() -> None:
    """Run until standard input ends."""
    settings = json.loads(os.environ["FLEET_SETTINGS"])
    name = settings["client_id"]
    async with (
        asyncpg.create_pool(
            settings["url"], min_size=1, max_size=8, server_settings={"application_name": name}
        ) as pool,
        # What is written down must not wait for, or end with, a transaction of the queue.
        asyncpg.create_pool(
            settings["url"],
            min_size=1,
            max_size=3,
            server_settings={"application_name": f"{name} log"},
        ) as log_pool,
    ):
        book = Book(log_pool, settings)
        workers = Workers()
        workers.add(FleetWorker(book))
        client = Client(
            pool,
            Config(
                id=name,
                queues={
                    queue: QueueConfig(max_workers=settings["max_workers"])
                    for queue in settings["queues"]
                },
                fetch_poll_interval=timedelta(milliseconds=500),
                job_timeout=timedelta(milliseconds=settings["job_timeout_ms"]),
                rescue_stuck_jobs_after=timedelta(milliseconds=settings["rescue_after_ms"]),
            ),
            workers=workers,
        )
        await client.start()
        load = asyncio.create_task(Load(client, pool, book, settings).run())
        await asyncio.to_thread(sys.stdin.buffer.read)
        load.cancel()
        await asyncio.wait([load])
        await client.stop(timeout=timedelta(seconds=20))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    asyncio.run(main())
