"""Leadership on a real database: one leader, quick takeover, no trust beyond the window."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from riverengine.queries.leader import (
    leader_attempt_elect,
    leader_get,
    leader_hold,
    leader_resign,
)
from riverengine.run import elector as elector_module
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.elector import Elector, ElectorTimings
from riverengine.types.queue import Leader

QUICK = ElectorTimings(
    interval=timedelta(milliseconds=50),
    jitter=timedelta(milliseconds=10),
    wake_jitter=timedelta(0),
    retry_scale=0.01,
)
SLOW = replace(QUICK, interval=timedelta(seconds=30))


class FrozenClock:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> object:
        raise AssertionError("the elector asks for no wall time")

    def monotonic(self) -> float:
        return self.seconds


class ListeningNotifier:
    """The notifier's interface over one plain connection."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self._conn = conn
        self.callbacks: list[Callable[[str], None]] = []
        self.payloads: list[str] = []

    async def listen(self) -> None:
        await self._conn.add_listener("public.river_leadership", self._received)

    def _received(self, _conn: object, _pid: int, _channel: str, payload: str) -> None:
        self.payloads.append(payload)
        for callback in tuple(self.callbacks):
            callback(payload)

    def subscribe(self, topic: str, callback: Callable[[str], None], /) -> ListeningNotifier:
        assert topic == "river_leadership"
        self.callbacks.append(callback)
        return self

    def close(self) -> None:
        self.callbacks.pop()


@pytest.fixture
async def notifier(database_url: str) -> AsyncIterator[ListeningNotifier]:
    conn = await asyncpg.connect(database_url)
    notifier = ListeningNotifier(conn)
    await notifier.listen()
    yield notifier
    await conn.close()


def build(pool: asyncpg.Pool, client_id: str, **options: object) -> Elector:
    timings = options.pop("timings", QUICK)
    database = BoundedPool(pool)
    elector = Elector(database, schema=None, client_id=client_id, timings=timings, **options)  # type: ignore[arg-type]
    for signal in (
        elector.signal_denied,
        elector.signal_gained,
        elector.signal_reelected,
        elector.signal_lost,
        elector.signal_resigned,
        elector.signal_error,
    ):
        signal.arm()
    return elector


@asynccontextmanager
async def running(*electors: Elector) -> AsyncIterator[None]:
    try:
        for elector in electors:
            await elector.start()
        yield
    finally:
        for elector in electors:
            await elector.stop()


async def test_a_lone_client_leads_and_keeps_its_term(pool: asyncpg.Pool) -> None:
    one = build(pool, "one")
    async with running(one):
        term = await one.signal_gained.wait()
        renewed = await one.signal_reelected.wait()
        assert one.is_leader
        assert renewed.elected_at == term.elected_at
        assert renewed.expires_at > term.expires_at
        assert await leader_get(pool, schema=None) is not None


async def test_the_term_lasts_fifteen_seconds_of_the_database(pool: asyncpg.Pool) -> None:
    one = build(pool, "one", timings=SLOW)
    async with running(one):
        term = await one.signal_gained.wait()
    assert term.expires_at - term.elected_at == timedelta(seconds=15)


async def test_the_second_client_follows(pool: asyncpg.Pool) -> None:
    one, two = build(pool, "one"), build(pool, "two")
    async with running(one):
        await one.signal_gained.wait()
        async with running(two):
            await two.signal_denied.wait()
            await two.signal_denied.wait()
            assert one.is_leader
            assert not two.is_leader


async def test_stopping_resigns_and_says_so(
    pool: asyncpg.Pool, notifier: ListeningNotifier
) -> None:
    one = build(pool, "one", timings=SLOW)
    async with running(one):
        await one.signal_gained.wait()
    assert await one.signal_resigned.wait() is True
    assert await leader_get(pool, schema=None) is None
    assert not one.is_leader
    await asyncio.wait_for(_until(lambda: bool(notifier.payloads)), 20)
    assert notifier.payloads == ['{"leader_id" : "one", "action" : "resigned"}']


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is plain state
        await asyncio.sleep(0.005)


