"""A step with a cursor: a later attempt goes on within the step, where an earlier one stopped.

Prints::

    Processed 1
    Processed 2
    Processed 3
"""

from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from _database import run

from riverengine import (
    Client,
    Config,
    EventKind,
    Job,
    QueueConfig,
    Worker,
    Workers,
    resumable_set_cursor,
    resumable_step_cursor,
)


@dataclass(frozen=True)
class ResumableCursorArgs:
    kind: ClassVar[str] = "resumable_cursor"
    ids: list[int]


@dataclass(frozen=True)
class ResumableCursor:
    last_processed_id: int = 0


class ResumableCursorWorker(Worker[ResumableCursorArgs]):
    async def work(self, job: Job[ResumableCursorArgs]) -> None:
        async def process_ids(cursor: ResumableCursor) -> None:
            for number in job.args.ids:
                if number > cursor.last_processed_id:
                    print(f"Processed {number}")
                    resumable_set_cursor(ResumableCursor(last_processed_id=number))

        await resumable_step_cursor("process_ids", process_ids, ResumableCursor())


async def main(database_url: str) -> None:
    workers = Workers()
    workers.add(ResumableCursorWorker())
    config = Config(queues={"default": QueueConfig(max_workers=100)})
    async with asyncpg.create_pool(database_url) as pool:
        client = Client(pool, config, workers=workers)
        await client.start()
        async with client.subscribe(EventKind.JOB_COMPLETED) as completed:
            await client.insert(ResumableCursorArgs(ids=[1, 2, 3]))
            await completed.next(timeout=30)
        await client.stop()


if __name__ == "__main__":
    run(main, __doc__)
