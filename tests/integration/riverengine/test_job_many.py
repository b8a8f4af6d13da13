"""Deleting, cancelling and retrying many jobs: which are reached, and how each fares."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riverengine import (
    Client,
    InsertManyParams,
    InsertOpts,
    InvalidParamsError,
    Job,
    JobCancelManyParams,
    JobDeleteManyParams,
    JobListParams,
    JobRetryManyParams,
    JobRow,
    JobState,
    UnfilteredError,
    UniqueConflictError,
    UniqueOpts,
)
from tests.integration.riverengine.job_rows import blocked
from tests.integration.riverengine.working import Gate, NoteArgs, NoteWorker, ended, started, stored

FINAL = [state for state in JobState if state.is_final]
UNIQUE = InsertOpts(unique_opts=UniqueOpts(by_args=True))


@pytest.fixture
def client(pool: asyncpg.Pool) -> Client:
    return Client(pool)


@pytest.fixture
async def jobs(client: Client) -> dict[JobState, JobRow]:
    """A job in every state, due in an hour, with all attempts used."""
    found = {}
    for state in JobState:
        opts = InsertOpts(metadata={"mine": 1}, tags=["tag"], queue=f"queue_{state}")
        job = (await client.insert(NoteArgs(text=state), opts)).job
        await client.pool.execute(
            "UPDATE river_job SET state = $2::text::river_job_state, attempt = 5, max_attempts = 5,"
            " scheduled_at = now() + interval '1 hour',"
            " finalized_at = CASE WHEN $3::boolean THEN now() END WHERE id = $1",
            *(job.id, state.value, state.is_final),
        )
        found[state] = await stored(client.pool, job.id)
    return found


async def all_jobs(client: Client) -> list[JobRow]:
    return (await client.job_list()).jobs


@pytest.mark.parametrize(
    ("call", "params", "words"),
    [
        (
            Client.job_delete_many,
            JobDeleteManyParams,
            (
                "delete with no filters not allowed to prevent accidental deletion of all jobs;"
                " either specify a predicate (e.g. JobDeleteManyParams.IDs,"
                " JobDeleteManyParams.Kinds, ...) or call JobDeleteManyParams.All"
            ),
        ),
        (Client.job_cancel_many, JobCancelManyParams, "cancel with no filters"),
        (Client.job_retry_many, JobRetryManyParams, "retry with no filters"),
    ],
)
@pytest.mark.parametrize(
    "filters", [{}, {"tags_all": []}, {"metadata": {}}, {"metadata": " { }", "args": {}}]
)
async def test_all_jobs_are_reached_only_on_purpose(
    client: Client,
    jobs: dict[JobState, JobRow],
    call: Callable[..., Awaitable[Any]],
    params: Callable[..., Any],
    words: str,
    filters: dict[str, object],
) -> None:
    with pytest.raises(UnfilteredError) as refusal:
        await call(client, params(**filters))
    assert str(refusal.value).startswith(words)
    assert await all_jobs(client) == list(jobs.values())
    assert len((await call(client, params(unsafe_all=True))).jobs) >= 5
    with pytest.raises(InvalidParamsError):
        params(unsafe_all=True, kinds=["note"])
    with pytest.raises(InvalidParamsError):
        params(limit=10_001)
    with pytest.raises(InvalidParamsError):
        params(kinds=["note"], after_id="5")


@pytest.mark.parametrize(
    "call", [Client.job_delete_many, Client.job_cancel_many, Client.job_retry_many]
)
@pytest.mark.parametrize(
    ("filters", "states"),
    [
        ({"kinds": ["note"]}, list(JobState)),
        ({"kinds": ["other"]}, []),
        ({"kinds": []}, []),
        ({"queues": ["queue_pending", "queue_completed"]}, [JobState.COMPLETED, JobState.PENDING]),
        ({"states": [JobState.SCHEDULED]}, [JobState.SCHEDULED]),
        ({"priorities": [1], "tags_any": ["tag"], "metadata": {"mine": 1}}, list(JobState)),
        ({"args": {"text": "pending"}}, [JobState.PENDING]),
        ({"tags_all": ["tag", "other"]}, []),
    ],
)
async def test_filters_choose_and_all_must_fit(
    client: Client,
    jobs: dict[JobState, JobRow],
    call: Callable[..., Awaitable[Any]],
    filters: dict[str, Any],
    states: list[JobState],
) -> None:
    params: Any = {
        Client.job_delete_many: JobDeleteManyParams,
        Client.job_cancel_many: JobCancelManyParams,
        Client.job_retry_many: JobRetryManyParams,
    }[call]
    untouched = FINAL if call is Client.job_cancel_many else [JobState.RUNNING]
    result = await call(client, params(**filters))
    reached = {jobs[state].id for state in states if state not in untouched}
    assert {job.id for job in result.jobs} == reached
    now = {job.id: job for job in await all_jobs(client)}
    for job in jobs.values():
        assert (now.get(job.id) == job) == (job.id not in reached)


# Deleting


async def test_deleted_jobs_are_returned_as_they_were(
    client: Client, jobs: dict[JobState, JobRow]
) -> None:
    result = await client.job_delete_many(JobDeleteManyParams(unsafe_all=True))
    assert result.jobs == [job for state, job in jobs.items() if state is not JobState.RUNNING]
    assert await all_jobs(client) == [jobs[JobState.RUNNING]]
    assert result.last_id == result.jobs[-1].id


async def test_a_where_deletes_no_running_job(client: Client, jobs: dict[JobState, JobRow]) -> None:
    params = JobDeleteManyParams(ids=[jobs[JobState.RUNNING].id, jobs[JobState.PENDING].id])
    result = await client.job_delete_many(params.where("FALSE OR TRUE --"))
    assert [job.state for job in result.jobs] == [JobState.PENDING]
    result = await client.job_delete_many(
        JobDeleteManyParams().where("args->>'text' = @text", text="running")
    )
    assert result.jobs == []
    assert len(await all_jobs(client)) == 7


async def test_a_locked_job_is_skipped_by_a_deletion(
    client: Client, jobs: dict[JobState, JobRow]
) -> None:
    locked = jobs[JobState.PENDING]
    async with client.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM river_job WHERE id = $1 FOR UPDATE", locked.id)
        result = await client.job_delete_many(JobDeleteManyParams(kinds=["note"]))
        assert len(result.jobs) == 6
    assert {job.id for job in await all_jobs(client)} == {locked.id, jobs[JobState.RUNNING].id}


@pytest.mark.parametrize(
    ("call", "params"),
    [
        (Client.job_delete_many, JobDeleteManyParams(kinds=["note"], limit=7)),
        (Client.job_cancel_many, JobCancelManyParams(kinds=["note"], limit=7)),
        (Client.job_retry_many, JobRetryManyParams(kinds=["note"], limit=7)),
    ],
)
async def test_batches_reach_every_job_once(
    client: Client, call: Callable[..., Awaitable[Any]], params: Any
) -> None:
    await client.insert_many_fast([NoteArgs(text=str(number)) for number in range(30)])
    await client.pool.execute("UPDATE river_job SET scheduled_at = now() + interval '1 hour'")
    ids = [job.id for job in await all_jobs(client)]
    sizes, reached = [], []
    while (result := await call(client, params)).last_id is not None:
        sizes.append(len(result.jobs))
        reached += [job.id for job in result.jobs]
        params = replace(params, after_id=result.last_id)
    assert sizes == [7, 7, 7, 7, 2]
    assert reached == ids


@pytest.mark.parametrize(
    ("call", "params"),
    [
        (Client.job_delete_many, JobDeleteManyParams(kinds=["note"])),
        (Client.job_cancel_many, JobCancelManyParams(kinds=["note"])),
        (Client.job_retry_many, JobRetryManyParams(kinds=["note"])),
    ],
)
async def test_the_caller_s_rollback_undoes(
    client: Client, jobs: dict[JobState, JobRow], call: Callable[..., Awaitable[Any]], params: Any
) -> None:
    async with client.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert (await call(client, params, tx=connection)).jobs
        await transaction.rollback()
    assert await all_jobs(client) == list(jobs.values())


# Cancelling


async def test_cancelling_many_is_cancelling_each(
    client: Client, jobs: dict[JobState, JobRow]
) -> None:
    result = await client.job_cancel_many(JobCancelManyParams(kinds=["note"]))
    assert result.jobs == [
        await stored(client.pool, job.id) for job in jobs.values() if not job.state.is_final
    ]
    for job in result.jobs:
        before = next(row for row in jobs.values() if row.id == job.id)
        at = datetime.fromisoformat(job.metadata["cancel_attempted_at"])
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
        is_running = before.state is JobState.RUNNING
        assert job.state is (JobState.RUNNING if is_running else JobState.CANCELLED)
        assert (job.finalized_at is None) == is_running
        assert job.metadata["mine"] == 1


async def test_clients_of_running_jobs_are_told_by_go_s_message(
    client: Client, jobs: dict[JobState, JobRow]
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    async with client.pool.acquire() as connection:
        await connection.add_listener("public.river_control", hear)
        await client.job_cancel_many(JobCancelManyParams(kinds=["note"]))
        await client.pool.execute("SELECT pg_notify('public.river_control', 'end')")
        payloads = [await asyncio.wait_for(heard.get(), 20) for _ in range(2)]
        await connection.remove_listener("public.river_control", hear)
    running = jobs[JobState.RUNNING]
    assert payloads == [
        f'{{"action" : "cancel", "job_id" : {running.id}, "queue" : "queue_running"}}',
        "end",
    ]


async def test_running_jobs_are_cancelled_by_their_client(pool: asyncpg.Pool) -> None:
    gate = Gate()
    async with started(pool, NoteWorker(gate)) as client, client.subscribe() as events:
        await client.insert_many([NoteArgs(text=text) for text in "abc"])
        for _ in "abc":
            await gate.next()
        result = await client.job_cancel_many(JobCancelManyParams(kinds=["note"]))
        assert {job.state for job in result.jobs} == {JobState.RUNNING}
        assert {event.kind for event in await ended(events, 3)} == {"job_cancelled"}
    assert {job.state for job in await all_jobs(client)} == {JobState.CANCELLED}


async def test_a_locked_job_s_cancellation_waits_for_it(
    client: Client, jobs: dict[JobState, JobRow]
) -> None:
    first, second = jobs[JobState.AVAILABLE], jobs[JobState.SCHEDULED]
    async with client.pool.acquire() as connection, connection.transaction():
        # As a fetch: what is running when the lock is free is asked, not cancelled.
        await connection.execute("UPDATE river_job SET state = 'running' WHERE id = $1", first.id)
        params = JobCancelManyParams(ids=[first.id, second.id])
        cancelling = asyncio.create_task(client.job_cancel_many(params))
        await blocked(client.pool)
    result = await cancelling
    assert [job.state for job in result.jobs] == [JobState.RUNNING, JobState.CANCELLED]


async def test_a_job_that_ends_while_its_cancellation_waits_is_left_alone(
    client: Client, jobs: dict[JobState, JobRow]
) -> None:
    running = jobs[JobState.RUNNING]
    async with client.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "UPDATE river_job SET state = 'completed', finalized_at = now() WHERE id = $1",
            running.id,
        )
        params = JobCancelManyParams(ids=[running.id])
        cancelling = asyncio.create_task(client.job_cancel_many(params))
        await blocked(client.pool)
    assert (await cancelling).jobs == []
    assert "cancel_attempted_at" not in (await stored(client.pool, running.id)).metadata


@pytest.mark.parametrize(
    ("call", "params"),
    [
        (Client.job_cancel_many, JobCancelManyParams),
        (Client.job_retry_many, JobRetryManyParams),
    ],
)
async def test_a_deadlock_is_tried_again(
    client: Client,
    jobs: dict[JobState, JobRow],
    call: Callable[..., Awaitable[Any]],
    params: Callable[..., Any],
) -> None:
    first, second = jobs[JobState.RETRYABLE].id, jobs[JobState.SCHEDULED].id
    touch = "UPDATE river_job SET priority = 2 WHERE id = $1"
    async with client.pool.acquire() as connection, connection.transaction():
        # Whoever looks for deadlocks first is the one that gives way.
        await connection.execute("SET LOCAL deadlock_timeout = '1min'")
        await connection.execute(touch, second)
        calling = asyncio.ensure_future(call(client, params(ids=[first, second])))
        await blocked(client.pool)
        await connection.execute(touch, first)
    result = await calling
    assert [(job.id, job.priority) for job in result.jobs] == [(first, 2), (second, 2)]


# Retrying


async def test_retrying_many_is_retrying_each(client: Client, jobs: dict[JobState, JobRow]) -> None:
    await client.job_cancel_many(JobCancelManyParams(states=[JobState.PENDING]))
    result = await client.job_retry_many(JobRetryManyParams(kinds=["note"]))
    assert [job.id for job in result.jobs] == [
        job.id for state, job in jobs.items() if state is not JobState.RUNNING
    ]
    for job in result.jobs:
        assert job == await stored(client.pool, job.id)
        assert (job.state, job.finalized_at) == (JobState.AVAILABLE, None)
        assert (job.attempt, job.max_attempts, job.metadata) == (5, 6, {"mine": 1})
        assert job.scheduled_at <= datetime.now(UTC) + timedelta(minutes=1)
    assert await stored(client.pool, jobs[JobState.RUNNING].id) == jobs[JobState.RUNNING]


async def test_due_jobs_keep_their_place(client: Client) -> None:
    await client.insert(NoteArgs())
    before = await all_jobs(client)
    result = await client.job_retry_many(JobRetryManyParams(kinds=["note"]))
    assert (result.jobs, result.conflicts, result.last_id) == ([], [], None)
    assert await all_jobs(client) == before


async def unique_jobs(client: Client, number: int) -> list[int]:
    """Cancelled jobs of one unique key."""
    ids: list[int] = []
    for _ in range(number):
        job = (await client.insert(NoteArgs(), UNIQUE)).job
        await client.job_cancel(job.id)
        ids.append(job.id)
    return ids


async def test_of_jobs_with_one_unique_key_one_is_retried(client: Client) -> None:
    ids = await unique_jobs(client, 3)
    params = JobRetryManyParams(kinds=["note"])
    result = await client.job_retry_many(params)
    assert [job.id for job in result.jobs] == ids[:1]
    assert [job.id for job in result.conflicts] == ids[1:]
    assert {job.state for job in result.conflicts} == {JobState.CANCELLED}
    assert result.last_id == ids[-1]


async def test_a_key_held_by_another_job_is_a_conflict(client: Client) -> None:
    ids = await unique_jobs(client, 2)
    held = (await client.insert(NoteArgs(), UNIQUE)).job
    other = (await client.insert(NoteArgs(text="other"), UNIQUE)).job
    await client.job_cancel(other.id)
    result = await client.job_retry_many(JobRetryManyParams(states=[JobState.CANCELLED]))
    assert [job.id for job in result.jobs] == [other.id]
    assert [job.id for job in result.conflicts] == ids
    assert await client.job_get(held.id) == held


async def test_a_job_that_holds_its_key_itself_is_retried(client: Client) -> None:
    ids = await unique_jobs(client, 1)
    opts = replace(UNIQUE, scheduled_at=datetime.now(UTC) + timedelta(hours=1))
    holder = (await client.insert(NoteArgs(), opts)).job
    result = await client.job_retry_many(JobRetryManyParams(kinds=["note"]))
    assert [job.id for job in result.jobs] == [holder.id]
    assert [job.id for job in result.conflicts] == ids


async def test_a_key_taken_while_a_retry_waits_is_a_conflict(client: Client) -> None:
    ids = await unique_jobs(client, 1)
    plain = (await client.insert(NoteArgs(text="plain"))).job
    await client.job_cancel(plain.id)
    async with client.pool.acquire() as connection, connection.transaction():
        taken = (await client.insert(NoteArgs(), UNIQUE, tx=connection)).job
        retrying = asyncio.create_task(client.job_retry_many(JobRetryManyParams(kinds=["note"])))
        await blocked(client.pool)
    result = await retrying
    assert [job.id for job in result.jobs] == [plain.id]
    assert [job.id for job in result.conflicts] == ids
    assert (await client.job_get(taken.id)).state is JobState.AVAILABLE


async def test_in_a_transaction_a_key_taken_meanwhile_is_told(client: Client) -> None:
    await unique_jobs(client, 1)
    params = JobRetryManyParams(kinds=["note"])
    async with client.pool.acquire() as other, client.pool.acquire() as mine:
        await mine.execute("BEGIN")
        async with other.transaction():
            await client.insert(NoteArgs(), UNIQUE, tx=other)
            retrying = asyncio.create_task(client.job_retry_many(params, tx=mine))
            await blocked(client.pool)
        with pytest.raises(UniqueConflictError):
            await retrying
        await mine.execute("ROLLBACK")


async def test_a_retried_job_is_worked(pool: asyncpg.Pool) -> None:
    async def fail(_job: object) -> None:
        if worker.run is fail:
            raise RuntimeError("told to")

    worker = NoteWorker(fail)
    async with started(pool, worker) as client, client.subscribe() as events:
        await client.insert(NoteArgs(), InsertOpts(max_attempts=1))
        assert [event.kind for event in await ended(events)] == ["job_failed"]
        worker.run = None
        await client.job_retry_many(JobRetryManyParams(states=[JobState.DISCARDED]))
        assert [event.kind for event in await ended(events)] == ["job_completed"]
    assert json.loads((await all_jobs(client))[0].encoded_args) == {"text": ""}


# One and many


@dataclass(frozen=True)
class Sketch:
    """What decides how an operation changes a job."""

    state: JobState
    is_exhausted: bool
    due_in: int
    key: int | None
    was_asked: bool


sketches = st.builds(
    Sketch,
    state=st.sampled_from(list(JobState)),
    is_exhausted=st.booleans(),
    due_in=st.sampled_from([-3600, 3600]),
    key=st.sampled_from([None, 1, 2]),
    was_asked=st.booleans(),
)


async def drawn(client: Client, kind: str, chosen: list[Sketch]) -> list[int]:
    """Jobs of one kind; of two that would hold one key, the second has none."""
    ids = []
    for sketch in chosen:
        key = None if sketch.key is None else f"{kind}{sketch.key}".encode()
        insert = functools.partial(
            client.pool.fetchval,
            """
            INSERT INTO river_job (
                kind, args, state, attempt, max_attempts, scheduled_at, finalized_at, metadata,
                unique_key, unique_states
            ) VALUES (
                $1, '{}', $2::text::river_job_state, 2, $3,
                date_trunc('hour', now()) + $4 * interval '1 second', $5, $6, $7, B'11110101'
            ) RETURNING id
            """,
            kind,
            sketch.state.value,
            2 if sketch.is_exhausted else 5,
            sketch.due_in,
            datetime(2026, 1, 1, tzinfo=UTC) if sketch.state.is_final else None,
            '{"cancel_attempted_at": "2026-01-01T00:00:00Z"}' if sketch.was_asked else "{}",
        )
        try:
            ids.append(await insert(key))
        except asyncpg.UniqueViolationError:
            ids.append(await insert(None))
    return ids


async def look(client: Client, ids: list[int]) -> list[object]:
    """The jobs without what differs between any two of them, times cut to what was changed."""
    start = datetime.now(UTC) - timedelta(minutes=10)
    found: list[object] = []
    for job in [await client.job_get(job_id) for job_id in ids]:
        metadata = dict(job.metadata)
        asked = metadata.pop("cancel_attempted_at", None)
        found.append(
            (
                *(job.state, job.attempt, job.max_attempts, metadata),
                asked if asked is None else datetime.fromisoformat(asked) > start,
                job.finalized_at if job.finalized_at is None else job.finalized_at > start,
                start < job.scheduled_at < start + timedelta(minutes=20),
                None if job.unique_key is None else job.unique_key[-1:],
            )
        )
    return found


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chosen=st.lists(sketches, max_size=8), operation=st.sampled_from(["cancel", "retry"]))
async def test_many_by_one_call_fare_as_each_by_its_own(
    client: Client, chosen: list[Sketch], operation: str
) -> None:
    await client.pool.execute("DELETE FROM river_job")
    together = await drawn(client, "together", chosen)
    alone = await drawn(client, "alone", chosen)
    assert await look(client, together) == await look(client, alone)
    conflicts = []
    for place, job_id in enumerate(alone):
        try:
            await (client.job_cancel if operation == "cancel" else client.job_retry)(job_id)
        except UniqueConflictError:
            conflicts.append(place)
    if operation == "cancel":
        await client.job_cancel_many(JobCancelManyParams(kinds=["together"]))
    else:
        result = await client.job_retry_many(JobRetryManyParams(kinds=["together"]))
        assert [together.index(job.id) for job in result.conflicts] == conflicts
    assert await look(client, together) == await look(client, alone)


# While clients work


async def test_changes_of_many_lose_no_job_while_clients_work(pool: asyncpg.Pool) -> None:
    """Two clients work what three others cancel, retry and delete; every job is accounted for."""
    deleted: list[int] = []
    done = asyncio.Event()
    rounds = {"cancel": 0, "retry": 0, "delete": 0}

    async def short(job: Job[NoteArgs]) -> None:
        await asyncio.sleep(0.002)
        if job.args.text.endswith("7"):
            raise RuntimeError("told to")

    async def repeat(name: str, change: Callable[[], Awaitable[list[JobRow]]]) -> None:
        while not done.is_set():
            changed = await change()
            rounds[name] += 1
            if name == "delete":
                deleted.extend(job.id for job in changed)
            await asyncio.sleep(0.005)

    async with (
        started(pool, NoteWorker(short)) as client,
        started(pool, NoteWorker(short)) as other,
    ):

        async def cancel() -> list[JobRow]:
            where = JobCancelManyParams(kinds=["note"], limit=40).where("id % 3 = 0")
            return (await client.job_cancel_many(where)).jobs

        async def retry() -> list[JobRow]:
            where = JobRetryManyParams(states=[JobState.CANCELLED, JobState.DISCARDED], limit=40)
            return (await other.job_retry_many(where)).jobs

        async def delete() -> list[JobRow]:
            where = JobDeleteManyParams(states=[JobState.COMPLETED], limit=40)
            return (await other.job_delete_many(where)).jobs

        loops = [
            asyncio.create_task(repeat("cancel", cancel)),
            asyncio.create_task(repeat("retry", retry)),
            asyncio.create_task(repeat("delete", delete)),
        ]
        results = await client.insert_many(
            [
                InsertManyParams(NoteArgs(str(number)), InsertOpts(max_attempts=2))
                for number in range(600)
            ]
        )
        ids = {result.job.id for result in results}
        async with asyncio.timeout(60):
            while len(deleted) < 200 or min(rounds.values()) < 20:
                await asyncio.wait({*loops}, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
                assert not any(loop.done() for loop in loops), [loop.result() for loop in loops]
        done.set()
        await asyncio.gather(*loops)
    left = {job.id: job for job in (await client.job_list(JobListParams(limit=1_000))).jobs}
    assert len(deleted) == len(set(deleted))
    assert {*deleted, *left} == ids
    assert not {*deleted} & {*left}
    assert all(job.state is not JobState.RUNNING for job in left.values())
