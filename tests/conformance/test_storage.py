"""What is stored: migrations, rows, lists, queues, transactions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.adapter import Adapter, InsertJson, JobJson
from tests.conformance.conftest import Pair
from tests.conformance.fleet import LATEST_MIGRATION, Fleet
from tests.conformance.observer import Observer

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

VERSIONS = list(range(1, LATEST_MIGRATION + 1))
CURSOR_KIND = "conformance_cursor<>&~~~"
"""A kind that Go's JSON escapes, and whose cursor has a character of the URL alphabet."""


def ids(jobs: list[JobJson]) -> list[int]:
    """Their ids in order."""
    return [job["id"] for job in jobs]


async def gone(adapter: Adapter, *job_ids: int) -> None:
    """The adapter finds none of these jobs."""
    for job_id in job_ids:
        await adapter.refused("get", "not_found", id=job_id)


# Migrations


async def _work_on_schema_of(fleet: Fleet, database: str, migrator: str, runtime: str) -> None:
    """Fresh processes, since a migration down takes the types away that connections know."""
    migrating = await fleet.disposable(migrator, f"{migrator}-migrator", database)
    working = await fleet.disposable(runtime, f"{runtime}-runtime", database)
    await migrating.call("migrate")
    down = await migrating.call("migrate", direction="down", target_version=-1)
    assert down["existing"] == []
    assert (await migrating.call("migrate"))["valid"] is True
    await working.call("reset")
    job = await working.insert(f"runtime on {migrator}'s schema")
    worked = await working.job("work", id=job["id"], client_id=f"{runtime}-on-{migrator}")
    assert worked["state"] == "completed"
    assert worked["attempted_by"] == [f"{runtime}-on-{migrator}"]


async def test_candidate_migrator_reference_runtime(fleet: Fleet, empty_database: str) -> None:
    await _work_on_schema_of(fleet, empty_database, "python", "go")


async def test_reference_migrator_candidate_runtime(fleet: Fleet, empty_database: str) -> None:
    await _work_on_schema_of(fleet, empty_database, "go", "python")


async def test_historical_migration_down_up(pair: Pair) -> None:
    initializer, upgrader = pair
    for version in VERSIONS:
        schema = f"history_{initializer.name}_{version}"
        await initializer.call("migrate", direction="down", schema=schema, target_version=-1)
        first = await initializer.call(
            "migrate", direction="up", schema=schema, target_version=version
        )
        assert first["existing"] == VERSIONS[:version]
        assert first["valid"] is (version == LATEST_MIGRATION)

        newest = await upgrader.call("migrate", direction="up", schema=schema)
        assert (newest["existing"], newest["valid"]) == (VERSIONS, True)
        job = await upgrader.insert("history", schema=schema)
        assert await initializer.get(job["id"], schema) == job

        back = await initializer.call(
            "migrate", direction="down", schema=schema, target_version=version
        )
        assert back["existing"] == VERSIONS[:version]
        again = await upgrader.call("migrate", direction="up", schema=schema)
        assert (again["existing"], again["valid"]) == (VERSIONS, True)
        nothing = await upgrader.call("migrate", direction="down", schema=schema, target_version=-1)
        assert nothing["existing"] == []


async def test_migration_mixed_case_schema(pair: Pair) -> None:
    migrator, reader = pair
    schema = f"MixedCase{migrator.name.title()}"
    first = await migrator.call("migrate", schema=schema)
    assert first["applied"] == VERSIONS
    second = await reader.call("migrate", schema=schema)
    assert (second["applied"], second["existing"], second["valid"]) == ([], VERSIONS, True)


# Jobs


async def test_differential_job_crud(pair: Pair) -> None:
    writer, reader = pair
    await writer.call("reset")
    tags = ["all_jobs", f"writer_{writer.name}"]
    job = await writer.insert("crud", metadata={"writer": writer.name}, priority=3, tags=tags)
    assert await reader.get(job["id"]) == job
    for adapter in pair:
        assert await adapter.jobs("list", ids=[job["id"]], tags_all=tags) == [job]

    updated = await reader.job("update", id=job["id"], output={"updated_by": reader.name})
    assert updated["metadata"]["output"] == {"updated_by": reader.name}
    assert await writer.get(job["id"]) == updated

    cancelled = await writer.job("cancel", id=job["id"])
    assert cancelled["state"] == "cancelled"
    assert await reader.get(job["id"]) == cancelled

    retried = await reader.job("retry", id=job["id"])
    assert (retried["state"], retried["finalized_at"]) == ("available", None)
    assert await writer.get(job["id"]) == retried

    assert await writer.job("delete", id=job["id"]) == retried
    await gone(reader, job["id"])


