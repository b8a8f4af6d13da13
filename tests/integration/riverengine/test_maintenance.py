"""The leader's services on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import asyncpg
import pytest

from riverengine.config import FOREVER, Config
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import SystemClock
from riverengine.run.maintenance.cleaner import JobCleaner
from riverengine.run.maintenance.interval_service import CircuitBreaker, MaintenanceTimings
from riverengine.run.maintenance.queue_cleaner import QueueCleaner
from riverengine.run.maintenance.rescuer import ERROR_TEXT, JobRescuer
from riverengine.run.maintenance.scheduler import JobScheduler
from riverengine.work.registry import Workers
from riverengine.work.worker import NO_TIMEOUT, Job, Worker
from tests.integration.riverengine.job_rows import blocked, insert_job, job, states

NOW = MaintenanceTimings(stagger=timedelta(0), batch_pause=(timedelta(0), timedelta(0)))
SMALL = replace(NOW, batch_size=2)
HOURS = timedelta(hours=1)
MASK = "11110101"


@dataclass
class Known:
    kind: ClassVar[str] = "known"
    number: int = 0


@dataclass
class Endless:
    kind: ClassVar[str] = "endless"


@dataclass
class Long:
    kind: ClassVar[str] = "long"


class KnownWorker(Worker[Known]):
    pass


class EndlessWorker(Worker[Endless]):
    def timeout(self, job: Job[Endless]) -> timedelta | None:
        return NO_TIMEOUT


class LongWorker(Worker[Long]):
    def timeout(self, job: Job[Long]) -> timedelta | None:
        return timedelta(hours=3)

    def next_retry(self, job: Job[Long]) -> datetime | None:
        return datetime(2040, 1, 1, tzinfo=UTC)


def workers() -> Workers:
    registry = Workers()
    registry.add(KnownWorker())
    registry.add(EndlessWorker())
    registry.add(LongWorker())
    return registry


def rescuer(
    pool: asyncpg.Pool, timings: MaintenanceTimings = NOW, config: Config | None = None
) -> JobRescuer:
    return JobRescuer(
        pool, config=config or Config(), workers=workers(), clock=SystemClock(), timings=timings
    )


def cleaner(pool: asyncpg.Pool, config: Config, timings: MaintenanceTimings = NOW) -> JobCleaner:
    return JobCleaner(pool, config=config, clock=SystemClock(), timings=timings)


class Notified:
    def __init__(self) -> None:
        self.queues: list[str] = []

    async def __call__(self, _conn: asyncpg.Connection, queues: Sequence[str]) -> None:
        self.queues.extend(queues)


def scheduler(
    pool: asyncpg.Pool, notify: Notified | None = None, timings: MaintenanceTimings = NOW
) -> JobScheduler:
    return JobScheduler(
        BoundedPool(pool),
        config=Config(),
        notify_insert=notify or Notified(),
        clock=SystemClock(),
        timings=timings,
    )


@pytest.mark.parametrize("state", ["scheduled", "retryable"])
async def test_due_jobs_become_available(pool: asyncpg.Pool, state: str) -> None:
    due = await insert_job(pool, state=state, scheduled_ago=HOURS)
    soon = await insert_job(pool, state=state, scheduled_ago=timedelta(seconds=-4))
    later = await insert_job(pool, state=state, scheduled_ago=timedelta(seconds=-30))
    before = await job(pool, soon)
    assert await scheduler(pool).run_once() == 2
    assert await states(pool) == {due: "available", soon: "available", later: state}
    assert (await job(pool, soon))["scheduled_at"] == before["scheduled_at"]


@pytest.mark.parametrize("state", ["pending", "running", "available"])
async def test_other_states_are_not_scheduled(pool: asyncpg.Pool, state: str) -> None:
    one = await insert_job(pool, state=state, scheduled_ago=HOURS)
    assert await scheduler(pool).run_once() == 0
    assert await states(pool) == {one: state}


async def test_only_queues_due_now_are_notified(pool: asyncpg.Pool) -> None:
    await insert_job(pool, state="scheduled", scheduled_ago=HOURS, queue="now")
    await insert_job(pool, state="retryable", scheduled_ago=HOURS, queue="now")
    await insert_job(pool, state="scheduled", scheduled_ago=timedelta(seconds=-4), queue="soon")
    notified = Notified()
    await scheduler(pool, notified).run_once()
    assert notified.queues == ["now"]


async def test_a_taken_unique_key_discards(pool: asyncpg.Pool) -> None:
    holder = await insert_job(pool, state="running", unique_key=b"k", unique_states=MASK)
    # Its own state is outside its mask, so that it does not hold the key itself.
    waiting = await insert_job(
        pool, state="retryable", unique_key=b"k", unique_states="11010101", scheduled_ago=HOURS
    )
    await scheduler(pool).run_once()
    assert (await states(pool)) == {holder: "running", waiting: "discarded"}
    row = await job(pool, waiting)
    assert json.loads(row["metadata"]) == {"unique_key_conflict": "scheduler_discarded"}
    assert row["finalized_at"] is not None


async def test_of_equal_keys_one_job_survives(pool: asyncpg.Pool) -> None:
    options = {"state": "retryable", "unique_key": b"k", "unique_states": "11010101"}
    second = await insert_job(pool, priority=2, scheduled_ago=2 * HOURS, **options)  # type: ignore[arg-type]
    first = await insert_job(pool, priority=1, scheduled_ago=HOURS, **options)  # type: ignore[arg-type]
    await scheduler(pool).run_once()
    assert await states(pool) == {first: "available", second: "discarded"}


async def test_the_holder_of_a_key_survives_its_rival_in_the_batch(pool: asyncpg.Pool) -> None:
    rival = await insert_job(
        pool, state="retryable", unique_key=b"k", unique_states="11010101", scheduled_ago=HOURS
    )
    holder = await insert_job(
        pool, state="scheduled", unique_key=b"k", unique_states=MASK, scheduled_ago=HOURS
    )
    await scheduler(pool).run_once()
    assert await states(pool) == {rival: "discarded", holder: "available"}


async def test_two_leaders_schedule_each_job_once(pool: asyncpg.Pool) -> None:
    for _ in range(50):
        await insert_job(pool, state="scheduled", scheduled_ago=HOURS)
    counts = await asyncio.gather(*(scheduler(pool, timings=SMALL).run_once() for _ in range(2)))
    assert sum(counts) == 50
    assert set((await states(pool)).values()) == {"available"}


async def test_a_due_job_locked_elsewhere_holds_up_no_other(pool: asyncpg.Pool) -> None:
    locked = await insert_job(pool, state="scheduled", scheduled_ago=HOURS)
    free = await insert_job(pool, state="scheduled", scheduled_ago=HOURS)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM river_job WHERE id = $1 FOR UPDATE", locked)
        assert await asyncio.wait_for(scheduler(pool).run_once(), 20) == 1
    assert await states(pool) == {locked: "scheduled", free: "available"}


async def test_a_key_about_to_be_taken_holds_up_no_job_that_takes_none(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever inserts a job with it in a transaction of his own may be frozen before its end."""
    monkeypatch.setattr("riverengine.run.maintenance.scheduler._TIMEOUT", 1.0)
    monkeypatch.setattr("riverengine.run.maintenance.scheduler._KEYS_TIMEOUT", 0.5)
    waiting = await insert_job(
        pool, state="retryable", unique_key=b"k", unique_states="11010101", scheduled_ago=HOURS
    )
    service = scheduler(pool)
    async with pool.acquire() as frozen:
        transaction = frozen.transaction()
        await transaction.start()
        await insert_job(frozen, state="available", unique_key=b"k", unique_states=MASK)
        expected = {waiting: "retryable"}
        for key in (b"l", b"m"):
            holder = await insert_job(
                pool, state="scheduled", unique_key=key, unique_states=MASK, scheduled_ago=HOURS
            )
            plain = await insert_job(pool, state="scheduled", scheduled_ago=HOURS)
            with pytest.raises(TimeoutError):
                await service.run_once()
            expected |= {holder: "available", plain: "available"}
            assert await states(pool) == expected
        await transaction.rollback()
    assert await service.run_once() == 1
    assert await states(pool) == expected | {waiting: "available"}


