"""Go inserts and Python works; Python inserts and Go works; both share one database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import Client, InsertOpts, JobRow, JobState
from tests.interop.peer import OUTCOMES, InteropArgs, Peer, wait_for

pytestmark = pytest.mark.interop

FINAL = (JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED)


def assert_outcome(row: JobRow, behavior: str) -> None:
    """The row is what River makes of the behaviour."""
    state, attempt = OUTCOMES[behavior]
    assert (row.state, row.attempt) == (state, attempt)
    failures = [error.error for error in row.errors]
    match behavior:
        case "error":
            assert [text.removeprefix("RuntimeError: ") for text in failures] == [
                "told to fail"
            ] * 3
        case "error_once":
            assert [text.removeprefix("RuntimeError: ") for text in failures] == [
                "told to fail once"
            ]
        case "cancel":
            assert failures == ["JobCancelError: told to cancel"]
        case _:
            assert failures == []
    if behavior == "snooze_once":
        assert row.metadata["snoozes"] == 1
        assert len(row.attempted_by) == 2
    if behavior == "output":
        assert row.metadata["output"]["text"] == "é<&>☃"


@pytest.mark.parametrize("behavior", OUTCOMES)
async def test_go_inserts_and_python_works(
    go: Peer, python: Client, pool: asyncpg.Pool, behavior: str
) -> None:
    await python.start()
    args = {"behavior": behavior, "text": "é<&>☃", "number": 2**60}
    inserted = await go.call("insert", args=args, max_attempts=3)
    row = await wait_for(pool, inserted["job"]["id"], *FINAL)
    assert row.args == args
    assert set(row.attempted_by) == {python.id}
    assert_outcome(row, behavior)


@pytest.mark.parametrize("behavior", OUTCOMES)
async def test_python_inserts_and_go_works(
    go: Peer, python: Client, pool: asyncpg.Pool, behavior: str
) -> None:
    started = await go.call("start", queue="default", workers=10)
    args = InteropArgs(behavior=behavior, text="é<&>☃", number=2**60)
    inserted = await python.insert(args, InsertOpts(max_attempts=3))
    row = await wait_for(pool, inserted.job.id, *FINAL)
    assert set(row.attempted_by) == {started["id"]}
    assert_outcome(row, behavior)
    seen = await go.call("job_get", id=row.id)
    assert (seen["state"], seen["attempt"]) == (row.state, row.attempt)
    await go.call("stop")


@pytest.mark.parametrize("worker", ["go", "python"])
async def test_a_scheduled_job_runs_when_its_time_has_come(
    go: Peer, python: Client, pool: asyncpg.Pool, worker: str
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)
    if worker == "python":
        await python.start()
        stamp = at.isoformat().replace("+00:00", "Z")
        inserted = await go.call("insert", args={"behavior": ""}, scheduled_at=stamp)
        job_id = inserted["job"]["id"]
        assert inserted["job"]["state"] == "scheduled"
    else:
        await go.call("start", queue="default", workers=10)
        job_id = (await python.insert(InteropArgs(), InsertOpts(scheduled_at=at))).job.id
    row = await wait_for(pool, job_id, *FINAL)
    assert row.state is JobState.COMPLETED
    assert row.attempted_at is not None
    assert row.attempted_at >= row.scheduled_at
    if worker == "go":
        await go.call("stop")


async def test_go_cancels_what_python_runs(go: Peer, python: Client, pool: asyncpg.Pool) -> None:
    await python.start()
    job = (await python.insert(InteropArgs(behavior="wait"))).job
    await wait_for(pool, job.id, JobState.RUNNING)
    told = await go.call("job_cancel", id=job.id)
    assert told["state"] == "running"
    row = await wait_for(pool, job.id, *FINAL)
    assert row.state is JobState.CANCELLED
    assert row.errors[0].error == "JobCancelError: job cancelled remotely"


async def test_python_cancels_what_go_runs(go: Peer, python: Client, pool: asyncpg.Pool) -> None:
    await go.call("start", queue="default", workers=10)
    job = (await python.insert(InteropArgs(behavior="wait"))).job
    await wait_for(pool, job.id, JobState.RUNNING)
    assert (await python.job_cancel(job.id)).state is JobState.RUNNING
    row = await wait_for(pool, job.id, *FINAL)
    assert row.state is JobState.CANCELLED
    assert row.errors[0].error == "JobCancelError: job cancelled remotely"
    await go.call("stop")


@pytest.mark.parametrize("by", ["go", "python"])
async def test_a_cancelled_job_is_retried_by_the_other(
    go: Peer, python: Client, pool: asyncpg.Pool, by: str
) -> None:
    job = (await python.insert(InteropArgs(), InsertOpts(queue="quiet"))).job
    if by == "go":
        await python.job_cancel(job.id)
        row = await go.call("job_retry", id=job.id)
        assert (row["state"], row["metadata"]) == ("available", {})
    else:
        await go.call("job_cancel", id=job.id)
        retried = await python.job_retry(job.id)
        assert (retried.state, retried.metadata) == (JobState.AVAILABLE, {})


async def test_go_pauses_and_resumes_what_python_works(
    go: Peer, python: Client, pool: asyncpg.Pool
) -> None:
    await python.start()
    async with python.subscribe() as events:
        await go.call("queue_pause", name="default")
        assert (await events.next(timeout=20)).kind == "queue_paused"
        job = (await python.insert(InteropArgs())).job
        await go.call("queue_resume", name="*")
        assert (await events.next(timeout=20)).kind == "queue_resumed"
        assert (await wait_for(pool, job.id, *FINAL)).state is JobState.COMPLETED


async def test_both_compete_and_each_job_runs_once(
    go: Peer, python: Client, pool: asyncpg.Pool
) -> None:
    started = await go.call("start", queue="default", workers=10)
    await python.start()
    await python.insert_many([InteropArgs(number=number) for number in range(300)])
    async with asyncio.timeout(60):
        while True:
            done = await pool.fetchval("SELECT count(*) FROM river_job WHERE state = 'completed'")
            if done == 300:
                break
            await asyncio.sleep(0.02)
    rows = await pool.fetch("SELECT attempt, attempted_by FROM river_job")
    assert {row["attempt"] for row in rows} == {1}
    workers = {row["attempted_by"][0] for row in rows}
    assert workers == {started["id"], python.id}
    await go.call("stop")


async def test_leadership_passes_between_go_and_python(
    go: Peer, python: Client, pool: asyncpg.Pool
) -> None:
    started = await go.call("start", queue="default", workers=1)
    await _until_leader(pool, started["id"])
    await python.start()
    assert not python.is_leader
    await go.call("stop")
    await _until_leader(pool, python.id)


async def _until_leader(pool: asyncpg.Pool, client_id: str) -> None:
    async with asyncio.timeout(30):
        while True:
            if await pool.fetchval("SELECT leader_id FROM river_leader") == client_id:
                return
            await asyncio.sleep(0.02)