async def test_bulk_delete_safety(pair: Pair) -> None:
    writer, reader = pair
    await writer.call("reset")
    doomed = [(await writer.insert(f"doomed {number}"))["id"] for number in range(2)]
    survivor = await writer.insert("survivor")
    assert sorted(ids(await reader.jobs("delete_many", ids=doomed))) == doomed
    await gone(writer, *doomed)
    for adapter in pair:
        await adapter.refused("delete_many", "rejected")
    assert await writer.get(survivor["id"]) == survivor


async def test_differential_job_list_filters_and_cursors(pair: Pair) -> None:
    writer, reader = pair
    await writer.call("reset")
    jobs = [
        await writer.insert(
            f"page {number}",
            metadata={"pagination_writer": writer.name},
            priority=number,
            scheduled_at=f"2099-01-01T00:00:0{number}Z",
            tags=["pagination_jobs"],
        )
        for number in (1, 2, 3)
    ]
    await writer.insert("outside of every filter")
    page = {
        "direction": "desc",
        "limit": 2,
        "order_by": "scheduled_at",
        "priorities": [1, 2, 3],
        "states": ["scheduled"],
        "tags_all": ["pagination_jobs"],
        "metadata": {"pagination_writer": writer.name},
    }
    first = await writer.call("list", **page)
    assert await reader.call("list", **page) == first
    assert first["jobs"] == [jobs[2], jobs[1]]
    second = await reader.call("list", **page, after=first["cursor"])
    assert await writer.call("list", **page, after=first["cursor"]) == second
    assert second["jobs"] == [jobs[0]]


async def _interchange_cursors(pair: Pair) -> None:
    writer, reader = pair
    await writer.call("reset")
    echo: list[int] = []
    odd: list[int] = []
    for number in (1, 2, 3):
        # Fractions that Go prints without trailing zeros.
        at = f"2099-01-01T00:00:0{number}.{number}2Z"
        echo.append((await writer.insert(f"cursor {number}", scheduled_at=at))["id"])
        raw = await writer.job("raw_insert_no_notify", kind=CURSOR_KIND, message=f"cursor {number}")
        odd.append(raw["id"])

    async def check(kind: str, order_by: str, ascending: list[int], *states: str) -> None:
        for direction in ("asc", "desc"):
            expected = ascending if direction == "asc" else ascending[::-1]
            page: dict[str, Any] = {
                "direction": direction,
                "kinds": [kind],
                "limit": 2,
                "order_by": order_by,
            }
            if states:
                page["states"] = list(states)
            first = await writer.call("list", **page)
            assert await reader.call("list", **page) == first, page
            assert ids(first["jobs"]) == expected[:2], page
            assert kind != CURSOR_KIND or "-" in first["cursor"]
            rest = await reader.jobs("list", **page, after=first["cursor"])
            assert ids(rest) == expected[2:], page

    kind = "conformance_echo"
    await check(kind, "id", echo)
    await check(kind, "scheduled_at", echo, "scheduled")
    await check(kind, "time", echo, "scheduled")
    await check(CURSOR_KIND, "id", odd)
    for job_id in (*echo, *odd):
        await writer.call("cancel", id=job_id)
    for some_kind, its_ids in ((kind, echo), (CURSOR_KIND, odd)):
        await check(some_kind, "finalized_at", its_ids, "cancelled")
        await check(some_kind, "time", its_ids, "cancelled")
    # Order by time takes the first state's column for all jobs; NULL comes last ascending.
    await writer.call("retry", id=echo[1])
    await check(kind, "time", [echo[0], echo[2], echo[1]], "cancelled", "available")
    await check(kind, "time", [echo[1], echo[0], echo[2]], "available", "cancelled")
    await writer.call("retry", id=echo[2])
    await check(kind, "time", echo, "cancelled", "available")


async def test_job_list_cursor_interchange(pair: Pair) -> None:
    await _interchange_cursors(pair)


async def test_multi_engine_job_list_cursor_interchange(candidates: Pair) -> None:
    await _interchange_cursors(candidates)


