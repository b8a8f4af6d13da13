"""A handler of stuck jobs that logs where every task and thread of the process is.

Prints nothing.

Go's example dumps goroutines; Python's counterparts are asyncio's tasks and the threads. The dump
is logged, to standard error here.
"""

import logging

from _database import run

from riverengine import Config, JobStuckHandlerParams, JobStuckHandlerResult, dump_process

logger = logging.getLogger(__name__)


def handle(params: JobStuckHandlerParams) -> JobStuckHandlerResult:
    if logger.isEnabledFor(logging.WARNING):
        logger.warning(
            "River job stuck: job_id=%d kind=%s queue=%s total_stuck_jobs=%d\n%s",
            *(params.id, params.kind, params.queue, params.total_stuck_jobs, dump_process()),
        )
    return JobStuckHandlerResult()


async def main(database_url: str) -> None:
    # ``JobStuckDump()`` is a handler that does the same.
    Config(job_stuck_handler=handle)


if __name__ == "__main__":
    run(main, __doc__)
