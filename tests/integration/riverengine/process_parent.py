"""A program for a test: works one job in a process until it is killed itself."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta

from riverengine import Job, work_func
from riverengine.run.process_pool import ProcessPool
from riverengine.work.process_task import ProcessTask
from tests.integration.riverengine.process_work import ProcessArgs, work
from tests.unit.riverengine.test_resumable import ROW


async def main(path: str, do: str) -> None:
    """Start a job that tells its process's id in the file, and wait for it."""
    pool = ProcessPool(limit=1, grace=timedelta(0), logger=logging.getLogger("test"))
    job = Job(ROW, ProcessArgs(do=do, path=path))
    worker = work_func(ProcessArgs, work, process=True)
    await pool.run(ProcessTask(worker, job, None), lambda: None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
