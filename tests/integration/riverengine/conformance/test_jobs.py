"""Inserting, reading and changing jobs, plainly and in transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from riverengine import Json
from tests.integration.riverengine.conformance.adapter import (
    DATABASE_ERROR,
    NOT_FOUND,
    REJECTED,
    Adapter,
)

OPTS = {
    "max_attempts": 7,
    "metadata": {"user": {"n": 9007199254740993}},
    "priority": 2,
    "queue": "tenant|emails",
    "scheduled_at": "2031-02-03T04:05:06.789+02:00",
    "tags": ["alpha_tag"],
}


async def test_options_reach_the_row(adapter: Adapter) -> None:
    job = await adapter.call("insert", behavior="sleep", duration_ms=5, message="é<", opts=OPTS)
    assert await adapter.call("get", id=job["id"]) == job
    assert job["args"] == {"behavior": "sleep", "duration_ms": 5, "message": "é<"}
    assert {name: job[name] for name in OPTS} == {
        **OPTS,
        "scheduled_at": "2031-02-03T02:05:06.789Z",
    }
    assert job["state"] == "scheduled"
    assert (await adapter.call("insert", opts={"pending": True}))["state"] == "pending"


async def test_zero_and_empty_options_leave_the_choice_open(adapter: Adapter) -> None:
    job = await adapter.call("insert", opts={"priority": 0, "queue": "", "unique": {}})
    assert (job["priority"], job["queue"], job["unique_key"]) == (1, "default", None)


@pytest.mark.parametrize(
    "opts",
    [
        {"priority": 99},
        {"queue": "Not Valid"},
        {"tags": ["no spaces"]},
        {"unique": {"exclude_kind": True}},
        {"unique": {"by_period_ms": 999}},
        {"unique": {"by_args": True, "by_state": ["completed"]}},
        {"unique": {"by_period_ms": 2**63 - 1}},
    ],
    ids=str,
)
async def test_what_river_refuses_is_rejected(adapter: Adapter, opts: Json) -> None:
    assert await adapter.code("insert", opts=opts) == REJECTED


async def test_a_batch_keeps_its_order_and_tells_duplicates(adapter: Adapter) -> None:
    unique = {"message": "one", "opts": {"unique": {"by_args": True}}}
    existing = await adapter.call("insert", **unique)
    batch = await adapter.call("insert_many", jobs=[{"message": "a"}, unique, {"message": "c"}])
    results = batch["results"]
    assert [result["unique_skipped_as_duplicate"] for result in results] == [False, True, False]
    assert results[1]["job"] == existing
    assert [result["job"]["args"]["message"] for result in results] == ["a", "one", "c"]


async def test_a_batch_is_inserted_whole_or_not_at_all(adapter: Adapter) -> None:
    assert await adapter.code("insert_many", jobs=[]) == REJECTED
    bad = [{"message": "good"}, {"message": "bad", "opts": {"priority": 5}}]
    assert await adapter.code("insert_many", jobs=bad) == REJECTED
    unique = {"message": "twice", "opts": {"unique": {"by_args": True}}}
    assert await adapter.code("insert_many", jobs=[unique, unique]) == DATABASE_ERROR
    assert (await adapter.call("list"))["jobs"] == []


async def test_six_thousand_jobs_fit_in_one_answer(adapter: Adapter) -> None:
    jobs = [
        {"message": f"large batch {number}", "opts": {"metadata": {"batch_index": number}}}
        for number in range(6000)
    ]
    results = (await adapter.call("insert_many", jobs=jobs))["results"]
    indexes = [result["job"]["metadata"]["batch_index"] for result in results]
    assert indexes == list(range(6000))


async def test_enqueueing_is_measured_inside_the_process(adapter: Adapter) -> None:
    measured = await adapter.call("benchmark_enqueue", jobs=20)
    assert 0 < measured["p95_ns"] <= measured["duration_ns"]
    assert len((await adapter.call("list"))["jobs"]) == 20


async def test_a_job_is_updated_cancelled_retried_and_deleted(adapter: Adapter) -> None:
    job = await adapter.call("insert", opts={"metadata": {"kept": 1}})
    updated = await adapter.call("update", id=job["id"], output={"by": ["python", None, 1.5]})
    assert updated["metadata"] == {"kept": 1, "output": {"by": ["python", None, 1.5]}}
    assert await adapter.call("update", id=job["id"]) == updated
    nulled = await adapter.call("update", id=job["id"], output=None)
    assert nulled["metadata"]["output"] is None
    cancelled = await adapter.call("cancel", id=job["id"])
    assert cancelled["state"] == "cancelled"
    assert datetime.fromisoformat(cancelled["metadata"]["cancel_attempted_at"]) > datetime.now(
        UTC
    ) - timedelta(minutes=1)
    assert await adapter.call("cancel", id=job["id"]) == cancelled
    retried = await adapter.call("retry", id=job["id"])
    assert (retried["state"], retried["finalized_at"]) == ("available", None)
    assert "cancel_attempted_at" not in retried["metadata"]
    assert await adapter.call("delete", id=job["id"]) == retried
    assert await adapter.code("get", id=job["id"]) == NOT_FOUND


@pytest.mark.parametrize("method", ["get", "update", "cancel", "retry", "delete", "wait", "work"])
async def test_an_unknown_job_is_not_found(adapter: Adapter, method: str) -> None:
    assert await adapter.code(method, id=404) == NOT_FOUND


async def test_jobs_of_a_transaction_appear_when_it_commits(adapter: Adapter) -> None:
    await adapter.call("tx_begin", handle="t")
    job = await adapter.call("tx_insert", handle="t", job={"message": "in t", "opts": OPTS})
    batch = await adapter.call("tx_insert_many", handle="t", jobs=[{"message": "batch"}])
    assert await adapter.call("tx_get", handle="t", id=job["id"]) == job
    assert await adapter.code("get", id=job["id"]) == NOT_FOUND
    updated = await adapter.call("tx_update", handle="t", id=job["id"], output=1)
    assert updated["metadata"]["output"] == 1
    listed = await adapter.call("tx_list", handle="t", ids=[job["id"]])
    assert listed["jobs"] == [updated]
    assert (await adapter.call("tx_cancel", handle="t", id=job["id"]))["state"] == "cancelled"
    retried = await adapter.call("tx_retry", handle="t", id=job["id"])
    assert retried["state"] == "available"
    gone = batch["results"][0]["job"]
    assert await adapter.call("tx_delete", handle="t", id=gone["id"]) == gone
    await adapter.call("tx_commit", handle="t")
    assert (await adapter.call("list"))["jobs"] == [retried]


async def test_jobs_of_a_rolled_back_transaction_never_were(adapter: Adapter) -> None:
    await adapter.call("tx_begin", handle="t")
    job = await adapter.call("tx_insert", handle="t", job={})
    await adapter.call("tx_rollback", handle="t")
    assert await adapter.code("get", id=job["id"]) == NOT_FOUND
    assert await adapter.code("tx_rollback", handle="t") == NOT_FOUND


async def test_a_failed_transaction_is_aborted_and_its_handle_can_be_used_again(
    adapter: Adapter,
) -> None:
    await adapter.call("tx_begin", handle="t")
    assert await adapter.code("tx_begin", handle="t") == REJECTED
    job = await adapter.call("tx_insert", handle="t", job={})
    assert await adapter.code("tx_fail", handle="t") == DATABASE_ERROR
    assert await adapter.code("tx_get", handle="t", id=job["id"]) == DATABASE_ERROR
    assert await adapter.code("tx_commit", handle="t") == DATABASE_ERROR
    assert await adapter.code("get", id=job["id"]) == NOT_FOUND
    await adapter.call("tx_begin", handle="t")
    await adapter.call("tx_rollback", handle="t")


@pytest.mark.parametrize("method", ["tx_commit", "tx_rollback", "tx_fail", "tx_queue_list"])
async def test_an_unknown_handle_is_not_found(adapter: Adapter, method: str) -> None:
    assert await adapter.code(method, handle="nobody") == NOT_FOUND


async def _inserted(adapter: Adapter, number: int, **opts: Json) -> list[Json]:
    jobs = [{"message": f"job {each}", "opts": opts} for each in range(number)]
    results = (await adapter.call("insert_many", jobs=jobs))["results"]
    return [result["job"] for result in results]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("order_by", ["id", "scheduled_at", "time"])
async def test_pages_follow_each_other_by_cursor(
    adapter: Adapter, order_by: str, direction: str
) -> None:
    jobs = []
    for second in range(5):
        opts = {"scheduled_at": f"2099-01-01T00:00:0{second}.{second}2Z"}
        jobs.append(await adapter.call("insert", opts=opts))
    listed: list[Json] = []
    more: Json = {}
    while True:
        page = await adapter.call("list", order_by=order_by, direction=direction, limit=2, **more)
        if not page["jobs"]:
            break
        listed += page["jobs"]
        more = {"after": page["cursor"]}
    assert page == {"cursor": None, "jobs": []}
    assert listed == (jobs if direction == "asc" else jobs[::-1])


async def test_final_jobs_are_listed_by_the_time_of_their_end(adapter: Adapter) -> None:
    jobs = await _inserted(adapter, 3)
    ended = [await adapter.call("cancel", id=job["id"]) for job in reversed(jobs)]
    page = await adapter.call("list", order_by="finalized_at", states=["cancelled"])
    assert page["jobs"] == ended
    assert await adapter.code("list", order_by="finalized_at", states=["available"]) == REJECTED
    assert await adapter.code("list", after="no cursor") == REJECTED
    assert await adapter.code("list", limit=10_001) == REJECTED


async def test_lists_are_filtered(adapter: Adapter) -> None:
    (plain,) = await _inserted(adapter, 1)
    (other,) = await _inserted(
        adapter, 1, tags=["red", "green"], priority=3, queue="aside", metadata={"a": {"b": 1}}
    )
    await _inserted(adapter, 1, pending=True)
    for filters, found in (
        ({"ids": [plain["id"]]}, [plain]),
        ({"kinds": ["conformance_echo"], "states": ["available"]}, [plain, other]),
        ({"kinds": ["other"]}, []),
        ({"priorities": [3]}, [other]),
        ({"queues": ["aside"]}, [other]),
        ({"tags_all": ["red", "green"]}, [other]),
        ({"tags_all": ["red", "blue"]}, []),
        ({"tags_any": ["red", "blue"]}, [other]),
        ({"metadata": {"a": {"b": 1}}}, [other]),
        ({"ids": [], "queues": ["aside"]}, [other]),
    ):
        assert (await adapter.call("list", **filters))["jobs"] == found, filters


async def test_many_jobs_are_deleted_by_filter_or_all_of_them_on_demand(adapter: Adapter) -> None:
    jobs = await _inserted(adapter, 3)
    nothings: list[Json] = [{}, {"limit": 10}, {"ids": []}, {"all": False}]
    for nothing in nothings:
        assert await adapter.code("delete_many", **nothing) == REJECTED
    deleted = await adapter.call("delete_many", ids=[jobs[0]["id"], 404])
    assert deleted == {"jobs": [jobs[0]]}
    await adapter.call("tx_begin", handle="d")
    deleted = await adapter.call("tx_delete_many", handle="d", queues=["default"])
    assert deleted == {"jobs": jobs[1:]}
    await adapter.call("tx_rollback", handle="d")
    assert await adapter.call("delete_many", all=True, limit=1) == {"jobs": [jobs[1]]}
    assert (await adapter.call("list"))["jobs"] == [jobs[2]]


async def test_ids_beyond_the_exact_floats_go_through_lists_and_cursors(adapter: Adapter) -> None:
    ids = [2**53 + 1, 2**53 + 2]
    for job_id in ids:
        await adapter.call("raw_insert_exact_json", id=job_id)
    first = await adapter.call("list", ids=ids, limit=1)
    second = await adapter.call("list", ids=ids, limit=1, after=first["cursor"])
    assert [page["jobs"][0]["id"] for page in (first, second)] == ids
    assert (await adapter.call("cancel", id=ids[0]))["id"] == ids[0]
    assert [job["id"] for job in (await adapter.call("delete_many", ids=ids))["jobs"]] == ids