@pytest.mark.parametrize(
    ("state", "kept", "gone"),
    [
        ("cancelled", timedelta(hours=23), timedelta(hours=25)),
        ("completed", timedelta(hours=23), timedelta(hours=25)),
        ("discarded", timedelta(days=6), timedelta(days=8)),
    ],
)
async def test_final_jobs_are_deleted_after_their_retention(
    pool: asyncpg.Pool, state: str, kept: timedelta, gone: timedelta
) -> None:
    stays = await insert_job(pool, state=state, finalized_ago=kept)
    await insert_job(pool, state=state, finalized_ago=gone)
    assert await cleaner(pool, Config()).run_once() == 1
    assert await states(pool) == {stays: state}


@pytest.mark.parametrize("state", ["cancelled", "completed", "discarded"])
async def test_forever_keeps_one_state_only(pool: asyncpg.Pool, state: str) -> None:
    for each in ("cancelled", "completed", "discarded"):
        await insert_job(pool, state=each, finalized_ago=timedelta(days=900))
    config = Config(**{f"{state}_job_retention_period": FOREVER})  # type: ignore[arg-type]
    assert await cleaner(pool, config).run_once() == 2
    assert list((await states(pool)).values()) == [state]


@pytest.mark.parametrize("state", ["cancelled", "completed", "discarded"])
async def test_each_state_has_a_retention_of_its_own(pool: asyncpg.Pool, state: str) -> None:
    young = await insert_job(pool, state=state, finalized_ago=timedelta(minutes=9))
    await insert_job(pool, state=state, finalized_ago=timedelta(minutes=11))
    config = Config(**{f"{state}_job_retention_period": timedelta(minutes=10)})  # type: ignore[arg-type]
    assert await cleaner(pool, config).run_once() == 1
    assert await states(pool) == {young: state}


