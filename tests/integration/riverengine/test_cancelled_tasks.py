"""A client whose tasks somebody cancelled stops all the same, and leaves nothing running."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from riverengine import JobState
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    started,
    stored,
)

TASKS = [
    *("completer", "producer:default", "producer:default:fetch", "producer:default:recheck"),
    *("producer:default:heartbeat", "notifier", "elector", "queue_maintainer"),
    *("dead_client_rescuer", "rescuer", "job:note"),
]


@pytest.mark.parametrize("name", TASKS)
async def test_a_cancelled_task_does_not_hold_up_the_stop(pool: asyncpg.Pool, name: str) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate), stop=False) as client:
        job = (await client.insert(NoteArgs())).job
        await gate.next()
        found = [
            task
            for task in asyncio.all_tasks()
            if task.get_name().startswith(f"riverengine:{name}")
        ]
        if name != "rescuer":  # it runs while the client leads
            assert found
        for task in found:
            task.cancel()
        await asyncio.sleep(0.05)
        gate.opened.set()
        await client.stop(timeout=timedelta(seconds=15))
    assert (await stored(pool, job.id)).state is not JobState.RUNNING
