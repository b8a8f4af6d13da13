"""However many end a job at once, it has one final state, written once, and never runs again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from riverengine import (
    Client,
    Completed,
    InsertManyParams,
    InsertOpts,
    Job,
    JobCancel,
    JobCancelManyParams,
    JobNotRunningError,
    JobSnooze,
    Migrator,
    client_from_context,
)
from riverengine.schema import ENGINE_LINE
from tests.integration.riverengine.working import NoteArgs, NoteWorker, started, wait_for_yes
from tests.interop.fleet.checker import Change, judge

JOBS = 400
HISTORY = Path(__file__).parents[2] / "interop" / "fleet" / "tables.sql"
FORBIDDEN = {"finished twice", "resurrected", "illegal change", "lost: not finished", "phantom"}


@pytest.fixture
async def recorded(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a database that writes down what its rows go through."""
    async with asyncpg.create_pool(empty_database, min_size=1, max_size=20) as pool:
        async with pool.acquire() as connection:
            await Migrator(connection).migrate_up()
            await Migrator(connection, line=ENGINE_LINE).migrate_up()
            await connection.execute(HISTORY.read_text(encoding="utf-8"))
        yield pool


async def _work(job: Job[NoteArgs]) -> None:
    """Ends in the way its number says, if nobody ends it otherwise meanwhile."""
    await asyncio.sleep(random.uniform(0, 0.02))
    match int(job.args.text) % 5:
        case 1:
            raise RuntimeError("told to fail")
        case 2:
            raise JobCancel("told to cancel")
        case 3 if "snoozes" not in job.row.metadata:
            raise JobSnooze(timedelta(milliseconds=1))
        case 4:
            client = client_from_context()
            with suppress(JobNotRunningError):
                async with client.transaction() as tx:
                    await client.job_finish_tx(tx, job, Completed())
                    await asyncio.sleep(0.01)
            raise RuntimeError("too late to fail")


async def _take_away(pool: asyncpg.Pool) -> None:
    """Jobs under way begin anew, as after a rescue of a client that lives."""
    for _ in range(60):
        await pool.execute(
            "UPDATE river_job SET state = 'available', scheduled_at = now() WHERE id = ANY (ARRAY("
            "SELECT id FROM river_job WHERE state = 'running' AND random() < 0.1"
            " ORDER BY id FOR UPDATE SKIP LOCKED))"
        )
        await asyncio.sleep(0.02)


async def _cancel(client: Client, ids: Sequence[int]) -> None:
    for _ in range(60):
        await client.job_cancel_many(JobCancelManyParams(ids=random.sample(ids, 4)))
        await asyncio.sleep(0.02)


async def test_a_job_ends_once_whoever_ends_it(recorded: asyncpg.Pool) -> None:
    """Solid Queue had jobs both finished and failed."""
    opts = InsertOpts(max_attempts=2)
    async with (
        started(recorded, NoteWorker(_work), id="one") as one,
        started(recorded, NoteWorker(_work), id="two") as two,
    ):
        found = await one.insert_many(
            [InsertManyParams(NoteArgs(text=str(n)), opts) for n in range(JOBS)]
        )
        ids = [result.job.id for result in found]
        await asyncio.gather(_take_away(recorded), _cancel(one, ids), _cancel(two, ids))
        await wait_for_yes(
            recorded, "SELECT count(*) = 0 FROM river_job WHERE finalized_at IS NULL", seconds=60
        )
    rows = await recorded.fetch("SELECT * FROM fleet_history ORDER BY id")
    changes = [
        Change(
            row["job_id"],
            row["old_state"],
            row["new_state"],
            row["attempted_at"],
            row["worked_by"],
            row["at"],
        )
        for row in rows
    ]
    anomalies = [each for each in judge([], changes, [], []) if each.name in FORBIDDEN]
    assert anomalies == []
    ends = {change.new for change in changes} & {"completed", "cancelled", "discarded"}
    assert ends == {"completed", "cancelled", "discarded"}
    assert await recorded.fetchval("SELECT count(*) FROM river_job WHERE attempt > 1") > JOBS / 10