async def test_a_deletion_waits_no_longer_than_its_timeout(pool: asyncpg.Pool) -> None:
    gone = await insert_job(pool, state="completed", finalized_ago=timedelta(days=2))
    service = cleaner(pool, Config(job_cleaner_timeout=timedelta(milliseconds=50)))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE river_job")
        with pytest.raises(TimeoutError):
            await service.run_once()
    assert await states(pool) == {gone: "completed"}


async def test_cleaning_goes_on_until_a_batch_is_not_full(pool: asyncpg.Pool) -> None:
    for _ in range(5):
        await insert_job(pool, state="completed", finalized_ago=timedelta(days=2))
    await insert_job(pool, state="running")
    assert await cleaner(pool, Config(), SMALL).run_once() == 5


async def test_the_cleaner_waits_for_a_locked_job_and_spares_it_if_it_was_retried(
    pool: asyncpg.Pool,
) -> None:
    ended = timedelta(days=2)
    before, retried, after = [
        await insert_job(pool, state="completed", finalized_ago=ended) for _ in range(3)
    ]
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            "UPDATE river_job SET state = 'available', finalized_at = NULL WHERE id = $1", retried
        )
        run = asyncio.create_task(cleaner(pool, Config()).run_once())
        await blocked(pool)
        assert set(await states(pool)) == {before, retried, after}
    assert await asyncio.wait_for(run, 20) == 2
    assert await states(pool) == {retried: "available"}


async def test_queues_without_heartbeat_are_deleted(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO river_queue (name, updated_at, paused_at) VALUES"
        " ('alive', now() - interval '23 h', NULL), ('dead', now() - interval '25 h', NULL),"
        " ('paused', now() - interval '25 h', now()), ('dead2', now() - interval '25 h', NULL)"
    )
    service = QueueCleaner(pool, config=Config(), clock=SystemClock(), timings=SMALL)
    assert await service.run_once() == 3
    assert await pool.fetchval("SELECT string_agg(name, ',') FROM river_queue") == "alive"


async def test_a_stuck_job_is_retried(pool: asyncpg.Pool) -> None:
    stuck = await insert_job(pool, state="running", attempted_ago=2 * HOURS)
    fresh = await insert_job(pool, state="running", attempted_ago=timedelta(minutes=59))
    assert await rescuer(pool).run_once() == 1
    row = await job(pool, stuck)
    assert row["state"] == "retryable"
    assert row["attempt"] == 1
    assert row["finalized_at"] is None
    (error,) = (json.loads(text) for text in row["errors"])
    assert set(error) == {"at", "attempt", "error", "trace"}
    assert (error["attempt"], error["error"], error["trace"]) == (1, ERROR_TEXT, "")
    assert error["at"].endswith("Z")
    assert json.loads(row["metadata"]) == {"river:rescue_count": 1}
    assert (await job(pool, fresh))["state"] == "running"


