"""No job that a client claimed stays without its work, and every claim comes through in the end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

import asyncpg
import pytest

from riverengine import Client, Config, EventKind, JobId, JobState, QueueConfig
from riverengine.queries.statement import Record
from riverengine.run import claims
from riverengine.run.bounded_pool import BoundedPool
from riverengine.run.claims import Claims
from riverengine.testing import FrozenClock
from tests.integration.riverengine.working import (
    CLAIM,
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    started,
    wait_for_state,
    wait_for_yes,
    wait_until,
)
from tests.tcp_proxy import TcpProxy


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    """A proxy before the test's database."""
    async with TcpProxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: TcpProxy) -> AsyncIterator[asyncpg.Pool]:
    """A pool through the proxy; its statements are sent as text, each time."""
    pool = await asyncpg.create_pool(proxy.url, min_size=2, max_size=10, statement_cache_size=0)
    yield pool
    pool.terminate()


@pytest.mark.parametrize("error", [ConnectionResetError, RuntimeError])
async def test_a_claim_whose_answer_was_lost_is_found_again(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    gate = Gate()
    claim = Claims._claim
    lost: list[int] = []

    async def lose_once(self: Claims, limit: int) -> int:
        with monkeypatch.context() as patch:
            if not lost:
                patch.setattr(self, "_start", lambda _: None)
            claimed = await claim(self, limit)
        if claimed and not lost:
            lost.append(claimed)
            raise error
        return claimed

    monkeypatch.setattr(Claims, "_claim", lose_once)
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        await client.insert_many([NoteArgs(text=text) for text in "abc"])
        ran = sorted([(await gate.next()).args.text for _ in "abc"])
        gate.opened.set()
        kinds = {event.kind for event in await ended(events, 3)}
    assert ran == ["a", "b", "c"]
    assert kinds == {EventKind.JOB_COMPLETED}
    assert sum(lost) > 0
    assert await pool.fetchval("SELECT max(attempt) FROM river_job") == 1


async def test_a_claim_that_arrives_after_it_was_given_up_is_found(
    proxy: TcpProxy, behind: asyncpg.Pool, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a broken path swallowed is sent again, long after the client looked what it claimed."""
    monkeypatch.setattr(claims, "TIMEOUT", 0.5)
    # It must arrive before that look, on a busy machine too.
    monkeypatch.setattr(claims, "_STRAGGLES", 8.0)
    gate = Gate()
    queues = {"default": QueueConfig(max_workers=1)}
    async with started(behind, NoteWorker(gate), queues=queues) as client:
        producer = client.producers["default"]
        # With its arguments: a packet without them only asks for the statement's types.
        proxy.hold_at(CLAIM.encode(), client.id.encode())
        await wait_until(lambda: proxy.held == 1)
        errors = producer.fetch_errors
        await wait_until(lambda: producer.fetch_errors > errors)
        first = (await Client(pool).insert(NoteArgs(text="first"))).job
        assert (await gate.next()).row.id == first.id

        late = (await Client(pool).insert(NoteArgs(text="late"))).job
        proxy.let_arrive()
        await wait_for_state(pool, late.id, JobState.RUNNING)
        gate.opened.set()
        assert (await gate.next()).row.id == late.id
        row = await wait_for_state(pool, late.id, JobState.COMPLETED)
        assert row.attempt == 1


async def test_jobs_too_large_to_arrive_together_arrive_in_parts(
    proxy: TcpProxy, behind: asyncpg.Pool, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "TIMEOUT", 1.0)
    number = 32
    await Client(pool).insert_many([NoteArgs(text="x" * 100_000) for _ in range(number)])
    queues = {"default": QueueConfig(max_workers=number)}
    async with started(behind, NoteWorker(), queues=queues, poll_only=True) as client:
        proxy.bytes_per_second = 2_000_000
        await wait_for_yes(
            pool,
            "SELECT count(*) = $1 FROM river_job WHERE state = 'completed'",
            number,
            seconds=60,
        )
        assert client.producers["default"].fetch_errors > 0
        proxy.bytes_per_second = None
    assert await pool.fetchval("SELECT max(attempt) FROM river_job") == 1


async def test_a_failed_fetch_is_not_left_to_a_rare_poll(
    pool: asyncpg.Pool, database_url: str
) -> None:
    gate = Gate()
    gate.opened.set()
    apart = await asyncpg.connect(database_url)
    async with started(pool, NoteWorker(gate), poll=timedelta(hours=1)) as client:
        producer = client.producers["default"]
        await wait_until(lambda: not producer._requested and not producer._fetching)
        async with apart.transaction():
            await apart.execute("LOCK TABLE river_job IN EXCLUSIVE MODE")
            await apart.execute("INSERT INTO river_job (kind, args) VALUES ('note', '{}')")
            producer.request_fetch()
            await wait_for_yes(
                pool,
                "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                " AND starts_with(query, $1)",
                CLAIM,
            )
            await wait_until(lambda: producer.fetch_errors > 0)
        await gate.next()
    await apart.close()


async def test_the_look_for_late_claims_is_not_dropped_by_a_claim_under_way_at_its_time(
    pool: asyncpg.Pool,
) -> None:
    clock, started_ids = FrozenClock(), list[JobId]()

    def fail(_: object) -> None:
        raise RuntimeError

    def be_late(_: object) -> None:
        clock.advance(timedelta(hours=1))

    does: list[Callable[[Sequence[Record]], None]] = [
        fail,
        lambda _: None,
        be_late,
        lambda records: started_ids.extend(record["id"] for record in records),
    ]
    claims_of = Claims(
        BoundedPool(pool),
        queue="default",
        config=Config(),
        client_id="me",
        kinds=None,
        known=tuple,
        start=lambda records: does.pop(0)(records),
        clock=clock,
        logger=logging.getLogger("riverengine"),
    )
    with pytest.raises(RuntimeError):
        await claims_of.take(1)  # what it sent may still be under way
    await claims_of.take(1)  # looks at once, finds nothing
    await claims_of.take(1)  # an ordinary claim: the time of the second look passes meanwhile
    late = await pool.fetchval(
        "INSERT INTO river_job (kind, args, max_attempts, queue, state, attempt, attempted_at,"
        " attempted_by) VALUES ('note', '{}', 25, 'default', 'running', 1, now(), '{me}')"
        " RETURNING id"
    )
    await claims_of.take(1)
    assert started_ids == [late]
