"""Lists, cursors and changes of many jobs are Go River's: the same rows, the same bytes."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from riverengine import (
    Client,
    InvalidParamsError,
    JobCountByQueueAndState,
    JobDeleteManyParams,
    JobListCursor,
    JobListOrderBy,
    JobListParams,
    JobState,
    NamedArgError,
    SortOrder,
    UnfilteredError,
)
from tests.interop.peer import Peer, PeerError

pytestmark = pytest.mark.interop

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KINDS = ["plain", "k<>&~", "zoë\u2028☃"]
FINAL = [state for state in JobState if state.is_final]
FIRSTS: list[list[JobState] | None] = [
    None,
    [JobState.RUNNING, JobState.AVAILABLE],
    [JobState.COMPLETED, JobState.RUNNING],
    [JobState.SCHEDULED, JobState.CANCELLED],
    [JobState.COMPLETED],
    [JobState.RUNNING],
    FINAL,
]


@pytest.fixture
async def jobs(pool: asyncpg.Pool) -> list[int]:
    """Jobs in every state, many with equal, null or odd times and kinds."""
    ids = []
    for number in range(64):
        state = list(JobState)[number * 5 % 8]
        job_id = await pool.fetchval(
            """
            INSERT INTO river_job (
                kind, args, state, queue, priority, max_attempts, tags, metadata, attempted_at,
                finalized_at, scheduled_at
            ) VALUES (
                $1, '{}', $2::text::river_job_state, $3, $4, 9, $5, $6, $7, $8, $9
            ) RETURNING id
            """,
            KINDS[number % 3],
            state.value,
            f"queue{number % 2}",
            1 + number % 4,
            [tag for bit, tag in enumerate(("red", "green")) if number >> bit & 1],
            json.dumps({"even": number % 2 == 0}),
            None if number % 3 == 0 else START + timedelta(microseconds=number % 5 * 10),
            START + timedelta(milliseconds=number % 4 * 100) if state.is_final else None,
            START - timedelta(hours=number % 6),
        )
        ids.append(job_id)
    return ids


def go_params(params: JobListParams) -> dict[str, Any]:
    """The parameters as the peer takes them."""
    found: dict[str, Any] = {
        "order_by": params.order_by.value,
        "descending": params.direction is SortOrder.DESC,
        "limit": params.limit,
        "where": [{"sql": each.sql, "args": dict(each.args)} for each in params.predicates],
    }
    for name in ("ids", "kinds", "priorities", "queues", "states", "tags_all", "tags_any"):
        values = getattr(params, name)
        if values is not None:
            found[name] = list(values)
    if params.metadata is not None:
        found["metadata"] = params.metadata_json
    if params.after is not None:
        found["after"] = params.after.encode()
    return found


@pytest.mark.parametrize("direction", SortOrder)
@pytest.mark.parametrize("order_by", JobListOrderBy)
@pytest.mark.parametrize("states", FIRSTS, ids=str)
async def test_pages_and_cursors_are_go_s(
    go: Peer,
    python: Client,
    jobs: list[int],
    order_by: JobListOrderBy,
    direction: SortOrder,
    states: list[JobState] | None,
) -> None:
    """Each page is listed by both, from the other's cursor; rows and cursor texts are equal."""
    if order_by is JobListOrderBy.FINALIZED_AT and not set(states or FINAL) <= set(FINAL):
        with pytest.raises(InvalidParamsError) as refusal:
            JobListParams(states=states, order_by=order_by, direction=direction)
        with pytest.raises(PeerError) as go_refusal:
            await go.call(
                "job_list", states=states, order_by=order_by, descending=direction == "desc"
            )
        assert str(refusal.value) == str(go_refusal.value)
        return
    params = JobListParams(states=states, order_by=order_by, direction=direction, limit=7)
    pages = 0
    while True:
        go_page = await go.call("job_list", **go_params(params))
        page = await python.job_list(params)
        assert [job.id for job in page.jobs] == go_page["ids"]
        if page.last_cursor is None:
            assert go_page["cursor"] == ""
            break
        assert page.last_cursor.encode() == go_page["cursor"]
        params = replace(params, after=JobListCursor.decode(go_page["cursor"]))
        pages += 1
    expected = [None] if states is None else states
    assert pages >= len(expected)