@pytest.mark.parametrize("kind", ["known", "unknown"])
async def test_used_up_attempts_discard(pool: asyncpg.Pool, kind: str) -> None:
    stuck = await insert_job(
        pool, kind=kind, state="running", attempt=3, max_attempts=3, attempted_ago=2 * HOURS
    )
    await rescuer(pool).run_once()
    row = await job(pool, stuck)
    assert row["state"] == "discarded"
    assert row["finalized_at"] is not None


async def test_an_unknown_kind_is_retried_not_discarded(pool: asyncpg.Pool) -> None:
    stuck = await insert_job(pool, kind="go_kind", state="running", attempted_ago=2 * HOURS)
    await rescuer(pool).run_once()
    assert await states(pool) == {stuck: "retryable"}


async def test_an_unknown_kind_is_left_to_the_client_that_works_it_while_that_lives(
    pool: asyncpg.Pool,
) -> None:
    """It may run for hours by right: only its client knows."""
    names = ("living", "silent", "of-go")
    ids = [
        await insert_job(pool, kind="their_kind", state="running", attempted_ago=2 * HOURS)
        for _ in names
    ]
    for job_id, name in zip(ids, names, strict=True):
        await pool.execute(
            "UPDATE river_job SET attempted_by = array['earlier', $2] WHERE id = $1", job_id, name
        )
    await pool.execute(
        "INSERT INTO riverengine_client (id, incarnation, host, pid, heartbeat_at) VALUES"
        " ('living', gen_random_uuid(), '', 1, now()),"
        " ('silent', gen_random_uuid(), '', 2, now() - interval '1 min')"
    )
    await rescuer(pool).run_once()
    assert await states(pool) == dict(zip(ids, ("running", "retryable", "retryable"), strict=True))
    # Without our table nobody has heartbeats.
    await pool.execute("ALTER TABLE riverengine_client RENAME TO away")
    try:
        await rescuer(pool).run_once()
    finally:
        await pool.execute("ALTER TABLE away RENAME TO riverengine_client")
    assert set((await states(pool)).values()) == {"retryable"}


async def test_unknown_kinds_are_discarded_where_that_is_wanted(pool: asyncpg.Pool) -> None:
    unknown = await insert_job(pool, kind="go_kind", state="running", attempted_ago=2 * HOURS)
    known = await insert_job(pool, state="running", attempted_ago=2 * HOURS)
    await rescuer(pool, config=Config(rescuer_discards_unknown_kinds=True)).run_once()
    assert await states(pool) == {unknown: "discarded", known: "retryable"}
    row = await job(pool, unknown)
    assert row["finalized_at"] is not None
    (error,) = (json.loads(text) for text in row["errors"])
    assert (error["attempt"], error["error"]) == (1, ERROR_TEXT)


async def test_a_stuck_job_that_cannot_be_changed_holds_up_no_other(pool: asyncpg.Pool) -> None:
    ids = [await insert_job(pool, state="running", attempted_ago=2 * HOURS) for _ in range(9)]
    poison = {ids[2], ids[7]}
    await pool.execute(
        "ALTER TABLE river_job ADD CONSTRAINT no_poison"
        f" CHECK (id NOT IN ({ids[2]}, {ids[7]}) OR errors IS NULL)"
    )
    service = rescuer(pool)
    try:
        assert await service.run_once() == 7
    finally:
        await pool.execute("ALTER TABLE river_job DROP CONSTRAINT no_poison")
    assert service.failures == 1
    assert await states(pool) == {
        job_id: "running" if job_id in poison else "retryable" for job_id in ids
    }
    assert await service.run_once() == 2


