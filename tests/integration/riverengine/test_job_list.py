"""Lists of jobs: filters, orders and pages, against a model in Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riverengine import (
    Client,
    InvalidParamsError,
    JobDeleteManyParams,
    JobFilter,
    JobListCursor,
    JobListOrderBy,
    JobListParams,
    JobRow,
    JobState,
    NamedArgError,
    SortOrder,
)

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KINDS = ["a", "b", "k<>&~"]
TAGS = ["red", "green", "blue"]
FINAL = [state for state in JobState if state.is_final]


@pytest.fixture
async def client(pool: asyncpg.Pool) -> Client:
    """A client of a database with jobs in every state, many of them with equal or no times."""
    await pool.executemany(
        """
        INSERT INTO river_job (
            kind, args, state, queue, priority, max_attempts, tags, metadata, created_at,
            attempted_at, finalized_at, scheduled_at
        ) VALUES (
            $1, jsonb_build_object('k', $4::smallint), $2::text::river_job_state, $3, $4, 9, $5,
            $6, $7, $8, $9, $10
        )
        """,
        [
            (
                KINDS[number % 3],
                state.value,
                f"queue{number % 2}",
                1 + number % 4,
                [tag for bit, tag in enumerate(TAGS) if number >> bit & 1],
                json.dumps({"even": number % 2 == 0, "third": {"of": number % 3}}),
                START,
                None if number % 3 == 0 else START + timedelta(seconds=number % 5),
                START + timedelta(microseconds=number % 4) if state.is_final else None,
                START - timedelta(hours=number % 6),
            )
            for number in range(48)
            for state in [list(JobState)[number % 8]]
        ],
    )
    client = Client(pool)
    jobs = (await client.job_list()).jobs
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)
    return client


filters = st.fixed_dictionaries(
    {},
    optional={
        "kinds": st.lists(st.sampled_from([*KINDS, "none"]), max_size=3),
        "priorities": st.lists(st.integers(1, 4), max_size=3),
        "queues": st.lists(st.sampled_from(["queue0", "queue1", "none"]), max_size=2),
        "states": st.lists(st.sampled_from(list(JobState)), max_size=4, unique=True),
        "tags_all": st.lists(st.sampled_from(TAGS), max_size=2),
        "tags_any": st.lists(st.sampled_from(TAGS), max_size=2),
        "args": st.sampled_from([{}, {"k": 2}, '{"k": 3}']),
        "metadata": st.sampled_from([{}, {"even": True}, {"third": {"of": 2}}, '{"even": false}']),
    },
)
orders = st.tuples(st.sampled_from(list(JobListOrderBy)), st.sampled_from(list(SortOrder)))


def fits(job: JobRow, params: JobFilter) -> bool:
    """Whether the job is one the filters name."""

    def among(value: object, allowed: object) -> bool:
        return allowed is None or value in allowed  # type: ignore[operator]

    metadata, args = json.loads(params.metadata_json), json.loads(params.args_json)
    return (
        among(job.id, params.ids)
        and among(job.kind, params.kinds)
        and among(job.priority, params.priorities)
        and among(job.queue, params.queues)
        and among(job.state, params.states)
        and (params.tags_all is None or set(params.tags_all) <= set(job.tags))
        and (params.tags_any is None or bool(set(params.tags_any) & set(job.tags)))
        and metadata.items() <= job.metadata.items()
        and args.items() <= job.args.items()
    )


def ordered(jobs: list[JobRow], params: JobListParams) -> list[JobRow]:
    """The jobs in the order of the list: null times are greater than all others."""
    field = params.order_by.value
    if params.order_by is JobListOrderBy.TIME:
        first = params.states[0] if params.states else JobState.AVAILABLE
        field = {JobState.RUNNING: "attempted_at"}.get(
            first, "finalized_at" if first.is_final else "scheduled_at"
        )

    def key(job: JobRow) -> tuple[bool, datetime, int]:
        time = getattr(job, field) if field != "id" else START
        return (time is None, time or START, job.id)

    return sorted(jobs, key=key, reverse=params.direction is SortOrder.DESC)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(filters=filters, order=orders, limit=st.integers(1, 60), through_text=st.booleans())
async def test_pages_are_those_of_the_model(
    client: Client,
    filters: dict[str, Any],
    order: tuple[JobListOrderBy, SortOrder],
    limit: int,
    through_text: bool,
) -> None:
    if order[0] is JobListOrderBy.FINALIZED_AT and "states" in filters:
        filters["states"] = [state for state in filters["states"] if state.is_final] or FINAL
    params = JobListParams(**filters, order_by=order[0], direction=order[1], limit=limit)
    jobs = (await client.job_list()).jobs
    expected = ordered([job for job in jobs if fits(job, params)], params)
    found: list[JobRow] = []
    page = await client.job_list(params)
    while page.last_cursor is not None:
        assert len(page.jobs) <= limit
        found += page.jobs
        cursor = page.last_cursor
        if through_text:
            cursor = JobListCursor.decode(cursor.encode())
        else:
            cursor = JobListCursor.from_job(page.jobs[-1])
        page = await client.job_list(replace(params, after=cursor))
    assert [job.id for job in found] == [job.id for job in expected]
    assert await client.job_count(params) == len(expected)


async def test_a_list_without_parameters_is_the_first_hundred_by_id(
    client: Client, pool: asyncpg.Pool
) -> None:
    await pool.execute(
        "INSERT INTO river_job (kind, args, max_attempts)"
        " SELECT 'many', '{}', 1 FROM generate_series(1, 100)"
    )
    first = await client.job_list()
    assert len(first.jobs) == 100
    rest = await client.job_list(JobListParams(after=first.last_cursor))
    assert len(rest.jobs) == 48
    assert (await client.job_list(JobListParams(after=rest.last_cursor))).last_cursor is None


async def test_an_empty_filter_fits_nothing(client: Client) -> None:
    for name in ("ids", "kinds", "priorities", "queues", "states", "tags_any"):
        params = JobListParams(**{name: []})  # type: ignore[arg-type]
        assert (await client.job_list(params)).jobs == []
    assert len((await client.job_list(JobListParams(tags_all=[]))).jobs) == 48


async def test_ids(client: Client) -> None:
    ids = [job.id for job in (await client.job_list()).jobs]
    found = await client.job_list(JobListParams(ids=[ids[7], ids[3], -1]))
    assert [job.id for job in found.jobs] == [ids[3], ids[7]]


async def test_where_with_named_arguments(client: Client) -> None:
    params = JobListParams(kinds=["a", "b"]).where(
        "metadata->>'even' = @even AND cardinality(tags) = any(@sizes)", even="true", sizes=[1, 2]
    )
    expected = [
        job.id
        for job in (await client.job_list()).jobs
        if job.kind != KINDS[2] and job.metadata["even"] and len(job.tags) in {1, 2}
    ]
    assert expected
    assert [job.id for job in (await client.job_list(params)).jobs] == expected
    both = params.where("priority > @least", least=1)
    jobs = (await client.job_list(both)).jobs
    assert jobs
    assert all(job.priority > 1 for job in jobs)


@pytest.mark.parametrize("condition", ["FALSE OR TRUE", "TRUE --", "TRUE OR /* */ TRUE -- )"])
async def test_where_never_widens_the_other_filters(client: Client, condition: str) -> None:
    params = JobListParams(
        kinds=["a"], states=[JobState.COMPLETED], order_by=JobListOrderBy.FINALIZED_AT, limit=2
    ).where(condition)
    page = await client.job_list(params)
    assert len(page.jobs) == 2
    more = await client.job_list(replace(params, after=page.last_cursor, limit=100))
    jobs = page.jobs + more.jobs
    assert {(job.kind, job.state) for job in jobs} == {("a", JobState.COMPLETED)}
    assert len(jobs) == await client.job_count(params)


async def test_a_name_of_a_filter_in_use_is_refused(client: Client) -> None:
    params = JobListParams(kinds=["a"]).where("kind <> @kind", kind="b")
    with pytest.raises(NamedArgError):
        await client.job_list(params)
    unused = JobListParams(queues=["queue0"]).where("kind = @kind", kind="a")
    assert {job.kind for job in (await client.job_list(unused)).jobs} == {"a"}


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: JobListParams(limit=0), "limit"),
        (lambda: JobListParams(limit=10_001), "limit"),
        (lambda: JobListParams(kinds="note"), "kinds"),
        (lambda: JobListParams(states=["gone"]), "states"),  # type: ignore[list-item]
        (lambda: JobListParams(order_by="kind"), "order_by"),  # type: ignore[arg-type]
        (lambda: JobListParams(tags_any=["\x00"]), "tags_any"),
        (lambda: JobListParams(ids=[2**63]), "ids"),
        (lambda: JobListParams(ids=["5"]), "ids"),  # type: ignore[list-item]
        (lambda: JobListParams(ids=[5.0]), "ids"),  # type: ignore[list-item]
        (lambda: JobListParams(ids=[True]), "ids"),
        (lambda: JobListParams(priorities=[40_000]), "priorities"),
        (lambda: JobListParams(metadata="{"), "metadata"),
        (lambda: JobListParams(args=""), "args"),
        (lambda: JobListParams(args='{"k": NaN}'), "args"),
        (lambda: JobListParams(metadata='{"k": "\\u0000"}'), "metadata"),
        (lambda: JobListParams(metadata='{"k": "\\ud800"}'), "metadata"),
        (
            lambda: JobListParams(
                order_by=JobListOrderBy.FINALIZED_AT, states=[JobState.RUNNING, JobState.COMPLETED]
            ),
            "states",
        ),
        (lambda: JobListParams(order_by=JobListOrderBy.FINALIZED_AT, states=[]), "states"),
    ],
)
def test_odd_parameters_are_refused_when_made(
    make: Callable[[], JobListParams], parameter: str
) -> None:
    with pytest.raises(InvalidParamsError) as refusal:
        make()
    assert refusal.value.parameter == parameter


def test_the_refusal_of_states_has_go_s_words() -> None:
    with pytest.raises(InvalidParamsError) as refusal:
        JobListParams(
            order_by=JobListOrderBy.FINALIZED_AT, states=[JobState.RUNNING, JobState.PENDING]
        )
    assert str(refusal.value) == (
        "cannot order by finalized_at with non-finalized state filters [running pending]"
    )


async def test_a_job_without_the_list_s_time_is_no_place_in_it(client: Client) -> None:
    waiting = (await client.job_list(JobListParams(states=[JobState.PENDING]))).jobs[0]
    params = JobListParams(
        order_by=JobListOrderBy.FINALIZED_AT, after=JobListCursor.from_job(waiting)
    )
    with pytest.raises(InvalidParamsError) as refusal:
        await client.job_list(params)
    assert refusal.value.parameter == "after"


async def test_a_job_scheduled_for_ever_does_not_end_or_repeat_a_list(
    client: Client, pool: asyncpg.Pool
) -> None:
    await pool.execute("UPDATE river_job SET scheduled_at = 'infinity' WHERE state = 'scheduled'")
    params = JobListParams(order_by=JobListOrderBy.SCHEDULED_AT, limit=5)
    found = []
    page = await client.job_list(params)
    while page.last_cursor is not None:
        found += [job.id for job in page.jobs]
        cursor = JobListCursor.decode(page.last_cursor.encode())
        page = await client.job_list(replace(params, after=cursor))
    assert len(found) == len(set(found)) == 48


async def test_the_caller_s_transaction_is_read(client: Client) -> None:
    async with client.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE river_job SET kind = 'changed'")
        params = JobListParams(kinds=["changed"])
        assert len((await client.job_list(params, tx=connection)).jobs) == 48
        assert await client.job_count(params, tx=connection) == 48
        await transaction.rollback()
    assert await client.job_count(params) == 0


async def test_counting_stops_at_its_cap(client: Client) -> None:
    assert await client.job_count() == 48
    assert await client.job_count(at_most=10) == 10
    assert await client.job_count(JobFilter(states=FINAL)) == 18
    assert await client.job_count(JobFilter().where("priority = @p", p=4)) == 12
    with pytest.raises(InvalidParamsError):
        await client.job_count(at_most=0)


async def test_counts_by_state(client: Client) -> None:
    assert await client.job_count_by_state() == dict.fromkeys(JobState, 6)
    assert await client.job_count_by_state(at_most=4) == dict.fromkeys(JobState, 4)
    await client.pool.execute("DELETE FROM river_job WHERE state = 'pending'")
    counts = await client.job_count_by_state()
    assert (counts[JobState.PENDING], counts[JobState.RUNNING]) == (0, 6)


async def test_counts_by_queue_and_state(client: Client) -> None:
    # States alternate with the queues: the even ones are available, running ones among them.
    counts = await client.job_count_by_queue_and_state(["queue1", "none", "queue0", "queue0"])
    assert [(count.queue, count.count_available, count.count_running) for count in counts] == [
        ("none", 0, 0),
        ("queue0", 6, 6),
        ("queue1", 0, 0),
    ]
    capped = await client.job_count_by_queue_and_state(["queue0"], at_most=5)
    assert [(count.count_available, count.count_running) for count in capped] == [(5, 5)]


async def test_kinds_are_listed_by_name(client: Client) -> None:
    assert await client.job_kind_list() == KINDS
    assert await client.job_kind_list(limit=2) == ["a", "b"]
    assert await client.job_kind_list(after="a") == ["b", "k<>&~"]
    assert await client.job_kind_list(match="K<") == ["k<>&~"]
    assert await client.job_kind_list(exclude=["b", "none"]) == ["a", "k<>&~"]
    assert await client.job_kind_list(after="a", match="b", exclude=["b"]) == []
    with pytest.raises(InvalidParamsError):
        await client.job_kind_list(limit=0)


async def test_odd_names_are_refused(client: Client) -> None:
    for call in (
        client.job_kind_list(match="\x00"),
        client.job_kind_list(exclude="abc"),
        client.queue_name_list(after="\x00"),
        client.queue_name_list(exclude=["\x00"]),
        client.job_count_by_queue_and_state("default"),
        client.queue_stats("default"),
    ):
        with pytest.raises(InvalidParamsError):
            await call


async def test_queue_names_are_listed(client: Client) -> None:
    await client.pool.execute("INSERT INTO river_queue (name) VALUES ('b'), ('a'), ('ab')")
    assert await client.queue_name_list() == ["a", "ab", "b"]
    assert await client.queue_name_list(after="a", match="B", exclude=["b"]) == ["ab"]
    assert await client.queue_name_list(limit=1) == ["a"]


async def test_a_statement_that_takes_too_long_is_given_up(client: Client) -> None:
    slow = JobListParams().where("pg_sleep(60) IS NOT NULL")
    with pytest.raises(TimeoutError):
        await client.job_list(slow, timeout=timedelta(milliseconds=50))
    with pytest.raises(TimeoutError):
        await client.job_count(slow, timeout=timedelta(milliseconds=50))
    many = JobDeleteManyParams().where("pg_sleep(60) IS NOT NULL")
    with pytest.raises(TimeoutError):
        await client.job_delete_many(many, timeout=timedelta(milliseconds=50))
    assert await client.job_count() == 48
    # Nor does the server go on with it: it would hold its locks as long as it sleeps.
    async with asyncio.timeout(20):
        while True:
            at_work = await client.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()",
                "%pg_sleep(60)%",
            )
            if not at_work:
                break
            await asyncio.sleep(0.01)


async def test_queue_stats_tell_depth_and_latency(client: Client) -> None:
    await client.pool.execute(
        "DELETE FROM river_job WHERE id NOT IN (SELECT max(id) FROM river_job)"
    )
    await client.pool.execute(
        """
        INSERT INTO river_job (kind, args, max_attempts, queue, priority, state, scheduled_at)
        SELECT 'x', '{}', 1, queue, priority, state::river_job_state, now() + due
        FROM (
            VALUES
            ('nobody', 4, 'available', interval '-2 hours'),
            ('nobody', 1, 'available', interval '-1 minute'),
            ('nobody', 1, 'available', interval '1 hour'),
            ('nobody', 2, 'scheduled', interval '1 hour'),
            ('nobody', 3, 'retryable', interval '-9 hours'),
            ('nobody', 1, 'running', interval '-9 hours'),
            ('early', 1, 'available', interval '1 hour')
        ) AS jobs (queue, priority, state, due)
        """
    )
    await client.pool.execute("INSERT INTO river_queue (name, paused_at) VALUES ('paused', now())")
    early, nobody, paused = await client.queue_stats()
    assert (nobody.queue, nobody.paused_at) == ("nobody", None)
    assert (nobody.count_due, nobody.count_running, nobody.count_later) == (2, 1, 2)
    assert timedelta(hours=2) <= nobody.latency < timedelta(hours=2, minutes=5)
    assert (early.queue, early.count_due, early.latency) == ("early", 0, timedelta(0))
    assert (paused.queue, paused.count_due, paused.latency) == ("paused", 0, timedelta(0))
    assert paused.paused_at is not None
    named = await client.queue_stats(["nobody", "unknown"], at_most=1)
    assert [(stats.queue, stats.count_due, stats.count_later) for stats in named] == [
        ("nobody", 1, 1),
        ("unknown", 0, 0),
    ]
    assert await client.queue_stats([]) == []