async def test_a_resignation_wakes_the_follower(
    pool: asyncpg.Pool, notifier: ListeningNotifier
) -> None:
    one = build(pool, "one", timings=SLOW)
    two = build(pool, "two", timings=SLOW, notifier=notifier)
    await one.start()
    await one.signal_gained.wait()
    async with running(two):
        await two.signal_denied.wait()
        await one.stop()
        # The follower's own interval is 30 s: only the notification can be this quick.
        assert (await two.signal_gained.wait()).leader_id == "two"


async def test_a_deleted_row_is_taken_over(pool: asyncpg.Pool) -> None:
    one = build(pool, "one")
    async with running(one):
        first = await one.signal_gained.wait()
        await pool.execute("DELETE FROM river_leader")
        assert await one.signal_lost.wait() == first
        second = await one.signal_gained.wait()
        assert second.elected_at > first.elected_at


async def test_an_expired_term_is_taken_over(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO river_leader (leader_id, elected_at, expires_at)"
        " VALUES ('dead', now() - interval '20 s', now() - interval '5 s')"
    )
    one = build(pool, "one")
    async with running(one):
        assert (await one.signal_gained.wait()).leader_id == "one"


async def test_a_valid_term_of_somebody_else_is_respected(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO river_leader (leader_id, elected_at, expires_at)"
        " VALUES ('go', now(), now() + interval '15 s')"
    )
    one = build(pool, "one")
    async with running(one):
        await one.signal_denied.wait()
        await one.signal_denied.wait()
    row = await leader_get(pool, schema=None)
    assert row is not None
    assert row.leader_id == "go"


async def test_a_new_term_under_the_same_id_ends_the_old_one(pool: asyncpg.Pool) -> None:
    one = build(pool, "one")
    async with running(one):
        first = await one.signal_gained.wait()
        await pool.execute(
            "UPDATE river_leader SET elected_at = elected_at + interval '1 microsecond'"
        )
        assert await one.signal_lost.wait() == first
        await one.signal_denied.wait()
        assert not one.is_leader
    row = await leader_get(pool, schema=None)
    assert row is not None, "stepping down must not resign the newer term"


async def test_elected_at_keeps_its_microseconds(pool: asyncpg.Pool) -> None:
    one = build(pool, "one", timings=SLOW)
    async with running(one):
        term = await one.signal_gained.wait()
        text = await pool.fetchval(
            "SELECT to_char(elected_at AT TIME ZONE 'UTC', 'US') FROM river_leader"
        )
        assert int(text) == term.elected_at.microsecond


async def test_the_trust_window_ends_before_the_term(pool: asyncpg.Pool) -> None:
    clock = FrozenClock()
    one = build(pool, "one", timings=SLOW, clock=clock)
    async with running(one):
        await one.signal_gained.wait()
        clock.seconds += 13.9
        assert one.is_leader
        clock.seconds += 0.2
        assert not one.is_leader
        assert one.term is None


async def test_a_leader_back_from_a_long_pause_steps_down(pool: asyncpg.Pool) -> None:
    clock = FrozenClock()
    one = build(pool, "one", clock=clock)
    async with running(one):
        term = await one.signal_gained.wait()
        clock.seconds += 3600
        assert await one.signal_lost.wait() == term
        assert await one.signal_resigned.wait() is True
        assert (await one.signal_gained.wait()).elected_at > term.elected_at


async def test_failing_prolongation_ends_the_trust(pool: asyncpg.Pool) -> None:
    clock = FrozenClock()
    one = build(pool, "one", clock=clock)
    async with running(one):
        await one.signal_gained.wait()
        await pool.execute("ALTER TABLE river_leader RENAME TO river_leader_away")
        try:
            await one.signal_error.wait()
            assert one.is_leader, "one error does not end the term"
            clock.seconds += 15
            await one.signal_lost.wait()
            assert not one.is_leader
        finally:
            await pool.execute("ALTER TABLE river_leader_away RENAME TO river_leader")
        await pool.execute("DELETE FROM river_leader")
        await one.signal_gained.wait()
    assert one.errors > 0


async def test_election_errors_are_survived(pool: asyncpg.Pool) -> None:
    one = build(pool, "one")
    await pool.execute("ALTER TABLE river_leader RENAME TO river_leader_away")
    try:
        await one.start()
        await one.signal_error.wait()
        await one.signal_error.wait()
    finally:
        await pool.execute("ALTER TABLE river_leader_away RENAME TO river_leader")
    try:
        await one.signal_gained.wait()
    finally:
        await one.stop()


