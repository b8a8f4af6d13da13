"""Leaders that replace each other in quick succession insert each periodic job once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import asyncpg

from riverengine import Client, InsertOpts, PeriodicInterval, PeriodicJob, UniqueOpts
from riverengine.queries.leader import TOPIC_LEADERSHIP
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.periodic import SLOT_KEY
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    started,
    wait_for_yes,
    wait_until,
)

CHANGES = 10
APART = timedelta(milliseconds=50)
AT_ONCE = MaintenanceTimings(stagger=timedelta(0))

_SLOTS = f"SELECT metadata ->> '{SLOT_KEY}' AS slot FROM river_job WHERE metadata ? '{SLOT_KEY}'"
_TOLD_TO_RESIGN = """
    SELECT pg_notify(
        concat(current_schema(), '.', $1::text),
        json_build_object('action', 'resigned', 'leader_id', $2::text)::text
    )
"""


class EveryTwentieth:
    """The twentieths of the calendar's seconds, the same for every leader."""

    def next(self, current: datetime) -> datetime:
        return current - timedelta(microseconds=current.microsecond % 50_000) + APART


def periodic_jobs() -> list[PeriodicJob]:
    """A job of the calendar, and one that must exist once, though each term starts with it."""
    unique = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    return [
        PeriodicJob(
            EveryTwentieth(),
            lambda: (NoteArgs(text="slot"), None),
            id="calendar",
            catch_up=timedelta(seconds=2),  # every term begins with slots of the one before
        ),
        PeriodicJob(
            PeriodicInterval(APART),
            lambda: (NoteArgs(text="unique"), unique),
            run_on_start=True,
        ),
    ]


async def test_ten_changes_of_leader_leave_one_job_for_each_slot(pool: asyncpg.Pool) -> None:
    """Half of the leaders are stopped; the others lose their row, and lead on without knowing."""
    async with AsyncExitStack() as stack:
        clients: list[Client] = []

        async def add() -> None:
            client = await stack.enter_async_context(
                started(
                    pool,
                    NoteWorker(),
                    client_options={
                        "maintenance_timings": AT_ONCE,
                        "periodic_jobs": periodic_jobs(),
                    },
                )
            )
            clients.append(client)

        await add()
        await add()
        terms: list[str] = []
        unaware: Client | None = None
        for change in range(CHANGES + 1):
            await wait_for_yes(
                pool,
                "SELECT EXISTS (SELECT FROM river_leader WHERE leader_id <> $1)",
                terms[-1] if terms else "",
            )
            terms.append(await pool.fetchval("SELECT leader_id FROM river_leader"))
            leader = next(client for client in clients if client.id == terms[-1])
            await wait_until(lambda leader=leader: leader.is_leader)  # type: ignore[misc]
            so_far = await pool.fetchval(f"SELECT count(*) FROM ({_SLOTS}) AS slots")
            await wait_for_yes(pool, f"SELECT count(*) > $1 FROM ({_SLOTS}) AS slots", so_far)
            if unaware is not None and unaware._elector is not None:
                unaware._elector.request_resign()
                unaware = None
            if change == CHANGES:
                break
            if change % 2:
                await leader.stop()
                await add()
            else:
                # As after a crash of PostgreSQL: another one notices seconds earlier.
                unaware = leader
                await pool.execute("DELETE FROM river_leader")
                await pool.execute(_TOLD_TO_RESIGN, TOPIC_LEADERSHIP, leader.id)
    slots = [row["slot"] for row in await pool.fetch(_SLOTS)]
    assert len(slots) > CHANGES
    assert len(slots) == len(set(slots))
    assert await pool.fetchval("SELECT count(*) FROM river_job") == len(slots) + 1
