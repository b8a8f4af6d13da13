"""Whatever a job leaves behind or is made of costs that job alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import asyncpg
import pytest

from riverengine import (
    Client,
    InsertManyParams,
    InsertOpts,
    Job,
    JobState,
    Json,
    QueueConfig,
    metadata_set,
    record_output,
)
from tests.integration.riverengine.working import (
    Gate,
    NoteArgs,
    NoteWorker,
    ended,
    heard,
    started,
    stored,
)

TEXTS = {
    "NUL": "a\x00b",
    "lone surrogate": "a\ud800b",
    "noncharacter": "a\uffff\ufdd0b",
    "megabyte": "x" * 1_000_000,
    "escape": '\\u0000 \\ud800 "',
}


ONCE = InsertOpts(max_attempts=1)
"""A second attempt would come a second later, which a busy machine may take to look."""


class OddError(Exception):
    """Its text is whatever the test wants."""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_an_odd_error_text_is_stored_visibly_and_holds_up_nobody(
    pool: asyncpg.Pool, text: str
) -> None:
    async def work(job: Job[NoteArgs]) -> None:
        if job.args.text == "odd":
            raise OddError(text)

    async with started(pool, NoteWorker(work)) as client, client.subscribe() as events:
        jobs = [InsertManyParams(NoteArgs(text=t), ONCE) for t in ("a", "odd", "b")]
        rows = await client.insert_many(jobs)
        await ended(events, 3)
    odd = await stored(pool, rows[1].job.id)
    assert odd.errors[0].error.startswith("OddError: ")
    assert len(odd.errors[0].error) > len("OddError: ")
    assert "\x00" not in odd.errors[0].error
    assert {(await stored(pool, rows[n].job.id)).state for n in (0, 2)} == {JobState.COMPLETED}


class MuteError(Exception):
    """Its text cannot be read."""

    def __str__(self) -> str:
        raise ValueError("no text")


async def test_an_error_without_a_readable_text_fails_its_attempt(pool: asyncpg.Pool) -> None:
    async def work(job: Job[NoteArgs]) -> None:
        raise MuteError

    async with started(pool, NoteWorker(work)) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(), ONCE)).job
        await ended(events)
    row = await stored(pool, job.id)
    assert (row.state, row.attempt) == (JobState.DISCARDED, 1)
    assert row.errors[0].error.startswith("MuteError: ")


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "a\x00b", "a\ud800b", {"k": [1, "\x00"]}], ids=ascii
)
@pytest.mark.parametrize("record", [record_output, lambda value: metadata_set("k", value)])
async def test_what_json_cannot_hold_fails_the_attempt_that_records_it(
    pool: asyncpg.Pool, value: Json, record: Callable[[Json], None]
) -> None:
    async def work(job: Job[NoteArgs]) -> None:
        if job.args.text == "odd":
            record(value)

    async with started(pool, NoteWorker(work)) as client, client.subscribe() as events:
        jobs = [InsertManyParams(NoteArgs(text=t), ONCE) for t in ("a", "odd", "b")]
        rows = await client.insert_many(jobs)
        await ended(events, 3)
    odd = await stored(pool, rows[1].job.id)
    assert (odd.state, len(odd.errors)) == (JobState.DISCARDED, 1)
    assert {(await stored(pool, rows[n].job.id)).state for n in (0, 2)} == {JobState.COMPLETED}


ROWS = {
    "an integer of 5,001 digits": "args = ('{\"text\": ' || repeat('9', 5001) || '}')::jsonb",
    "nesting of 1,100": (
        "args = ('{\"text\": ' || repeat('[', 1100) || repeat(']', 1100) || '}')::jsonb"
    ),
    "a number beyond float": "args = ('{\"text\": 1' || repeat('0', 5000) || '}')::jsonb",
    "args of another shape": "args = '[1, 2]'",
    "metadata of 5,001 digits": "metadata = ('{\"k\": ' || repeat('9', 5001) || '}')::jsonb",
    "metadata nested 1,100": (
        "metadata = ('{\"k\": ' || repeat('[', 1100) || repeat(']', 1100) || '}')::jsonb"
    ),
    "errors nested 1,100": "errors = array[(repeat('[', 1100) || repeat(']', 1100))::jsonb]",
    "errors of 5,001 digits": "errors = array[repeat('9', 5001)::jsonb]",
    "an error's attempt beyond any integer": (
        'errors = array[\'{"attempt": 1e400, "at": "99999-01-01T00:00:00Z"}\'::jsonb]'
    ),
}


@pytest.mark.parametrize("change", ROWS.values(), ids=ROWS)
async def test_one_odd_row_among_a_hundred_leaves_the_others_alone(
    pool: asyncpg.Pool, change: str
) -> None:
    rows = await Client(pool).insert_many(
        [NoteArgs(text=str(number)) for number in range(100)],
    )
    odd = rows[50].job.id
    await pool.execute(f"UPDATE river_job SET {change} WHERE id = $1", odd)
    queues = {"default": QueueConfig(max_workers=100)}
    async with heard(pool, NoteWorker(), queues=queues) as (_, events):
        for _ in range(100):
            await events.next(timeout=30)
    done = await pool.fetchval("SELECT count(*) FROM river_job WHERE state = 'completed'")
    assert done >= 99
    state, errors = await pool.fetchrow(
        "SELECT state, cardinality(errors) FROM river_job WHERE id = $1", odd
    )
    assert state in ("completed", "available", "retryable")
    assert errors is None or errors <= 2


async def test_duplicate_keys_are_as_postgresql_reads_them(pool: asyncpg.Pool) -> None:
    await pool.execute(
        'INSERT INTO river_job (kind, args) VALUES (\'note\', \'{"text": "a", "text": "b"}\')'
    )
    worker = NoteWorker()
    async with heard(pool, worker) as (_, events):
        await ended(events)
    assert [job.args.text for job in worker.ran] == ["b"]


async def test_one_refused_outcome_among_2000_delays_the_others_by_less_than_a_second(
    pool: asyncpg.Pool,
) -> None:
    await pool.execute(
        "ALTER TABLE river_job ADD CONSTRAINT no_poison CHECK"
        " (state <> 'completed' OR args ->> 'text' <> 'poison')"
    )
    try:
        plain = await _time_2000(pool, poison=False)
        poisoned = await _time_2000(pool, poison=True)
    finally:
        await pool.execute("ALTER TABLE river_job DROP CONSTRAINT no_poison")
    # A busy machine multiplies any time; the naive completer never ends, and one that waits
    # between its tries takes longer than this.
    assert poisoned - plain < 4 + 2 * plain


async def _time_2000(pool: asyncpg.Pool, *, poison: bool) -> float:
    """Seconds from the moment 2,000 jobs may end until the good ones' outcomes are stored."""
    gate = Gate()
    queues = {"default": QueueConfig(max_workers=2000)}
    texts = [str(number) for number in range(2000)]
    if poison:
        texts[777] = "poison"
    await Client(pool).insert_many_fast([NoteArgs(text=text) for text in texts])
    async with heard(pool, NoteWorker(gate), queues=queues) as (client, _):
        for _ in texts:
            async with asyncio.timeout(60):
                await gate.entered.get()
        began = time.monotonic()
        gate.opened.set()
        wanted = 1999 if poison else 2000
        async with asyncio.timeout(60):
            while True:
                done = await pool.fetchval(
                    "SELECT count(*) FROM river_job WHERE state = 'completed'"
                )
                if done == wanted:
                    break
                await asyncio.sleep(0.02)
        taken = time.monotonic() - began
        assert client._completer is not None
        await client._completer.drain()
    await pool.execute("DELETE FROM river_job")
    return taken


async def test_an_undecodable_row_follows_the_rules_of_retries(pool: asyncpg.Pool) -> None:
    opts = InsertOpts(max_attempts=1)
    odd = (await Client(pool).insert(NoteArgs(), opts)).job.id
    await pool.execute("UPDATE river_job SET args = '[1]' WHERE id = $1", odd)
    async with heard(pool, NoteWorker(), poll=timedelta(milliseconds=20)) as (_, events):
        await ended(events)
    assert (await stored(pool, odd)).state is JobState.DISCARDED