async def test_a_blocked_election_is_given_up(pool: asyncpg.Pool) -> None:
    timings = replace(QUICK, timeout=timedelta(milliseconds=100))
    one = build(pool, "one", timings=timings)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE river_leader IN ACCESS EXCLUSIVE MODE")
        await one.start()
        assert isinstance(await one.signal_error.wait(), TimeoutError)
    try:
        await one.signal_gained.wait()
    finally:
        await one.stop()


async def test_an_election_that_was_given_up_and_won_is_served(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could lead before the term ends by itself."""
    attempt, heard = leader_attempt_elect, asyncio.Event()

    async def answer_late(*args: Any, **options: Any) -> Leader | None:
        monkeypatch.undo()
        term = await attempt(*args, **options)
        await heard.wait()
        return term

    monkeypatch.setattr(elector_module, "leader_attempt_elect", answer_late)
    one = build(pool, "one", timings=replace(QUICK, timeout=timedelta(milliseconds=200)))
    async with running(one):
        assert isinstance(await one.signal_error.wait(), TimeoutError)
        won = await leader_get(pool, schema=None)
        await one.signal_denied.wait()
        heard.set()
        assert await one.signal_gained.wait() == won
        assert (await one.signal_reelected.wait()).elected_at == won.elected_at
        assert one.is_leader


async def test_a_stop_gives_back_a_term_that_was_heard_of_late(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, trying_again, settled = leader_attempt_elect, asyncio.Event(), asyncio.Event()

    async def first_late_then_never(*args: Any, **options: Any) -> Leader | None:
        if await leader_get(pool, schema=None) is not None:
            trying_again.set()
            await asyncio.Event().wait()
        term = await attempt(*args, **options)
        await trying_again.wait()
        settled.set()
        return term

    monkeypatch.setattr(elector_module, "leader_attempt_elect", first_late_then_never)
    one = build(pool, "one", timings=replace(QUICK, timeout=timedelta(milliseconds=200)))
    await one.start()
    await settled.wait()
    await one.stop()
    assert await leader_get(pool, schema=None) is None


async def test_a_term_that_is_heard_of_too_late_is_given_back(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, heard, clock = leader_attempt_elect, asyncio.Event(), FrozenClock()

    async def answer_late(*args: Any, **options: Any) -> Leader | None:
        monkeypatch.undo()
        term = await attempt(*args, **options)
        await heard.wait()
        return term

    monkeypatch.setattr(elector_module, "leader_attempt_elect", answer_late)
    timings = replace(QUICK, timeout=timedelta(milliseconds=200))
    one = build(pool, "one", timings=timings, clock=clock)
    async with running(one):
        await one.signal_denied.wait()
        late = await leader_get(pool, schema=None)
        clock.seconds += 3600
        heard.set()
        assert await one.signal_lost.wait() == late
        assert await one.signal_resigned.wait() is True
        assert await one.signal_gained.wait() == late
        assert (await one.signal_gained.wait()).elected_at > late.elected_at


async def test_request_resign_makes_the_leader_resign_and_compete(
    pool: asyncpg.Pool, notifier: ListeningNotifier
) -> None:
    one = build(pool, "one", timings=SLOW, notifier=notifier)
    async with running(one):
        first = await one.signal_gained.wait()
        await pool.execute(
            "SELECT pg_notify('public.river_leadership',"
            """ '{"action":"request_resign","leader_id":""}')"""
        )
        assert await one.signal_resigned.wait() is True
        assert (await one.signal_gained.wait()).elected_at > first.elected_at


async def test_a_request_naming_an_older_term_is_ignored(pool: asyncpg.Pool) -> None:
    one = build(pool, "one")
    async with running(one):
        term = await one.signal_gained.wait()
        one.request_resign(replace(term, elected_at=term.elected_at - timedelta(seconds=1)))
        await one.signal_reelected.wait()
        assert one.term is not None
        assert one.term.elected_at == term.elected_at


async def test_a_follower_ignores_request_resign(pool: asyncpg.Pool) -> None:
    one, two = build(pool, "one"), build(pool, "two")
    async with running(one):
        await one.signal_gained.wait()
        async with running(two):
            await two.signal_denied.wait()
            two.request_resign()
            await two.signal_denied.wait()
    assert await one.signal_resigned.wait() is True


@pytest.mark.parametrize(
    "payload",
    ["not json", "[]", "null", "{}", '{"action":"other"}', "[" * 5000, '{"action":["resigned"]}'],
)
async def test_odd_notifications_are_ignored(
    pool: asyncpg.Pool, notifier: ListeningNotifier, payload: str
) -> None:
    one = build(pool, "one", notifier=notifier)
    async with running(one):
        term = await one.signal_gained.wait()
        for callback in notifier.callbacks:
            callback(payload)
        await one.signal_reelected.wait()
        assert one.term is not None
        assert one.term.elected_at == term.elected_at


async def test_subscribers_hear_of_gain_and_loss(pool: asyncpg.Pool) -> None:
    heard: list[tuple[str, Leader]] = []
    one = build(pool, "one")
    one.subscribe(lambda t: heard.append(("gained", t)), lambda t: heard.append(("lost", t)))
    async with running(one):
        term = await one.signal_gained.wait()
        late: list[Leader] = []
        one.subscribe(late.append, lambda _term: None)
        assert late == [term], "a late subscriber hears of the present term at once"
    assert heard == [("gained", term), ("lost", term)]


async def test_a_closed_subscription_and_a_failing_one_harm_nobody(pool: asyncpg.Pool) -> None:
    heard: list[Leader] = []

    def fail(_term: Leader) -> None:
        raise RuntimeError("boom")

    one = build(pool, "one")
    one.subscribe(fail, fail)
    one.subscribe(heard.append, heard.append).close()
    async with running(one):
        await one.signal_gained.wait()
        await one.signal_reelected.wait()
    assert heard == []


async def test_many_candidates_never_hold_two_terms_at_once(pool: asyncpg.Pool) -> None:
    electors = [build(pool, f"client_{n}") for n in range(5)]
    holders: list[Leader] = []
    terms = 0

    def gained(term: Leader) -> None:
        nonlocal terms
        assert holders == []
        holders.append(term)
        terms += 1

    failures: list[str] = []

    def checked(term: Leader) -> None:
        try:
            gained(term)
        except AssertionError:
            failures.append(term.leader_id)

    for elector in electors:
        elector.subscribe(checked, holders.remove)
    async with running(*electors):
        for _ in range(10):
            await asyncio.wait_for(_until(lambda: bool(holders)), 20)
            before = terms
            next(e for e in electors if e.is_leader).request_resign()
            await asyncio.wait_for(_until(lambda seen=before: terms > seen), 20)  # type: ignore[misc]
    assert failures == []
    assert terms >= 11


async def test_holding_a_term_lets_it_be_prolonged_but_not_taken(pool: asyncpg.Pool) -> None:
    one = build(pool, "one")
    async with running(one):
        term = await one.signal_gained.wait()
        async with pool.acquire() as conn, conn.transaction():
            assert await leader_hold(conn, schema=None, term=term)
            await one.signal_reelected.wait()
            await one.signal_reelected.wait()
            resigning = asyncio.ensure_future(leader_resign(pool, schema=None, term=term))
            done, _ = await asyncio.wait({resigning}, timeout=0.1)
            assert not done
        assert await asyncio.wait_for(resigning, 20) is True


async def test_of_all_who_find_an_expired_term_one_is_elected(pool: asyncpg.Pool) -> None:
    ttl, ids = timedelta(minutes=1), [f"client {number}" for number in range(8)]
    for _ in range(20):
        await pool.execute("UPDATE river_leader SET expires_at = now() - interval '1 s'")
        attempts = [leader_attempt_elect(pool, schema=None, leader_id=id_, ttl=ttl) for id_ in ids]
        terms = [term for term in await asyncio.gather(*attempts) if term is not None]
        assert terms == [await leader_get(pool, schema=None)]


async def test_resigning_a_foreign_term_changes_and_says_nothing(
    pool: asyncpg.Pool, notifier: ListeningNotifier
) -> None:
    one = build(pool, "one", timings=SLOW)
    async with running(one):
        term = await one.signal_gained.wait()
        assert not await leader_resign(pool, schema=None, term=replace(term, leader_id="somebody"))
        assert one.is_leader
        assert notifier.payloads == []
    await asyncio.wait_for(_until(lambda: bool(notifier.payloads)), 20)
    assert json.loads(notifier.payloads[0])["leader_id"] == "one"
