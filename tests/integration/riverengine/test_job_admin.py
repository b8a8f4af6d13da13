"""Every transition cancelling, retrying and deleting make, from every state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from riverengine import (
    ArgsEncodeError,
    Client,
    InsertOpts,
    InvalidParamsError,
    Job,
    JobNotFoundError,
    JobRow,
    JobRunningError,
    JobState,
    Json,
    QueueNotFoundError,
    UniqueConflictError,
    UniqueOpts,
    client_from_context,
    record_output,
)
from tests.integration.riverengine.working import NoteArgs, NoteWorker, ended, started, stored

FINAL = (JobState.CANCELLED, JobState.COMPLETED, JobState.DISCARDED)
WAITING = (JobState.AVAILABLE, JobState.PENDING, JobState.RETRYABLE, JobState.SCHEDULED)


@pytest.fixture
def client(pool: asyncpg.Pool) -> Client:
    return Client(pool)


async def job_in(client: Client, state: JobState, **columns: object) -> JobRow:
    """A job in a state, due in an hour, with some history."""
    job = (await client.insert(NoteArgs(text=state), InsertOpts(metadata={"mine": 1}))).job
    await client.pool.execute(
        "UPDATE river_job SET state = $2::text::river_job_state, attempt = 2, max_attempts = 5,"
        " scheduled_at = now() + interval '1 hour',"
        " finalized_at = CASE WHEN $3::boolean THEN now() END,"
        ' errors = array[\'{"error": "old"}\'::jsonb] WHERE id = $1',
        *(job.id, state.value, state.is_final),
    )
    for name, value in columns.items():
        await client.pool.execute(f"UPDATE river_job SET {name} = $2 WHERE id = $1", job.id, value)
    return await stored(client.pool, job.id)


@pytest.mark.parametrize("state", WAITING)
async def test_cancelling_a_waiting_job_ends_it(client: Client, state: JobState) -> None:
    before = await job_in(client, state)
    row = await client.job_cancel(before.id)
    assert row == await stored(client.pool, before.id)
    assert row.state is JobState.CANCELLED
    assert row.finalized_at is not None
    assert row.attempt == 2
    at = datetime.fromisoformat(row.metadata["cancel_attempted_at"])
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert row.metadata["mine"] == 1


async def test_cancelling_a_running_job_asks_its_client(client: Client) -> None:
    before = await job_in(client, JobState.RUNNING)
    row = await client.job_cancel(before.id)
    assert (row.state, row.finalized_at) == (JobState.RUNNING, None)
    assert "cancel_attempted_at" in row.metadata


@pytest.mark.parametrize("state", FINAL)
async def test_cancelling_a_final_job_changes_nothing(client: Client, state: JobState) -> None:
    before = await job_in(client, state)
    assert await client.job_cancel(before.id) == before


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.AVAILABLE])
async def test_a_cancellation_is_told_with_go_s_bytes(client: Client, state: JobState) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    before = await job_in(client, state)
    async with client.pool.acquire() as connection:
        await connection.add_listener("public.river_control", hear)
        await client.job_cancel(before.id)
        payload = await asyncio.wait_for(heard.get(), 20)
        await connection.remove_listener("public.river_control", hear)
    assert payload == f'{{"action" : "cancel", "job_id" : {before.id}, "queue" : "default"}}'


@pytest.mark.parametrize("state", [*FINAL, *WAITING])
async def test_retrying_makes_a_job_available(client: Client, state: JobState) -> None:
    before = await job_in(client, state, metadata='{"cancel_attempted_at": "x", "mine": 1}')
    row = await client.job_retry(before.id)
    assert row == await stored(client.pool, before.id)
    assert (row.state, row.finalized_at, row.attempt) == (JobState.AVAILABLE, None, 2)
    assert row.scheduled_at <= datetime.now(UTC) + timedelta(minutes=1)
    assert (row.max_attempts, row.errors, row.metadata) == (5, before.errors, {"mine": 1})


async def test_retrying_a_running_job_changes_nothing(client: Client) -> None:
    before = await job_in(client, JobState.RUNNING)
    assert await client.job_retry(before.id) == before


async def test_retrying_a_due_job_keeps_its_place(client: Client) -> None:
    due = datetime.now(UTC) - timedelta(hours=1)
    before = await job_in(client, JobState.AVAILABLE, scheduled_at=due)
    assert await client.job_retry(before.id) == before


async def test_retrying_an_exhausted_job_gives_one_more_attempt(client: Client) -> None:
    before = await job_in(client, JobState.DISCARDED, attempt=5)
    assert (await client.job_retry(before.id)).max_attempts == 6


async def test_retrying_a_job_whose_key_is_taken_is_refused(client: Client) -> None:
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    first = (await client.insert(NoteArgs(), opts)).job
    await client.job_cancel(first.id)
    await client.insert(NoteArgs(), opts)
    with pytest.raises(UniqueConflictError):
        await client.job_retry(first.id)
    assert (await client.job_get(first.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("state", [*FINAL, *WAITING])
async def test_deleting(client: Client, state: JobState) -> None:
    before = await job_in(client, state)
    assert await client.job_delete(before.id) == before
    with pytest.raises(JobNotFoundError):
        await client.job_get(before.id)


async def test_a_running_job_is_not_deleted(client: Client) -> None:
    before = await job_in(client, JobState.RUNNING)
    with pytest.raises(JobRunningError):
        await client.job_delete(before.id)
    assert await client.job_get(before.id) == before


@pytest.mark.parametrize(
    "operation", ["job_get", "job_cancel", "job_retry", "job_delete"], ids=lambda name: name
)
async def test_an_unknown_job_is_told(client: Client, operation: str) -> None:
    with pytest.raises(JobNotFoundError) as failure:
        await getattr(client, operation)(4711)
    assert failure.value.job_id == 4711


@pytest.mark.parametrize("operation", ["job_cancel", "job_retry", "job_delete", "job_update"])
async def test_the_caller_s_rollback_undoes(client: Client, operation: str) -> None:
    before = await job_in(client, JobState.SCHEDULED)
    async with client.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        given = {"output": "new"} if operation == "job_update" else {}
        changed = await getattr(client, operation)(before.id, tx=connection, **given)
        assert operation == "job_delete" or changed != before
        await transaction.rollback()
    assert await client.job_get(before.id) == before


async def test_output_is_stored_in_any_state(client: Client) -> None:
    before = await job_in(client, JobState.COMPLETED)
    row = await client.job_update(before.id, output={"answer": [1, None]})
    assert row.output == {"answer": [1, None]}
    assert row.metadata["mine"] == 1
    assert (await client.job_update(before.id, output=None)).metadata["output"] is None
    with pytest.raises(JobNotFoundError):
        await client.job_update(4711, output=1)


async def test_an_update_without_output_changes_nothing(client: Client) -> None:
    before = await job_in(client, JobState.SCHEDULED)
    assert await client.job_update(before.id) == before
    with pytest.raises(JobNotFoundError):
        await client.job_update(4711)


async def test_an_output_too_big_is_refused(client: Client) -> None:
    before = await job_in(client, JobState.SCHEDULED)
    with pytest.raises(ValueError, match="33,554,432"):
        await client.job_update(before.id, output="x" * (32 * 1024 * 1024))
    assert await client.job_get(before.id) == before


@pytest.mark.parametrize("output", [None, {"part": 2}])
async def test_a_running_job_stores_its_recorded_output_at_once(
    pool: asyncpg.Pool, output: object
) -> None:
    seen: list[JobRow] = []

    async def run(job: Job[NoteArgs]) -> None:
        client = client_from_context()
        assert (await client.job_update(job.row.id)).metadata == {}
        record_output({"part": 1})
        if output is None:
            await client.job_update(job.row.id)
        else:
            await client.job_update(job.row.id, output=output)
        seen.append(await client.job_get(job.row.id))

    async with started(pool, NoteWorker(run)) as client, client.subscribe() as events:
        await client.insert(NoteArgs())
        (event,) = await ended(events)
    assert seen[0].state is JobState.RUNNING
    assert seen[0].output == (output or {"part": 1})
    assert event.job is not None
    assert event.job.output == {"part": 1}


@pytest.fixture
async def queues(pool: asyncpg.Pool) -> list[str]:
    await pool.execute("INSERT INTO river_queue (name) VALUES ('a'), ('b')")
    return ["a", "b"]


async def test_pausing_and_resuming_a_queue(client: Client, queues: list[str]) -> None:
    await client.queue_pause("a")
    first = await client.queue_get("a")
    assert first.paused_at is not None
    await client.queue_pause("a")
    assert await client.queue_get("a") == first
    assert (await client.queue_get("b")).paused_at is None
    await client.queue_pause("*")
    assert [queue.paused_at is None for queue in await client.queue_list()] == [False, False]
    await client.queue_resume("*")
    assert [queue.paused_at is None for queue in await client.queue_list()] == [True, True]


@pytest.mark.parametrize("operation", ["queue_get", "queue_pause", "queue_resume", "queue_update"])
async def test_an_unknown_queue_is_told(client: Client, operation: str) -> None:
    with pytest.raises(QueueNotFoundError):
        await getattr(client, operation)("nowhere")


async def test_control_messages_have_go_s_bytes(client: Client, queues: list[str]) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    async with client.pool.acquire() as connection:
        await connection.add_listener("public.river_control", hear)
        await client.queue_pause("a")
        await client.queue_resume("*")
        row = await client.queue_update("b", metadata={"k": 1})
        text = '{ "z": "<&>\u2028", "a b": [1.0, 2],\n"p": "a\\/b \\" c" }'
        await client.queue_update("b", metadata=text)
        found = [await asyncio.wait_for(heard.get(), 20) for _ in range(4)]
        await connection.remove_listener("public.river_control", hear)
    assert found == [
        '{"action":"pause","queue":"a"}',
        '{"action":"resume","queue":"*"}',
        '{"action":"metadata_changed","metadata":{"k":1},"queue":"b"}',
        (
            r'{"action":"metadata_changed","metadata":{"z":"\u003c\u0026\u003e\u2028",'
            r'"a b":[1.0,2],"p":"a\/b \" c"},"queue":"b"}'
        ),
    ]
    assert json.loads(row.metadata_json) == {"k": 1}


async def test_a_queue_s_metadata_is_replaced_as_a_whole(client: Client, queues: list[str]) -> None:
    first = await client.queue_update("a", metadata={"k": 1, "l": [None]})
    assert first.metadata == {"k": 1, "l": [None]}
    second = await client.queue_update("a", metadata='{ "m" : 2 }')
    assert second.metadata == {"m": 2}
    assert second.updated_at >= first.updated_at
    third = await client.queue_update("a")
    assert third.metadata == {"m": 2}
    assert third.updated_at > second.updated_at
    assert (await client.queue_update("a", metadata={})).metadata == {}


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"k": NaN}',
        '{"k": "\\u0000"}',
        {"k": "x" * 8_000},
        '{"k":"' + "<" * 1_400 + '"}',
    ],
)
async def test_odd_metadata_of_a_queue_is_refused(
    client: Client, queues: list[str], metadata: Mapping[str, Json] | str
) -> None:
    before = await client.queue_get("a")
    with pytest.raises(InvalidParamsError) as refusal:
        await client.queue_update("a", metadata=metadata)
    assert refusal.value.parameter == "metadata"
    with pytest.raises(ArgsEncodeError):
        await client.queue_update("a", metadata={"k": float("nan")})
    assert await client.queue_get("a") == before


async def test_an_update_without_metadata_tells_nobody(client: Client, queues: list[str]) -> None:
    heard: list[object] = []

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.append(payload)

    async with client.pool.acquire() as connection:
        await connection.add_listener("public.river_control", hear)
        await client.queue_update("a")
        await client.queue_pause("a")
        await connection.execute("SELECT 1")
        async with asyncio.timeout(20):
            while not heard:
                await connection.execute("SELECT 1")
        await connection.remove_listener("public.river_control", hear)
    assert heard == ['{"action":"pause","queue":"a"}']


@pytest.mark.parametrize("operation", ["queue_pause", "queue_resume", "queue_update"])
async def test_the_caller_s_rollback_undoes_changes_of_queues(
    client: Client, queues: list[str], operation: str
) -> None:
    await client.queue_pause("b")
    before = await client.queue_list()
    async with client.pool.acquire() as connection:
        for name in ("a", "b"):
            transaction = connection.transaction()
            await transaction.start()
            await getattr(client, operation)(name, tx=connection)
            await transaction.rollback()
    assert await client.queue_list() == before


async def test_queues_are_listed_by_name(client: Client, queues: list[str]) -> None:
    assert [queue.name for queue in await client.queue_list(limit=1)] == ["a"]
    for limit in (0, 10_001):
        with pytest.raises(InvalidParamsError):
            await client.queue_list(limit=limit)
