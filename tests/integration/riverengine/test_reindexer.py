"""The reindexer rebuilds indexes, and leaves none behind however a rebuild ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine.config import Config
from riverengine.run.clock import SystemClock
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.reindexer import INDEX_NAMES, Reindexer, next_midnight
from riverengine.types.schedule import NeverSchedule
from tests.integration.riverengine.working import wait_for_yes, wait_until

NOW = MaintenanceTimings(stagger=timedelta(0))
INDEX = "river_job_kind"
_REMAINS = r"SELECT relname FROM pg_class WHERE relname ~ '_cc(new|old)\d*$'"


async def test_every_index_is_rebuilt_without_remains(
    pool: asyncpg.Pool, database_url: str
) -> None:
    service = Reindexer(
        lambda: asyncpg.connect(database_url), config=Config(), clock=SystemClock(), timings=NOW
    )
    assert await service.run_once() == list(INDEX_NAMES)
    assert service.failures == 0
    assert await pool.fetch(_REMAINS) == []


async def test_a_missing_index_is_skipped(database_url: str) -> None:
    service = Reindexer(
        lambda: asyncpg.connect(database_url),
        config=Config(reindexer_index_names=["nowhere", "river_job_kind"]),
        clock=SystemClock(),
        timings=NOW,
    )
    assert await service.run_once() == ["river_job_kind"]


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_the_reindexer_runs_at_midnight(hour: int) -> None:
    assert next_midnight(datetime(2026, 12, 31, hour, tzinfo=UTC)) == datetime(
        2027, 1, 1, tzinfo=UTC
    )


async def test_the_reindexer_follows_the_schedule_given(database_url: str) -> None:
    class Twice:
        left = 2

        def next(self, current: datetime, /) -> datetime | None:
            self.left -= 1
            return None if self.left < 0 else current + timedelta(milliseconds=20)

    service = Reindexer(
        lambda: asyncpg.connect(database_url),
        config=Config(reindexer_index_names=["river_job_kind"], reindexer_schedule=Twice()),
        clock=SystemClock(),
        timings=NOW,
    )
    service.signal_ran.arm()
    await service.start()
    try:
        assert await service.signal_ran.wait() == ["river_job_kind"]
        assert await service.signal_ran.wait() == ["river_job_kind"]
        await wait_until(lambda: not service.is_running)
    finally:
        await service.stop()


async def test_the_reindexer_may_never_run(database_url: str) -> None:
    service = Reindexer(
        lambda: asyncpg.connect(database_url),
        config=Config(reindexer_schedule=NeverSchedule()),
        clock=SystemClock(),
        timings=NOW,
    )
    await service.start()
    await service.started.wait()
    await wait_until(lambda: not service.is_running)
    await service.stop()


@pytest.fixture(autouse=True)
async def _remains_end_with_their_test(pool: asyncpg.Pool) -> AsyncIterator[None]:
    yield
    for row in await pool.fetch(_REMAINS):
        await pool.execute(f"DROP INDEX {row['relname']}")


@pytest.fixture
async def old_snapshot(database_url: str) -> AsyncIterator[None]:
    """A transaction that every rebuild waits for, half built."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM river_queue")
        yield
    finally:
        await connection.close()


def reindexer(database_url: str, timeout: timedelta = timedelta(minutes=1)) -> Reindexer:
    return Reindexer(
        lambda: asyncpg.connect(database_url),
        config=Config(reindexer_index_names=[INDEX], reindexer_timeout=timeout),
        clock=SystemClock(),
        timings=NOW,
    )


@pytest.mark.parametrize(
    "ending", ["the service stops", "time-out", "pg_cancel_backend", "pg_terminate_backend"]
)
@pytest.mark.usefixtures("old_snapshot")
async def test_rebuilds_cancelled_twenty_times_leave_nothing_behind(
    database_url: str, pool: asyncpg.Pool, ending: str
) -> None:
    timeout = timedelta(seconds=2) if ending == "time-out" else timedelta(minutes=1)
    service = reindexer(database_url, timeout)
    for round_ in range(5):
        run = asyncio.create_task(service.run_once())
        await wait_for_yes(pool, f"SELECT EXISTS ({_REMAINS})")
        if ending == "the service stops":
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        else:
            if ending != "time-out":
                await pool.execute(
                    f"SELECT {ending}(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query ~ '^REINDEX'"
                )
            assert await run == []
            assert service.failures == round_ + 1
        assert await pool.fetch(_REMAINS) == []


@pytest.mark.usefixtures("old_snapshot")
async def test_what_a_dead_process_left_behind_is_dropped_at_the_next_run(
    database_url: str, pool: asyncpg.Pool
) -> None:
    service = reindexer(database_url)
    for _ in range(3):
        dying = await asyncpg.connect(database_url)
        rebuild = asyncio.create_task(dying.execute(f"REINDEX INDEX CONCURRENTLY {INDEX}"))
        pid = dying.get_server_pid()
        await wait_for_yes(
            pool,
            "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index"
            " WHERE pid = $1 AND phase ~ 'old snapshots')",
            pid,
        )
        await pool.execute("SELECT pg_terminate_backend($1, 10000)", pid)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await rebuild
    assert len(await pool.fetch(_REMAINS)) == 3
    # The rebuild itself waits for the old snapshot: only what came before it is of interest.
    run = asyncio.create_task(service.run_once())
    await wait_for_yes(
        pool,
        "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index"
        " WHERE datname = current_database() AND phase ~ 'old snapshots')",
    )
    assert len(await pool.fetch(_REMAINS)) == 1
    run.cancel()
    await asyncio.wait({run})
    assert await pool.fetch(_REMAINS) == []


@pytest.mark.usefixtures("old_snapshot")
async def test_a_rebuild_of_somebody_else_s_is_left_alone(
    database_url: str, pool: asyncpg.Pool
) -> None:
    other = await asyncpg.connect(database_url)
    rebuild = asyncio.create_task(other.execute(f"REINDEX INDEX CONCURRENTLY {INDEX}"))
    await wait_for_yes(pool, f"SELECT EXISTS ({_REMAINS})")
    service = reindexer(database_url)
    assert await service.run_once() == []
    assert service.failures == 0
    assert len(await pool.fetch(_REMAINS)) == 1
    assert not rebuild.done()
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    await rebuild
    await other.close()
    assert await pool.fetch(_REMAINS) == []
    assert await service.run_once() == [INDEX]


async def test_a_valid_index_with_such_a_name_is_not_ours_to_drop(
    database_url: str, pool: asyncpg.Pool
) -> None:
    await pool.execute(f"CREATE INDEX {INDEX}_ccnew1 ON river_job (kind)")
    try:
        assert await reindexer(database_url).run_once() == []
        assert len(await pool.fetch(_REMAINS)) == 1
    finally:
        await pool.execute(f"DROP INDEX {INDEX}_ccnew1")
