"""Queue rows, plainly and in transactions, and the queues of a running client."""

from __future__ import annotations

import asyncpg
import pytest

from tests.integration.riverengine.conformance.adapter import NOT_FOUND, REJECTED, Adapter


async def _queue(adapter: Adapter) -> None:
    await adapter.call("start", client_id="queues", max_workers=1)
    await adapter.call("stop")


async def test_a_queue_is_read_paused_resumed_and_changed(adapter: Adapter) -> None:
    await _queue(adapter)
    queue = await adapter.call("queue_get", name="default")
    assert set(queue) == {"created_at", "metadata", "name", "paused_at", "updated_at"}
    assert (queue["metadata"], queue["paused_at"]) == ({}, None)
    assert (await adapter.call("queue_list"))["queues"] == [queue]
    assert await adapter.call("queue_pause", name="default") == {}
    assert (await adapter.call("queue_get", name="default"))["paused_at"] is not None
    await adapter.call("queue_resume", name="*")
    assert (await adapter.call("queue_get", name="default"))["paused_at"] is None
    changed = await adapter.call("queue_update", name="default", metadata={"by": "python"})
    assert changed["metadata"] == {"by": "python"}
    touched = await adapter.call("queue_update", name="default")
    assert touched["metadata"] == {"by": "python"}
    assert await adapter.code("queue_list", limit=10_001) == REJECTED


@pytest.mark.parametrize("name", ["missing", "no queue", "q" * 129])
async def test_unknown_queues_are_not_found_whatever_their_name(
    adapter: Adapter, name: str
) -> None:
    for method in ("queue_get", "queue_pause", "queue_resume", "queue_update"):
        assert await adapter.code(method, name=name) == NOT_FOUND
    assert await adapter.call("queue_pause", name="*") == {}


async def test_queue_changes_of_a_transaction_appear_when_it_commits(adapter: Adapter) -> None:
    await _queue(adapter)
    before = await adapter.call("queue_get", name="default")
    await adapter.call("tx_begin", handle="q")
    updated = await adapter.call(
        "tx_queue_update", handle="q", name="default", metadata={"in": "q"}
    )
    assert updated["metadata"] == {"in": "q"}
    await adapter.call("tx_queue_pause", handle="q", name="default")
    inside = await adapter.call("tx_queue_get", handle="q", name="default")
    assert (await adapter.call("tx_queue_list", handle="q"))["queues"] == [inside]
    assert await adapter.call("queue_get", name="default") == before
    await adapter.call("tx_queue_resume", handle="q", name="default")
    after = await adapter.call("tx_queue_get", handle="q", name="default")
    await adapter.call("tx_commit", handle="q")
    assert await adapter.call("queue_get", name="default") == after
    assert (inside["paused_at"] is None, after["paused_at"]) == (False, None)


async def test_metadata_is_announced_as_the_harness_wrote_it(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    await _queue(adapter)
    heard: list[object] = []

    def note(*arguments: object) -> None:
        heard.append(arguments[-1])

    await database.add_listener("public.river_control", note)
    written = '{"zeta":"\\u003c&", "alpha":1,"path":"a\\/b"}'
    answer = await adapter.ask(
        '{"id":1,"jsonrpc":"2.0","method":"queue_update",'
        f'"params":{{"name":"default","metadata":{written}}}}}'
    )
    assert answer["result"]["metadata"] == {"zeta": "<&", "alpha": 1, "path": "a/b"}
    while not heard:
        await database.fetchval("SELECT 1")
    told = '{"zeta":"\\u003c\\u0026","alpha":1,"path":"a\\/b"}'
    assert heard == [f'{{"action":"metadata_changed","metadata":{told},"queue":"default"}}']


async def test_queues_of_a_running_client_are_added_changed_and_removed(adapter: Adapter) -> None:
    for method in ("queue_add", "queue_remove"):
        assert await adapter.code(method, name="dynamic") == REJECTED
    await adapter.call("start", client_id="dynamic", max_workers=1)
    await adapter.call("queue_add", name="dynamic", max_workers=1)
    await adapter.call("queue_add", name="dynamic", max_workers=2)
    await adapter.call("barrier_create", name="dynamic-both")
    opts = {"queue": "dynamic"}
    jobs = [
        await adapter.call("insert", behavior="barrier_wait", message="dynamic-both", opts=opts)
        for _ in range(2)
    ]
    for job in jobs:
        await adapter.wait_for_state(job["id"], "running")
    await adapter.call("barrier_release", name="dynamic-both")
    for job in jobs:
        await adapter.wait_for_state(job["id"], "completed")
    await adapter.call("queue_remove", name="dynamic")
    assert await adapter.code("queue_remove", name="dynamic") == NOT_FOUND
    left = await adapter.call("insert", opts=opts)
    marker = await adapter.call("insert", message="marker")
    await adapter.wait_for_state(marker["id"], "completed")
    assert (await adapter.call("get", id=left["id"]))["state"] == "available"
