"""Periodic jobs and the maintainer on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import asyncpg
import pytest

from riverengine.config import Config
from riverengine.insert.options import InsertOpts
from riverengine.insert.plan import InsertPlan
from riverengine.queries.leader import leader_attempt_elect
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.clock import SystemClock
from riverengine.run.elector import Elector
from riverengine.run.maintenance import periodic
from riverengine.run.maintenance.cron import parse_cron
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.maintainer import Maintainer
from riverengine.run.maintenance.periodic import PeriodicEnqueuer
from riverengine.run.maintenance.periodic_job import (
    PeriodicJob,
    PeriodicJobBundle,
    PeriodicJobHandle,
)
from riverengine.run.service import Service
from riverengine.types.queue import Leader
from riverengine.types.schedule import NeverSchedule, PeriodicInterval
from riverengine.types.work_errors import (
    PeriodicJobError,
    PeriodicJobIdTakenError,
)

AT_ONCE = MaintenanceTimings(stagger=timedelta(0))
START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


@dataclass
class Tick:
    kind: ClassVar[str] = "tick"


class FrozenClock(SystemClock):
    """Wall time moved by hand."""

    def __init__(self, now: datetime = START) -> None:
        self.instant = now

    def now(self) -> datetime:
        return self.instant


async def insert(conn: asyncpg.Connection, plans: Sequence[InsertPlan]) -> None:
    for plan in plans:
        await conn.execute(
            "INSERT INTO river_job (kind, args, metadata, state, max_attempts, scheduled_at)"
            " VALUES ($1, $2::text::jsonb, $3::text::jsonb, $4::text::river_job_state, 25, $5)",
            plan.kind,
            plan.encoded_args,
            plan.metadata_json,
            plan.state.value,
            plan.scheduled_at,
        )


@pytest.fixture
async def term(pool: asyncpg.Pool) -> Leader:
    row = await pool.fetchrow(
        "INSERT INTO river_leader (leader_id, elected_at, expires_at)"
        " VALUES ('me', now(), now() + interval '1 h') RETURNING *"
    )
    return Leader(leader_id="me", elected_at=row["elected_at"], expires_at=row["expires_at"])


def enqueuer(
    pool: asyncpg.Pool,
    term: Leader | None,
    bundle: PeriodicJobBundle,
    clock: FrozenClock,
    insert: Callable[..., object] = insert,
) -> PeriodicEnqueuer:
    service = PeriodicEnqueuer(
        BoundedPool(pool),
        config=Config(),
        jobs=bundle,
        insert=insert,  # type: ignore[arg-type]
        clock=clock,
        term=lambda: term,
        known_kinds=lambda: None,
        timings=AT_ONCE,
        retry_pause=timedelta(milliseconds=1),
    )
    service.signal_inserted.arm()
    service.signal_waiting.arm()
    return service


def minutely(id: str | None = "tick", **options: object) -> PeriodicJob:  # noqa: A002
    return PeriodicJob(parse_cron("* * * * *"), lambda: (Tick(), None), id, **options)  # type: ignore[arg-type]


async def test_a_jump_of_the_clock_delays_a_periodic_job_by_a_minute_at_most(
    pool: asyncpg.Pool, term: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept wakes up with timers that know nothing of it."""
    clock = FrozenClock()
    daily = PeriodicJob(parse_cron("0 0 * * *"), lambda: (Tick(), None), "daily")
    service = enqueuer(pool, term, PeriodicJobBundle([daily]), clock)
    await service.start()
    try:
        assert await service.signal_waiting.wait() <= 60
    finally:
        await service.stop()

    monkeypatch.setattr(periodic, "_LOOK", timedelta(milliseconds=10))
    service = enqueuer(pool, term, PeriodicJobBundle([daily]), clock)
    await service.start()
    try:
        await service.signal_waiting.wait()
        clock.instant += timedelta(hours=12)
        assert await service.signal_inserted.wait() == 1
    finally:
        await service.stop()


async def slots(pool: asyncpg.Pool) -> list[datetime]:
    rows = await pool.fetch("SELECT scheduled_at FROM river_job ORDER BY scheduled_at")
    return [row["scheduled_at"] for row in rows]