async def test_typed_batch_insertion(pair: Pair) -> None:
    actor, reader = pair
    await actor.call("reset")
    await actor.refused("insert_many", "rejected", jobs=[])
    unique: InsertJson = {"message": "twice", "opts": {"unique": {"by_args": True}}}
    existing = await actor.job("insert", **unique)
    first, second, third = await actor.insert_many(
        [
            {"message": "first", "opts": {"metadata": {"batch_index": 0}, "priority": 2}},
            unique,
            {"message": "third", "opts": {"pending": True, "tags": ["typed_batch"]}},
        ]
    )
    flags = [each["unique_skipped_as_duplicate"] for each in (first, second, third)]
    assert flags == [False, True, False]
    assert first["job"]["metadata"]["batch_index"] == 0
    assert first["job"]["priority"] == 2
    assert second["job"] == existing
    assert third["job"]["state"] == "pending"
    for each in (first, second, third):
        assert each["job"]["errors"] == []
        assert await reader.get(each["job"]["id"]) == each["job"]

    await actor.refused(
        "insert_many",
        "rejected",
        jobs=[
            {"message": "good", "opts": {"tags": ["refused_batch"]}},
            {"message": "bad", "opts": {"priority": 99}},
        ],
    )
    repeated = {
        "message": "repeated key",
        "opts": {"tags": ["refused_batch"], "unique": {"by_args": True}},
    }
    await actor.refused("insert_many", "database_error", "rejected", jobs=[repeated, repeated])
    assert await reader.jobs("list", tags_all=["refused_batch"]) == []
    await actor.refused(
        "insert", "rejected", message="no kind", opts={"unique": {"exclude_kind": True}}
    )

    await actor.call("reset")
    many = await actor.insert_many(
        [
            {"message": f"large {number}", "opts": {"metadata": {"batch_index": number}}}
            for number in range(6_000)
        ]
    )
    assert [each["job"]["metadata"]["batch_index"] for each in many] == list(range(6_000))


# Queues


async def _known_queue(actor: Adapter) -> None:
    await actor.start(f"{actor.name}-queues", max_workers=1)
    await actor.stop()


async def test_differential_queue_crud(pair: Pair, observer: Observer) -> None:
    writer, reader = pair
    await writer.call("reset")
    await _known_queue(writer)
    queue = await writer.queue("queue_get", name="default")
    assert await reader.queue("queue_get", name="default") == queue
    assert (queue["name"], queue["paused_at"]) == ("default", None)

    async with observer.listen("river_control") as listener:
        updated = await reader.queue(
            "queue_update", name="default", metadata={"updated_by": reader.name}
        )
        [payload] = await listener.until_marker()
    assert payload == (
        f'{{"action":"metadata_changed","metadata":{{"updated_by":"{reader.name}"}},'
        '"queue":"default"}'
    )
    assert updated["metadata"] == {"updated_by": reader.name}
    assert await writer.queue("queue_get", name="default") == updated
    for adapter in pair:
        assert (await adapter.call("queue_list"))["queues"] == [updated]


async def test_queue_names_and_unknown_queue_control(engine: Adapter) -> None:
    for name in ("missing_queue", "missing queue", "q" * 129):
        await engine.refused("queue_pause", "not_found", name=name)
        await engine.refused("queue_resume", "not_found", name=name)
        await engine.refused("queue_update", "not_found", name=name, metadata={"owner": "x"})
    await engine.call("queue_pause", name="*")
    await engine.call("queue_resume", name="*")
    job = await engine.insert("odd name", queue="tenant|emails")
    assert job["queue"] == "tenant|emails"


# Transactions


async def test_transaction_commit_visibility(pair: Pair) -> None:
    actor, observer = pair
    await actor.call("reset")
    await actor.call("tx_begin", handle="commit")
    job = await actor.job("tx_insert", handle="commit", job={"message": "commit"})
    assert await actor.job("tx_get", handle="commit", id=job["id"]) == job
    await gone(observer, job["id"])
    await actor.call("tx_commit", handle="commit")
    assert await observer.get(job["id"]) == job


async def test_transaction_rollback_visibility(pair: Pair) -> None:
    actor, observer = pair
    await actor.call("reset")
    await actor.call("tx_begin", handle="rollback")
    job = await actor.job("tx_insert", handle="rollback", job={"message": "rollback"})
    assert await actor.job("tx_get", handle="rollback", id=job["id"]) == job
    await actor.call("tx_rollback", handle="rollback")
    await gone(observer, job["id"])
    await gone(actor, job["id"])


async def test_transaction_abort_rollback_visibility(pair: Pair) -> None:
    actor, observer = pair
    await actor.call("reset")
    await actor.call("tx_begin", handle="aborted")
    job = await actor.job("tx_insert", handle="aborted", job={"message": "aborted"})
    await actor.refused("tx_fail", "database_error", handle="aborted")
    await actor.refused("tx_get", "database_error", handle="aborted", id=job["id"])
    # COMMIT of an aborted transaction rolls back; drivers disagree whether that is an error.
    await actor.attempt("tx_commit", handle="aborted")
    await gone(observer, job["id"])
    await gone(actor, job["id"])


