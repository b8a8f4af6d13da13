"""Works the same jobs with Go River (``cmd/scripts``) and with our client, on one database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from riverengine import Client, Config, InsertOpts, JobRow, Json, QueueConfig, Worker, Workers
from riverengine.queries.job_row import job_row_from_record
from riverengine.work.middleware import Middleware
from tests.interop.go_programs import build


async def side_by_side(
    pool: asyncpg.Pool,
    url: str,
    worker: Worker[Any],
    jobs: Sequence[tuple[object, Mapping[str, Json]]],
    *,
    middleware: Sequence[Middleware] = (),
) -> tuple[list[JobRow], list[JobRow]]:
    """The rows that Go and Python left, each in the order of the jobs, after one attempt.

    jobs: args and metadata.  middleware: of our client.
    """
    program = build("scripts")
    go = await asyncio.create_subprocess_exec(
        str(program), url, "go", stdin=asyncio.subprocess.PIPE
    )
    workers = Workers()
    workers.add(worker)
    config = Config(
        queues={"py": QueueConfig(max_workers=4)},
        fetch_poll_interval=timedelta(milliseconds=50),
        fetch_cooldown=timedelta(milliseconds=5),
        middleware=middleware,
    )
    python = Client(pool, config, workers=workers)
    await python.start()
    try:
        for args, metadata in jobs:
            for queue in ("go", "py"):
                opts = InsertOpts(queue=queue, max_attempts=1, metadata=metadata)
                await python.insert(args, opts)
        return await _ended(pool, "go"), await _ended(pool, "py")
    finally:
        await python.stop_and_cancel()
        assert go.stdin is not None
        go.stdin.close()
        await go.wait()


async def _ended(pool: asyncpg.Pool, queue: str) -> list[JobRow]:
    """The jobs of a queue in the order of their insert, once all were worked."""
    async with asyncio.timeout(60):
        while True:
            open_ = await pool.fetchval(
                "SELECT count(*) FROM river_job WHERE queue = $1"
                " AND state IN ('available', 'running')",
                queue,
            )
            if not open_:
                break
            await asyncio.sleep(0.05)
    records = await pool.fetch("SELECT * FROM river_job WHERE queue = $1 ORDER BY id", queue)
    return [job_row_from_record(record) for record in records]