@pytest.mark.parametrize("id_", ["x", "a" * 128, "-a", "a b", "a\n", "", "é1"])
def test_odd_ids_are_refused(id_: str) -> None:
    with pytest.raises(PeriodicJobError):
        PeriodicJob(NeverSchedule(), lambda: None, id_)


def test_a_job_needs_a_schedule_and_a_constructor() -> None:
    with pytest.raises(PeriodicJobError):
        PeriodicJob(NeverSchedule(), None)  # type: ignore[arg-type]
    with pytest.raises(PeriodicJobError):
        PeriodicJob("0 * * * *", lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("id_", ["ab", "a" * 127, "daily:report/v1.2", "a·b", "_a[1]<x>+"])
def test_proper_ids_are_taken(id_: str) -> None:
    assert PeriodicJob(NeverSchedule(), lambda: None, id_).id == id_


async def test_a_schedule_may_be_the_user_s_own(pool: asyncpg.Pool, term: Leader) -> None:
    class Noon:
        def next(self, current: datetime, /) -> datetime | None:
            noon = current.replace(hour=12, minute=0, second=0, microsecond=0)
            return noon if noon > current else noon + timedelta(days=1)

    clock = FrozenClock()
    bundle = PeriodicJobBundle([PeriodicJob(Noon(), lambda: (Tick(), None))])
    service = enqueuer(pool, term, bundle, clock)
    await service.start()
    try:
        await service.signal_waiting.wait()
        clock.instant += timedelta(days=1)
        bundle.remove(PeriodicJobHandle(99))  # wakes it
        await service.signal_inserted.wait()
    finally:
        await service.stop()
    assert [(slot.hour, slot.minute) for slot in await slots(pool)] == [(12, 0)]


def test_bundle_handles_grow_and_ids_are_unique() -> None:
    bundle = PeriodicJobBundle([minutely("one")])
    assert bundle.add(minutely("two")) == 1
    with pytest.raises(PeriodicJobIdTakenError) as error:
        bundle.add_many([minutely("three"), minutely("one")])
    assert error.value.id == "one"
    assert str(error.value) == "periodic job with ID already registered: one"
    assert len(bundle) == 2
    assert bundle.remove_by_id("one")
    assert not bundle.remove_by_id("one")
    assert bundle.add(minutely("one")) == 2
    bundle.add_many([minutely("five"), minutely(None), minutely("six")])
    bundle.remove_many_by_id(["five", "unknown", "two"])
    bundle.remove_many([PeriodicJobHandle(2), PeriodicJobHandle(77)])
    assert [job.id for job in bundle.jobs.values()] == [None, "six"]
    bundle.clear()
    assert bundle.jobs == {}
    # Handles and IDs: the ones are never used again, the others are free.
    assert bundle.add(minutely("six")) == 6


def test_an_interval_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        PeriodicInterval(timedelta(0))
    with pytest.raises(ValueError, match="timedelta"):
        PeriodicInterval(60)  # type: ignore[arg-type]


async def test_a_due_job_is_inserted_with_its_metadata(pool: asyncpg.Pool, term: Leader) -> None:
    clock = FrozenClock()
    bundle = PeriodicJobBundle([minutely()])
    service = enqueuer(pool, term, bundle, clock)
    await service.start()
    try:
        assert await service.signal_waiting.wait() == 30
        clock.instant += timedelta(seconds=29.95)  # within the margin
        handle = bundle.add(minutely("other"))
        await service.signal_inserted.wait()
        bundle.remove(handle)
    finally:
        await service.stop()
    row = await pool.fetchrow(
        "SELECT * FROM river_job WHERE metadata ->> 'river:periodic_job_id' = 'tick'"
    )
    assert row["state"] == "available"
    assert row["scheduled_at"] == datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
    assert json.loads(row["metadata"])["periodic"] is True


async def test_a_late_enqueuer_catches_up_slot_by_slot(pool: asyncpg.Pool, term: Leader) -> None:
    clock = FrozenClock()
    bundle = PeriodicJobBundle([minutely()])
    service = enqueuer(pool, term, bundle, clock)
    await service.start()
    try:
        await service.signal_waiting.wait()
        clock.instant += timedelta(minutes=3)
        bundle.remove(PeriodicJobHandle(99))  # wakes it
        for _ in range(3):
            await service.signal_inserted.wait()
    finally:
        await service.stop()
    assert [slot.minute for slot in await slots(pool)] == [1, 2, 3]


async def test_run_on_start_happens_once_per_term(pool: asyncpg.Pool, term: Leader) -> None:
    job = PeriodicJob(NeverSchedule(), lambda: (Tick(), None), "start", run_on_start=True)
    clock = FrozenClock()
    service = enqueuer(pool, term, PeriodicJobBundle([job]), clock)
    for count in (1, 2):
        await service.start()
        await service.signal_inserted.wait()
        await service.stop()
        assert len(await slots(pool)) == count
        clock.instant += timedelta(seconds=1)


async def test_two_leaders_insert_one_job_per_slot(pool: asyncpg.Pool, term: Leader) -> None:
    clock = FrozenClock()
    services = []
    for _ in range(3):
        bundle = PeriodicJobBundle([minutely(catch_up=timedelta(minutes=5))])
        services.append(enqueuer(pool, term, bundle, clock))
    await asyncio.gather(*(service.start() for service in services))
    try:
        for service in services:
            for _ in range(5):
                await service.signal_inserted.wait()
    finally:
        await asyncio.gather(*(service.stop() for service in services))
    assert [slot.minute for slot in await slots(pool)] == [56, 57, 58, 59, 0]


async def test_nothing_is_inserted_once_the_term_is_over(pool: asyncpg.Pool, term: Leader) -> None:
    await pool.execute("DELETE FROM river_leader")
    job = minutely(run_on_start=True)
    service = enqueuer(pool, term, PeriodicJobBundle([job]), FrozenClock())
    await service.start()
    try:
        assert await service.signal_inserted.wait() == 0
    finally:
        await service.stop()
    assert await slots(pool) == []


async def test_others_may_lead_while_a_leader_inserts_and_its_jobs_are_theirs_then(
    pool: asyncpg.Pool, term: Leader
) -> None:
    """Frozen in the middle of an insert it would keep them from it for as long as it is."""
    inserting, go_on = asyncio.Event(), asyncio.Event()

    async def frozen(conn: asyncpg.Connection, plans: Sequence[InsertPlan]) -> None:
        await insert(conn, plans)
        inserting.set()
        await go_on.wait()

    job = minutely(run_on_start=True)
    service = enqueuer(pool, term, PeriodicJobBundle([job]), FrozenClock(), frozen)
    await service.start()
    try:
        await inserting.wait()
        await pool.execute("UPDATE river_leader SET expires_at = now() - interval '1 s'")
        async with asyncio.timeout(20):
            assert await leader_attempt_elect(
                pool, schema=None, leader_id="other", ttl=timedelta(minutes=1)
            )
        go_on.set()
        assert await service.signal_inserted.wait() == 0
    finally:
        await service.stop()
    assert await slots(pool) == []


async def test_a_failing_job_does_not_take_the_others_along(
    pool: asyncpg.Pool, term: Leader
) -> None:
    async def picky(conn: asyncpg.Connection, plans: Sequence[InsertPlan]) -> None:
        await insert(conn, plans)
        if any(plan.queue == "poison" for plan in plans):
            raise RuntimeError("no")

    bad = PeriodicJob(
        NeverSchedule(), lambda: (Tick(), InsertOpts(queue="poison")), "bad", run_on_start=True
    )
    good = PeriodicJob(NeverSchedule(), lambda: (Tick(), None), "good", run_on_start=True)
    broken = PeriodicJob(NeverSchedule(), lambda: 1 / 0, "broken", run_on_start=True)  # type: ignore[arg-type,return-value]
    service = enqueuer(pool, term, PeriodicJobBundle([bad, broken, good]), FrozenClock(), picky)
    await service.start()
    try:
        assert await service.signal_inserted.wait() == 1
        for _ in range(4):
            assert await service.signal_inserted.wait() == 0
    finally:
        await service.stop()
    assert len(await slots(pool)) == 1


async def test_a_constructor_that_returns_args_alone_is_told(
    pool: asyncpg.Pool, term: Leader, caplog: pytest.LogCaptureFixture
) -> None:
    alone = PeriodicJob(NeverSchedule(), Tick, "alone", run_on_start=True)  # type: ignore[arg-type]
    service = enqueuer(pool, term, PeriodicJobBundle([alone]), FrozenClock())
    await service.start()
    await service.signal_waiting.wait()
    await service.stop()
    (record,) = [each for each in caplog.records if "'alone'" in each.getMessage()]
    assert "must return (args, options), or None" in str(record.exc_info and record.exc_info[1])


async def test_a_constructor_may_skip(pool: asyncpg.Pool, term: Leader) -> None:
    skip = PeriodicJob(NeverSchedule(), lambda: None, "skip", run_on_start=True)
    service = enqueuer(pool, term, PeriodicJobBundle([skip]), FrozenClock())
    await service.start()
    await service.signal_waiting.wait()
    await service.stop()
    assert await slots(pool) == []


class Recorder(Service):
    """A service that records its starts, the first of which may fail."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__("recorder")
        self.failures = failures
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        if self.failures > 0:
            self.failures -= 1
            raise RuntimeError("does not start")
        await super().start()

    async def run(self) -> None:
        self.started.set()
        await asyncio.Event().wait()


async def no_notify(_conn: asyncpg.Connection, _queues: Sequence[str]) -> None:
    raise AssertionError("nothing is scheduled here")


def maintainer(
    pool: asyncpg.Pool, elector: Elector, services: Sequence[Service] | None
) -> Maintainer:
    built = Maintainer(
        BoundedPool(pool),
        elector=elector,
        config=Config(),
        workers=None,
        periodic_jobs=PeriodicJobBundle(),
        insert=insert,
        notify_insert=no_notify,
        connect=lambda: asyncpg.connect(),
        timings=AT_ONCE,
        services=services,
        retry_scale=0.001,
    )
    for signal in (built.signal_running, built.signal_stopped, built.signal_gave_up):
        signal.arm()
    return built


async def test_services_run_exactly_while_leading(pool: asyncpg.Pool) -> None:
    elector = Elector(BoundedPool(pool), schema=None, client_id="one")
    recorder = Recorder()
    service = maintainer(pool, elector, [recorder])
    await service.start()
    assert not recorder.is_running
    await elector.start()
    await service.signal_running.wait()
    assert recorder.is_running
    await elector.stop()
    await service.signal_stopped.wait()
    assert not recorder.is_running
    await service.stop()


async def test_all_services_start_and_stop(pool: asyncpg.Pool) -> None:
    elector = Elector(BoundedPool(pool), schema=None, client_id="one")
    service = maintainer(pool, elector, None)
    await service.start()
    await elector.start()
    await service.signal_running.wait()
    await asyncio.wait_for(asyncio.gather(*(s.started.wait() for s in service.services)), 20)
    assert len(service.services) == 6
    await service.stop()
    assert not any(s.is_running for s in service.services)
    await elector.stop()


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_start_is_tried_three_times(pool: asyncpg.Pool, failures: int) -> None:
    elector = Elector(BoundedPool(pool), schema=None, client_id="one")
    recorder = Recorder(failures)
    service = maintainer(pool, elector, [recorder])
    await service.start()
    await elector.start()
    await service.signal_running.wait()
    assert recorder.starts == failures + 1
    await service.stop()
    await elector.stop()


async def test_after_three_failures_the_term_is_given_up(pool: asyncpg.Pool) -> None:
    elector = Elector(BoundedPool(pool), schema=None, client_id="one")
    recorder = Recorder(3)
    service = maintainer(pool, elector, [recorder])
    await service.start()
    await elector.start()
    given_up = await service.signal_gave_up.wait()
    later = await service.signal_running.wait()
    assert later.elected_at > given_up.elected_at
    await service.stop()
    await elector.stop()