async def test_transactional_batch_insertion(pair: Pair) -> None:
    actor, observer = pair
    await actor.call("reset")
    await actor.call("tx_begin", handle="empty")
    await actor.refused("tx_insert_many", "rejected", handle="empty", jobs=[])
    await actor.call("tx_commit", handle="empty")

    page = {"direction": "asc", "order_by": "id", "tags_all": ["batch"]}
    for outcome, expected in (("tx_rollback", []), ("tx_commit", [2, 3])):
        await actor.call("tx_begin", handle=outcome)
        inserted = await actor.insert_many(
            [
                {
                    "message": f"{outcome} {number}",
                    "opts": {
                        "metadata": {"batch_index": number},
                        "priority": number + 2,
                        "tags": ["batch"],
                    },
                }
                for number in range(2)
            ],
            handle=outcome,
        )
        assert [each["job"]["metadata"]["batch_index"] for each in inserted] == [0, 1]
        assert await observer.jobs("list", **page) == []
        await actor.call(outcome, handle=outcome)
        assert [job["priority"] for job in await observer.jobs("list", **page)] == expected


async def test_transactional_completion(engine: Adapter) -> None:
    await engine.call("reset")
    await engine.start(f"{engine.name}-completes", max_workers=1)
    job = await engine.insert("in its own transaction", behavior="transactional_complete")
    worked = await engine.wait(job["id"])
    assert (worked["state"], worked["errors"]) == ("completed", [])
    assert worked["metadata"]["transactional_completion"] is True
    await engine.stop()


async def test_transactional_crud_commit_rollback(pair: Pair) -> None:
    actor, observer = pair
    await actor.call("reset")
    await actor.call("tx_begin", handle="crud")
    new = {"message": "crud", "opts": {"metadata": {"actor": actor.name}, "tags": ["crud"]}}
    job = await actor.job("tx_insert", handle="crud", job=new)
    await gone(observer, job["id"])
    inside = {"handle": "crud", "id": job["id"]}
    assert await actor.job("tx_get", **inside) == job
    updated = await actor.job("tx_update", **inside, output={"updated_by": actor.name})
    assert updated["metadata"]["output"] == {"updated_by": actor.name}
    assert await actor.jobs("tx_list", handle="crud", ids=[job["id"]]) == [updated]
    assert (await actor.job("tx_cancel", **inside))["state"] == "cancelled"
    retried = await actor.job("tx_retry", **inside)
    assert retried["state"] == "available"
    await gone(observer, job["id"])
    await actor.call("tx_commit", handle="crud")
    assert await observer.get(job["id"]) == retried

    await actor.call("tx_begin", handle="undone")
    assert await actor.job("tx_delete", handle="undone", id=job["id"]) == retried
    assert await observer.get(job["id"]) == retried
    await actor.call("tx_rollback", handle="undone")
    assert await observer.get(job["id"]) == retried

    doomed = [(await actor.insert(f"doomed {number}"))["id"] for number in range(2)]
    await actor.call("tx_begin", handle="bulk")
    deleted = await actor.jobs("tx_delete_many", handle="bulk", ids=doomed)
    assert sorted(ids(deleted)) == doomed
    for job_id in doomed:
        assert (await observer.get(job_id))["id"] == job_id
    await actor.call("tx_commit", handle="bulk")
    await gone(observer, *doomed)


async def test_transactional_queue_operations(pair: Pair) -> None:
    actor, observer = pair
    await actor.call("reset")
    await _known_queue(actor)
    before = await observer.queue("queue_get", name="default")

    name = {"handle": "queues", "name": "default"}
    await actor.call("tx_begin", handle="queues")
    updated = await actor.queue("tx_queue_update", **name, metadata={"updated_by": actor.name})
    assert updated["metadata"] == {"updated_by": actor.name}
    await actor.call("tx_queue_pause", **name)
    paused = await actor.queue("tx_queue_get", **name)
    assert paused["paused_at"] is not None
    assert (await actor.call("tx_queue_list", handle="queues"))["queues"] == [paused]
    assert await observer.queue("queue_get", name="default") == before
    await actor.call("tx_commit", handle="queues")
    assert await observer.queue("queue_get", name="default") == paused

    name = {"handle": "undone", "name": "default"}
    await actor.call("tx_begin", handle="undone")
    await actor.call("tx_queue_resume", **name)
    assert (await actor.queue("tx_queue_get", **name))["paused_at"] is None
    assert await observer.queue("queue_get", name="default") == paused
    await actor.call("tx_rollback", handle="undone")
    assert await observer.queue("queue_get", name="default") == paused