async def test_filters_choose_what_go_s_do(go: Peer, python: Client, jobs: list[int]) -> None:
    rng = random.Random(51)
    pools: dict[str, list[Any]] = {
        "ids": jobs,
        "kinds": [*KINDS, "none"],
        "priorities": [1, 2, 3, 4],
        "queues": ["queue0", "queue1"],
        "states": list(JobState),
        "tags_all": ["red", "green"],
        "tags_any": ["red", "green"],
    }
    for _ in range(150):
        filters: dict[str, Any] = {
            name: rng.sample(values, rng.randint(1, max(1, len(values) // 2)))
            for name, values in pools.items()
            if rng.random() < 0.35
        }
        if rng.random() < 0.3:
            filters["metadata"] = rng.choice([{"even": True}, '{"even": false}'])
        params = JobListParams(
            **filters,
            order_by=rng.choice([JobListOrderBy.ID, JobListOrderBy.TIME]),
            direction=rng.choice(list(SortOrder)),
            limit=rng.choice([5, 100]),
        )
        if rng.random() < 0.3:
            params = params.where("priority > @least AND kind <> @unwanted", least=1, unwanted="x")
        go_page = await go.call("job_list", **go_params(params))
        page = await python.job_list(params)
        assert [job.id for job in page.jobs] == go_page["ids"], params
        assert (page.last_cursor.encode() if page.last_cursor else "") == go_page["cursor"]


async def test_where_is_refused_as_in_go(go: Peer, python: Client, jobs: list[int]) -> None:
    for filters, sql, args in (
        ({}, "kind = @kind", {"kind": "a", "other": 1}),
        ({"kinds": ["plain"]}, "kind <> @kind", {"kind": "a"}),
    ):
        with pytest.raises(NamedArgError) as refusal:
            await python.job_list(JobListParams(**filters).where(sql, args))  # type: ignore[arg-type]
        with pytest.raises(PeerError) as go_refusal:
            await go.call("job_list", **filters, where=[{"sql": sql, "args": args}])
        assert str(refusal.value) == str(go_refusal.value)


@pytest.mark.parametrize(
    ("filters", "where"),
    [
        ({"kinds": ["plain"]}, None),
        ({"states": ["completed", "running"], "priorities": [1, 2, 3]}, None),
        ({"queues": ["queue1"], "limit": 5}, None),
        ({}, "priority = 1 OR kind = 'plain' --"),
    ],
)
async def test_a_deletion_reaches_what_go_s_does(
    go: Peer,
    python: Client,
    pool: asyncpg.Pool,
    jobs: list[int],
    filters: dict[str, Any],
    where: str | None,
) -> None:
    await pool.execute("CREATE TABLE kept AS SELECT * FROM river_job")
    try:
        params = JobDeleteManyParams(**filters)
        if where is not None:
            params = params.where(where)
        ours = [job.id for job in (await python.job_delete_many(params)).jobs]
        await pool.execute("DELETE FROM river_job; INSERT INTO river_job SELECT * FROM kept")
        clauses = [] if where is None else [{"sql": where, "args": {}}]
        theirs = await go.call("job_delete_many", **filters, where=clauses)
        assert ours
        assert ours == theirs["ids"]
    finally:
        await pool.execute("DROP TABLE kept")


async def test_a_deletion_without_filter_is_refused_with_go_s_words(
    go: Peer, python: Client, jobs: list[int]
) -> None:
    with pytest.raises(UnfilteredError) as refusal:
        await python.job_delete_many(JobDeleteManyParams())
    with pytest.raises(PeerError) as go_refusal:
        await go.call("job_delete_many")
    assert str(refusal.value) == str(go_refusal.value)
    assert await python.job_count() == len(jobs)


async def test_names_and_counts_are_go_s(go: Peer, python: Client, jobs: list[int]) -> None:
    await python.pool.execute(
        "INSERT INTO river_queue (name) VALUES ('queue0'), ('Queue1'), ('a_b'), ('axb')"
    )
    for after, match, exclude, limit in (
        ("", "", [], 100),
        ("k<>&~", "", [], 100),
        ("", "L", [], 100),
        ("", "a_b", ["a_b"], 100),
        ("", "%", [KINDS[0], "queue0"], 1),
    ):
        found = {
            "job_kind_list": await python.job_kind_list(
                after=after, match=match, exclude=exclude, limit=limit
            ),
            "queue_name_list": await python.queue_name_list(
                after=after, match=match, exclude=exclude, limit=limit
            ),
        }
        for method, names in found.items():
            theirs = await go.call(method, after=after, match=match, exclude=exclude, limit=limit)
            assert names == (theirs or []), method
    assert await python.job_count_by_state() == await go.call("job_count_by_state")
    queues = ["queue1", "nowhere", "queue0", "queue0"]
    counts = await go.call("job_count_by_queue_and_state", queues=queues)
    assert await python.job_count_by_queue_and_state(queues) == [
        JobCountByQueueAndState(count["Queue"], count["CountAvailable"], count["CountRunning"])
        for count in counts
    ]


async def test_an_output_stored_by_either_is_the_same(
    go: Peer, python: Client, pool: asyncpg.Pool, jobs: list[int]
) -> None:
    output = {"text": "é<&>☃", "number": 2**60, "none": None}
    ours = await python.job_update(jobs[0], output=output)
    theirs = await go.call("job_update", id=jobs[1], output=output)
    assert ours.output == theirs["metadata"]["output"] == output
    before = await python.job_get(jobs[0])
    assert (await go.call("job_update", id=jobs[0]))["metadata"] == before.metadata
    assert await python.job_update(jobs[0]) == before


@pytest.mark.parametrize(
    "metadata",
    [
        '{"b":1,"a":{"z":null,"y":[1.50,1e3]}}',
        '{ "b" : 1,\n\t"a" : "<&>\u2028 \\" \\\\ \\u003c x" ,"a": 2 }',
        "{}",
    ],
)
async def test_a_queue_s_changed_metadata_is_told_with_go_s_bytes(
    go: Peer, python: Client, pool: asyncpg.Pool, metadata: str
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    await pool.execute("INSERT INTO river_queue (name) VALUES ('q<1>')")
    async with pool.acquire() as connection:
        await connection.add_listener("public.river_control", hear)
        ours = await python.queue_update("q<1>", metadata=metadata)
        first = await asyncio.wait_for(heard.get(), 20)
        theirs = await go.call("queue_update", name="q<1>", metadata=metadata)
        second = await asyncio.wait_for(heard.get(), 20)
        await connection.remove_listener("public.river_control", hear)
    assert first == second
    assert ours.metadata_json == theirs["metadata"]
