"""A client in the adapter: what its jobs do, and what it tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import pytest

from riverengine import Json
from tests.integration.riverengine.conformance.adapter import (
    INVALID_PARAMS,
    NOT_FOUND,
    REJECTED,
    Adapter,
    running_adapter,
)


async def _stats(adapter: Adapter, condition: Callable[[Json], bool]) -> Json:
    async with asyncio.timeout(20):
        while True:
            stats = await adapter.call("runtime_stats")
            if condition(stats):
                return stats
            await asyncio.sleep(0.02)


async def _term_other_than(adapter: Adapter, elected_at: str | None) -> Json:
    """The leader, once one leads whose term began at another time."""
    async with asyncio.timeout(20):
        while True:
            leader = await adapter.call("leader")
            if leader["elected_at"] not in (None, elected_at):
                return leader
            await asyncio.sleep(0.02)


async def _worked(adapter: Adapter, behavior: str, **params: Json) -> Json:
    """The job of a behaviour, once it ended."""
    opts = {"max_attempts": 1, **params.pop("opts", {})}
    job = await adapter.call("insert", behavior=behavior, opts=opts, **params)
    return await adapter.call("wait", id=job["id"])


async def test_work_runs_one_job_by_a_client_of_its_own(adapter: Adapter) -> None:
    job = await adapter.call("insert", opts={"queue": "aside"})
    worked = await adapter.call("work", id=job["id"], client_id="short-lived")
    assert (worked["state"], worked["attempt"]) == ("completed", 1)
    assert worked["attempted_by"] == ["short-lived"]
    assert await adapter.code("runtime_stats") == REJECTED
    assert await adapter.code("work", id=job["id"]) == REJECTED


async def test_work_makes_one_attempt(adapter: Adapter) -> None:
    job = await adapter.call("insert", behavior="error", opts={"max_attempts": 3})
    failed = await adapter.call("work", id=job["id"])
    assert failed["state"] in {"available", "retryable"}
    assert (failed["attempt"], len(failed["errors"])) == (1, 1)


async def test_a_client_starts_and_stops_once(adapter: Adapter) -> None:
    assert await adapter.code("stop") == REJECTED
    await adapter.call("start", client_id="once")
    assert await adapter.code("start", client_id="once") == REJECTED
    await adapter.call("stop")
    assert await adapter.code("stop") == REJECTED
    await adapter.call("start", client_id="once")
    await adapter.call("stop", cancel=True)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"periodic_unique": True}, REJECTED),
        ({"leader_election_disabled": True, "periodic_run_on_start": True}, REJECTED),
        ({"job_timeout_ms": 2000, "rescue_after_ms": 1000}, REJECTED),
        ({"max_workers": 10_001}, REJECTED),
        ({"queue": "Not Valid"}, REJECTED),
        ({"schema": "s" * 47}, REJECTED),
        ({"retry_delay_ms": 2**63 - 1}, REJECTED),
        ({"claim_barrier": "never raised"}, INVALID_PARAMS),
    ],
    ids=str,
)
async def test_contradicting_settings_are_refused_and_nothing_starts(
    adapter: Adapter, params: Json, code: int
) -> None:
    assert await adapter.code("start", client_id="refused", **params) == code
    assert await adapter.code("stop") == REJECTED


async def test_outcomes_of_the_behaviours(adapter: Adapter) -> None:
    await adapter.call("start", client_id="outcomes", max_workers=4)
    job = await _worked(adapter, "")
    assert (job["state"], job["errors"]) == ("completed", [])
    job = await _worked(adapter, "error")
    assert (job["state"], job["errors"][0]["error"]) == (
        *("discarded", "conformance retryable error"),
    )
    job = await _worked(adapter, "panic")
    assert "conformance worker panic" in job["errors"][0]["error"]
    assert job["errors"][0]["trace"]
    assert (await _worked(adapter, "cancel"))["state"] == "cancelled"
    assert (await _worked(adapter, "discard"))["state"] == "discarded"
    job = await _worked(adapter, "output", message="told")
    assert job["metadata"] == {"output": {"message": "told"}}
    job = await _worked(adapter, "transactional_complete")
    assert (job["state"], job["metadata"]) == ("completed", {"transactional_completion": True})
    job = await _worked(adapter, "snooze_once", duration_ms=1)
    assert (job["state"], job["attempt"], job["metadata"]) == ("completed", 1, {"snoozes": 1})
    assert (await _worked(adapter, "sleep", duration_ms=1))["state"] == "completed"
    job = await _worked(adapter, "barrier_wait", message="never raised")
    assert job["state"] == "discarded"


async def test_a_long_snooze_gives_the_attempt_back(adapter: Adapter) -> None:
    await adapter.call("start", client_id="snooze")
    job = await adapter.call("insert", behavior="snooze_once", duration_ms=60_000)
    job = await adapter.wait_for_state(job["id"], "scheduled")
    assert (job["attempt"], job["errors"], job["metadata"]) == (0, [], {"snoozes": 1})
    delay = datetime.fromisoformat(job["scheduled_at"]) - datetime.fromisoformat(
        job["attempted_at"]
    )
    assert timedelta(seconds=59) < delay < timedelta(seconds=90)


async def test_resumable_steps_are_not_repeated(adapter: Adapter) -> None:
    await adapter.call("start", client_id="resumable", retry_delay_ms=5)
    job = await _worked(adapter, "resumable", opts={"max_attempts": 2})
    assert (job["state"], job["attempt"], len(job["errors"])) == ("completed", 2, 1)
    assert job["metadata"]["river:resumable_step"] == "first"
    stats = await adapter.call("runtime_stats")
    assert (stats["resumable_first_runs"], stats["resumable_second_runs"]) == (1, 2)


async def test_a_resumable_cursor_is_kept_and_consumed(adapter: Adapter) -> None:
    await adapter.call("start", client_id="cursor", retry_delay_ms=5)
    job = await _worked(adapter, "resumable_cursor", opts={"max_attempts": 3})
    assert (job["state"], job["attempt"], len(job["errors"])) == ("completed", 3, 2)
    assert job["metadata"]["first_attempt"] == 1
    assert job["metadata"]["cursor_observed"] == 7
    assert job["metadata"]["river:resumable_cursor"] is None
    assert job["metadata"]["river:resumable_step"] == "second"


@pytest.mark.parametrize(
    ("behavior", "metadata", "step"),
    [
        ("resumable_duplicate", {}, "first"),
        ("resumable_duplicate", {"river:resumable_step": "later"}, "later"),
        ("resumable", {"river:resumable_step": ""}, "first"),
        ("output", {"river:resumable_cursor": []}, None),
    ],
    ids=str,
)
async def test_resumable_state_is_validated(
    adapter: Adapter, behavior: str, metadata: Json, step: str | None
) -> None:
    await adapter.call("start", client_id="validation")
    job = await _worked(adapter, behavior, opts={"metadata": metadata})
    assert job["state"] == "discarded"
    assert job["metadata"].get("river:resumable_step") == step
    assert "output" not in job["metadata"]
    if behavior == "resumable_duplicate":
        assert "duplicate resumable step" in job["errors"][0]["error"]


async def test_a_barrier_holds_jobs_until_it_is_released(adapter: Adapter) -> None:
    assert await adapter.code("barrier_release", name="held") == NOT_FOUND
    await adapter.call("barrier_create", name="held")
    assert await adapter.code("barrier_create", name="held") == REJECTED
    await adapter.call("start", client_id="barrier")
    job = await adapter.call("insert", behavior="barrier_output", message="held")
    await adapter.wait_for_state(job["id"], "running")
    await adapter.call("barrier_release", name="held")
    assert await adapter.code("barrier_release", name="held") == NOT_FOUND
    job = await adapter.call("wait", id=job["id"])
    assert job["metadata"] == {"output": {"race": "worker"}}


async def test_a_cancelled_job_ends_cancelled(adapter: Adapter) -> None:
    await adapter.call("start", client_id="cancel", fetch_poll_interval_ms=60_000)
    job = await adapter.call("insert", behavior="cooperative_cancel")
    await adapter.wait_for_state(job["id"], "running")
    requested = await adapter.call("cancel", id=job["id"])
    assert requested["state"] == "running"
    job = await adapter.call("wait", id=job["id"])
    assert job["state"] == "cancelled"
    assert [error["error"] for error in job["errors"]] == ["JobCancelError: job cancelled remotely"]
    stats = await _stats(adapter, lambda stats: bool(stats["events"]))
    assert (stats["events"], stats["cancelled_at_start"]) == (["job_cancelled"], 0)


async def test_a_snoozed_job_that_was_fetched_again_is_cancelled(adapter: Adapter) -> None:
    await adapter.call("start", client_id="again", max_workers=1)
    job = await adapter.call("insert", behavior="snooze_then_cancel", duration_ms=1)
    async with asyncio.timeout(20):
        while job["state"] != "running" or "snoozes" not in job["metadata"]:
            job = await adapter.call("get", id=job["id"])
    await adapter.call("cancel", id=job["id"])
    assert (await adapter.call("wait", id=job["id"]))["state"] == "cancelled"


async def test_a_claim_is_held_and_its_job_starts_cancelled(adapter: Adapter) -> None:
    await adapter.call("barrier_create", name="claim")
    await adapter.call("start", client_id="claimer", claim_barrier="claim", max_workers=1)
    leader = await _term_other_than(adapter, None)
    job = await adapter.call("insert", behavior="cooperative_cancel")
    await adapter.wait_for_state(job["id"], "running")
    await adapter.call("cancel", id=job["id"])
    marker = await adapter.call("insert", behavior="sleep", duration_ms=0)
    assert marker["state"] == "available"
    # It hears of all this while it still holds its claim: messages arrive in order, and this one's
    # effect is seen.
    await adapter.call("request_resign")
    await _term_other_than(adapter, leader["elected_at"])
    await adapter.call("barrier_release", name="claim")
    job = await adapter.call("wait", id=job["id"])
    assert (job["state"], job["attempt"]) == ("cancelled", 1)
    assert (await adapter.call("runtime_stats"))["cancelled_at_start"] == 1
    await adapter.wait_for_state(marker["id"], "completed")


async def test_stopping_releases_a_held_claim(adapter: Adapter) -> None:
    await adapter.call("barrier_create", name="claim-stop")
    await adapter.call("start", client_id="claimer", claim_barrier="claim-stop")
    job = await adapter.call("insert")
    await adapter.wait_for_state(job["id"], "running")
    await adapter.call("stop")
    assert (await adapter.call("get", id=job["id"]))["state"] == "completed"


async def test_a_timeout_fails_the_attempt(adapter: Adapter) -> None:
    await adapter.call("start", client_id="timeout", job_timeout_ms=20)
    job = await _worked(adapter, "cooperative_cancel")
    assert (job["state"], len(job["errors"])) == ("discarded", 1)
    assert job["errors"][0]["error"]


async def test_an_error_handler_cancels(adapter: Adapter) -> None:
    await adapter.call("start", client_id="handler", error_handler_cancel=True)
    job = await _worked(adapter, "error", opts={"max_attempts": 3})
    assert (job["state"], job["attempt"]) == ("cancelled", 1)
    stats = await _stats(adapter, lambda stats: "job_cancelled" in stats["events"])
    assert stats["error_handler_calls"] == 1


async def test_stopping_hard_tells_cooperation_from_failure(adapter: Adapter) -> None:
    await adapter.call("start", client_id="hard", max_workers=3)
    behaviors = ("cooperative_cancel", "cancel_error", "cancel_panic")
    jobs = {each: await adapter.call("insert", behavior=each) for each in behaviors}
    for job in jobs.values():
        await adapter.wait_for_state(job["id"], "running")
    await adapter.call("stop", cancel=True)
    ended = {each: await adapter.call("get", id=jobs[each]["id"]) for each in behaviors}
    cooperative = ended.pop("cooperative_cancel")
    assert (cooperative["state"], cooperative["attempt"]) == ("available", 0)
    assert cooperative["errors"] == []
    for job in ended.values():
        assert (job["state"], job["attempt"], len(job["errors"])) == ("available", 1, 1)


async def test_a_periodic_job_is_inserted_when_leadership_begins(adapter: Adapter) -> None:
    await adapter.call(
        "start", client_id="periodic", periodic_run_on_start=True, periodic_unique=True
    )
    async with asyncio.timeout(20):
        listed: Json = []
        while len(listed) < 2:
            listed = (await adapter.call("list", metadata={"periodic": True}))["jobs"]
    found = {job["metadata"]["river:periodic_job_id"]: job for job in listed}
    assert found["conformance-periodic"]["args"]["message"] == "periodic run on start"
    assert found["conformance-periodic"]["unique_key"] is not None
    assert found["conformance-periodic-marker"]["args"]["message"] == "periodic marker"
    assert found["conformance-periodic-marker"]["unique_key"] is None


async def test_a_request_to_resign_begins_a_term(adapter: Adapter) -> None:
    await adapter.call("start", client_id="resigning")
    first = await _term_other_than(adapter, None)
    assert first["leader_id"] == "resigning"
    await adapter.call("tx_begin", handle="resign")
    await adapter.call("request_resign", handle="resign")
    await adapter.call("tx_rollback", handle="resign")
    assert await adapter.call("leader") == first
    await adapter.call("request_resign")
    await _term_other_than(adapter, first["elected_at"])


async def test_a_cut_listening_connection_comes_back(adapter: Adapter) -> None:
    await adapter.call("start", client_id="listener", fetch_poll_interval_ms=60_000)
    assert await adapter.call("listener_count") == {"count": 1}
    assert await adapter.call("fault_disconnect_listeners") == {"count": 1}
    await adapter.wait_for("listener_count", {"count": 0})
    await adapter.wait_for("listener_count", {"count": 1})
    job = await adapter.call("insert")
    assert (await adapter.call("wait", id=job["id"]))["state"] == "completed"
    await adapter.call("stop")
    assert await adapter.call("listener_count") == {"count": 0}


async def test_a_client_that_only_polls_does_not_listen(adapter: Adapter) -> None:
    await adapter.call("start", client_id="poll", poll_only=True, fetch_poll_interval_ms=50)
    assert await adapter.call("listener_count") == {"count": 0}
    assert (await _worked(adapter, ""))["state"] == "completed"


async def test_a_wait_that_misses_its_states_is_rejected(adapter: Adapter) -> None:
    job = await adapter.call("insert")
    assert await adapter.code("wait", id=job["id"], states=["running"]) == REJECTED


async def test_hooks_run_inside_of_middleware(adapter: Adapter) -> None:
    await adapter.call("start", client_id="traced", instrumented=True)
    await adapter.wait_for_state((await adapter.call("insert"))["id"], "completed")
    stats = await _stats(adapter, lambda stats: "job_completed" in stats["events"])
    assert stats["trace"] == [
        *("middleware:insert_before", "hook:insert_begin", "middleware:insert_after"),
        *("middleware:work_before", "hook:work_begin", "hook:work_end", "middleware:work_after"),
    ]
    await adapter.call("tx_begin", handle="traced")
    await adapter.call("tx_insert_many", handle="traced", jobs=[{}, {}])
    await adapter.call("tx_rollback", handle="traced")
    trace = (await adapter.call("runtime_stats"))["trace"]
    assert trace.count("hook:insert_begin") == 3
    assert trace.count("middleware:insert_before") == 2


async def test_an_uninstrumented_client_leaves_no_trace(adapter: Adapter) -> None:
    await adapter.call("start", client_id="untraced")
    await adapter.wait_for_state((await adapter.call("insert"))["id"], "completed")
    assert (await adapter.call("runtime_stats"))["trace"] == []


async def test_the_start_of_periodic_jobs_is_counted_once_a_term(adapter: Adapter) -> None:
    await adapter.call("start", client_id="term", instrumented=True, periodic_run_on_start=True)
    stats = await _stats(adapter, lambda stats: stats["periodic_starts"] > 0)
    assert stats["periodic_starts"] == 1
    await adapter.call("request_resign")
    stats = await _stats(adapter, lambda stats: stats["periodic_starts"] > 1)
    assert stats["periodic_starts"] == 2


RESCUES = {"rescue_after_ms": 60_000, "job_timeout_ms": 60_000}
FAST = {f"{name}_interval_ms": 20 for name in ("elect", "rescuer", "scheduler")}


async def test_a_job_of_a_dead_client_is_rescued_and_completed(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    job = await adapter.call("insert", message="abandoned")
    unknown = await adapter.call("raw_insert_no_notify", kind="unknown_kind")
    await database.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_by = '{gone}', "
        "attempted_at = now() - interval '1 hour'"
    )
    await adapter.call("start", client_id="rescuer", **RESCUES, **FAST)
    job = await adapter.call("wait", id=job["id"])
    assert (job["state"], job["attempt"]) == ("completed", 2)
    assert job["attempted_by"] == ["gone", "rescuer"]
    assert job["metadata"] == {"river:rescue_count": 1}
    assert [error["error"] for error in job["errors"]] == ["Stuck job rescued by JobRescuer"]
    unknown = await adapter.call("wait", id=unknown["id"])
    assert (unknown["state"], unknown["attempt"]) == ("discarded", 1)


async def test_jobs_without_timeout_are_not_rescued(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    job = await adapter.call("insert", message="takes its time", opts={"queue": "elsewhere"})
    marker = await adapter.call("raw_insert_no_notify", kind="unknown_kind")
    await database.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_by = '{alive}', "
        "attempted_at = now() - interval '2 hours'"
    )
    await adapter.call(
        "start", client_id="rescuer", rescue_after_ms=60_000, job_timeout_disabled=True, **FAST
    )
    await adapter.wait_for_state(marker["id"], "discarded")
    assert (await adapter.call("get", id=job["id"]))["state"] == "running"


async def test_final_jobs_are_deleted_after_their_retention(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    jobs = {}
    for state in ("cancelled", "completed", "discarded"):
        jobs[state] = await adapter.call("insert", opts={"pending": True})
        await database.execute(
            "UPDATE river_job SET state = $2::text::river_job_state, "
            "finalized_at = now() - interval '2 hours' WHERE id = $1",
            *(jobs[state]["id"], state),
        )
    await adapter.call(
        "start",
        client_id="cleaner",
        cancelled_job_retention_ms=3_600_000,
        completed_job_retention_ms=-1,
        discarded_job_retention_ms=3_600_000,
        job_cleaner_interval_ms=50,
        queue_cleaner_interval_ms=50,
        **FAST,
    )
    async with asyncio.timeout(20):
        while True:
            left = (await adapter.call("list"))["jobs"]
            if len(left) == 1:
                break
            await asyncio.sleep(0.02)
    assert (await adapter.call("get", id=jobs["completed"]["id"]))["state"] == "completed"


async def test_indexes_are_rebuilt_in_turn_and_doubtful_ones_skipped(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    async def file_of(index: str) -> int:
        found: int = await database.fetchval(
            "SELECT relfilenode FROM pg_class WHERE relname = $1", index
        )
        return found

    doubtful, good = "conformance_doubtful", "conformance_good"
    try:
        for index in (doubtful, f"{doubtful}_ccnew1", good):
            await database.execute(f"CREATE INDEX {index} ON river_job (kind)")
        before = {index: await file_of(index) for index in (doubtful, good)}
        await adapter.call(
            "start",
            client_id="reindexer",
            reindexer_index_names=["conformance_missing", doubtful, good],
            reindexer_interval_ms=200,
            elect_interval_ms=20,
        )
        async with asyncio.timeout(20):
            while True:
                if await file_of(good) != before[good]:
                    break
                await asyncio.sleep(0.02)
        await adapter.call("stop")
        assert await file_of(doubtful) == before[doubtful]
    finally:
        for index in (doubtful, f"{doubtful}_ccnew1", good):
            await database.execute(f"DROP INDEX IF EXISTS {index}")


async def test_a_job_that_ignores_its_timeout_is_reported_once_and_given_up_at_the_end(
    conformance_url: str, adapter: Adapter
) -> None:
    async with running_adapter(conformance_url) as stuck:
        await stuck.call("start", client_id="stuck", job_timeout_ms=50, job_stuck_threshold_ms=100)
        job = await stuck.call("insert", behavior="ignored_cancel")
        stats = await _stats(stuck, lambda stats: stats["stuck_jobs"] > 0)
        assert stats["stuck_jobs"] == 1
        # The process ends all the same when its stdin does.
    row = await adapter.call("get", id=job["id"])
    assert (row["state"], row["attempt"]) == ("available", 0)


async def test_stopping_hard_gives_back_a_job_that_ignores_it(
    conformance_url: str, adapter: Adapter
) -> None:
    async with running_adapter(conformance_url) as ignoring:
        await ignoring.call("start", client_id="ignoring", queue="ignored")
        job = await ignoring.call("insert", behavior="ignored_cancel", opts={"queue": "ignored"})
        await ignoring.wait_for_state(job["id"], "running")
        await ignoring.call("stop", cancel=True)
        row = await adapter.call("get", id=job["id"])
        assert (row["state"], row["attempt"], row["errors"]) == ("available", 0, [])
        await ignoring.call("start", client_id="ignoring")
        assert (await ignoring.call("runtime_stats"))["stuck_jobs"] == 0


async def test_a_killed_process_leaves_its_job_to_others(
    conformance_url: str, adapter: Adapter, database: asyncpg.Connection
) -> None:
    async with running_adapter(conformance_url) as dying:
        await dying.call("start", client_id="dying", elect_interval_ms=20)
        job = await dying.call("insert", behavior="sleep", duration_ms=3_000)
        await dying.wait_for_state(job["id"], "running")
        dying.process.kill()
        await dying.process.wait()
    await adapter.call("fault_expire_leader")
    # Not its heir's own attempt is to be rescued, however long that takes.
    await database.execute("UPDATE river_job SET attempted_at = now() - interval '1 hour'")
    await adapter.call("start", client_id="heir", **RESCUES, **FAST)
    job = await adapter.call("wait", id=job["id"])
    assert (job["state"], job["attempt"], job["attempted_by"]) == (
        *("completed", 2, ["dying", "heir"]),
    )
    assert job["metadata"]["river:rescue_count"] == 1