@pytest.mark.parametrize("metadata", [[], "text", 7, None, {"river:rescue_count": "x"}])
@pytest.mark.parametrize("args", [{}, [], {"number": "no"}, "text"])
async def test_odd_rows_are_rescued_with_the_others(
    pool: asyncpg.Pool, metadata: object, args: object
) -> None:
    odd = await insert_job(
        pool, state="running", args=args, metadata=metadata, attempted_ago=2 * HOURS
    )
    good = await insert_job(pool, state="running", attempted_ago=2 * HOURS)
    assert await rescuer(pool).run_once() == 2
    assert await states(pool) == {odd: "retryable", good: "retryable"}


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("2026-11-24T02:26:58.24605242Z", "cancelled"),
        ("2026-11-24T02:26:58-05:00", "cancelled"),
        ("0001-01-01T00:00:00Z", "retryable"),
        (None, "retryable"),
    ],
)
async def test_a_pending_cancel_is_carried_out(
    pool: asyncpg.Pool, value: str | None, state: str
) -> None:
    stuck = await insert_job(
        pool,
        state="running",
        metadata={"cancel_attempted_at": value},
        attempted_ago=2 * HOURS,
    )
    await rescuer(pool).run_once()
    assert await states(pool) == {stuck: state}


@pytest.mark.parametrize(
    ("old", "new"), [(1, 2), (2.5, 3.5), ("3", 1), (None, 1), ([], 1), (True, 1)]
)
async def test_rescues_are_counted(pool: asyncpg.Pool, old: object, new: float) -> None:
    stuck = await insert_job(
        pool, state="running", metadata={"river:rescue_count": old}, attempted_ago=2 * HOURS
    )
    await rescuer(pool).run_once()
    assert json.loads((await job(pool, stuck))["metadata"]) == {"river:rescue_count": new}


async def test_the_workers_timeout_is_respected(pool: asyncpg.Pool) -> None:
    endless = await insert_job(
        pool, kind="endless", state="running", attempted_ago=timedelta(days=90)
    )
    long = await insert_job(pool, kind="long", state="running", attempted_ago=2 * HOURS)
    late = await insert_job(pool, kind="long", state="running", attempted_ago=4 * HOURS)
    await rescuer(pool).run_once()
    assert await states(pool) == {endless: "running", long: "running", late: "retryable"}
    assert (await job(pool, late))["scheduled_at"] == datetime(2040, 1, 1, tzinfo=UTC)


async def test_the_threshold_is_the_setting_s(pool: asyncpg.Pool) -> None:
    young = await insert_job(pool, state="running", attempted_ago=timedelta(minutes=4))
    old = await insert_job(pool, state="running", attempted_ago=timedelta(minutes=6))
    config = Config(rescue_stuck_jobs_after=timedelta(minutes=5))
    assert await rescuer(pool, config=config).run_once() == 1
    assert await states(pool) == {young: "running", old: "retryable"}


async def test_rows_to_ignore_do_not_hide_a_stuck_one(pool: asyncpg.Pool) -> None:
    for _ in range(7):
        await insert_job(pool, kind="endless", state="running", attempted_ago=2 * HOURS)
    stuck = await insert_job(pool, state="running", attempted_ago=2 * HOURS)
    assert await rescuer(pool, SMALL).run_once() == 1
    assert (await job(pool, stuck))["state"] == "retryable"


async def test_two_leaders_rescue_a_job_once(pool: asyncpg.Pool) -> None:
    ids = [await insert_job(pool, state="running", attempted_ago=2 * HOURS) for _ in range(20)]
    counts = await asyncio.gather(rescuer(pool).run_once(), rescuer(pool, SMALL).run_once())
    assert sum(counts) == 20
    assert {len((await job(pool, id_))["errors"]) for id_ in ids} == {1}


async def test_a_failed_run_is_tried_again_at_the_next_tick(pool: asyncpg.Pool) -> None:
    service = JobCleaner(
        pool,
        config=Config(schema="nowhere"),
        clock=SystemClock(),
        timings=replace(NOW, job_cleaner_interval=timedelta(milliseconds=20)),
    )
    service.signal_failed.arm()
    await service.start()
    try:
        await service.signal_failed.wait()
        await service.signal_failed.wait()
        assert service.failures >= 2
    finally:
        await service.stop()


class Monotonic(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("pauses", "opens"), [((1, 1, 1), True), ((1, 1), False), ((1, 400, 400), False)]
)
def test_the_breaker_opens_after_three_failures_in_ten_minutes(
    pauses: tuple[int, ...], opens: bool
) -> None:
    clock = Monotonic()
    breaker = CircuitBreaker(clock)
    for pause in pauses:
        clock.seconds += pause
        breaker.fail()
    assert breaker.is_open is opens
    breaker.succeed()
    assert breaker.is_open is opens, "an open breaker stays open"
