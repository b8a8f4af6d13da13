"""River UI shows and changes what Python made, and Python's clients obey it.

Only riverengine has touched the database: it migrated it, inserted the jobs and worked them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    EventKind,
    InsertManyParams,
    InsertOpts,
    Job,
    JobRow,
    JobState,
    Migrator,
    QueueConfig,
    Subscription,
    UniqueOpts,
    Worker,
    Workers,
    record_output,
    riverlog,
)
from tests.interop.go_programs import build_river_ui
from tests.interop.peer import InteropArgs
from tests.interop.river_ui import RiverUI

# The first build downloads and compiles River UI.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

EVENT = 15


class UIWorker(Worker[InteropArgs]):
    """Logs, and does what the args say."""

    async def work(self, job: Job[InteropArgs]) -> None:
        riverlog.logger().info("attempt %d", job.row.attempt)
        match job.args.behavior:
            case "fail":
                raise RuntimeError("told to fail")
            case "wait":
                await asyncio.Event().wait()
            case "output":
                record_output({"answer": 42})

    def next_retry(self, job: Job[InteropArgs]) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


@dataclass
class Site:
    """A database of Python's, its client at work, and River UI beside it."""

    ui: RiverUI
    client: Client
    events: Subscription
    jobs: Mapping[str, JobRow]

    async def event(self, *kinds: EventKind) -> JobRow | str:
        """The next event, of one of these kinds: its job, or its queue."""
        event = await self.events.next(timeout=EVENT)
        assert event.kind in kinds
        return event.job or event.queue or ""

    async def stored(self, name: str) -> JobRow:
        return await self.client.job_get(self.jobs[name].id)


@pytest.fixture(scope="session")
def river_ui_program() -> Path:
    return build_river_ui()


@pytest.fixture
async def site(
    request: pytest.FixtureRequest, river_ui_program: Path, empty_database: str, tmp_path: Path
) -> AsyncIterator[Site]:
    """Jobs of every fate: completed, failed, discarded, scheduled, running, and a paused queue.

    Its parameter is a schema, None for the search path's.
    """
    schema: str | None = getattr(request, "param", None)
    async with asyncpg.create_pool(empty_database, max_size=10) as pool:
        async with pool.acquire() as connection:
            if schema is not None:
                await connection.execute(f"CREATE SCHEMA {schema}")
            await Migrator(connection, schema=schema).migrate_up()
        async with (
            working(pool, schema) as client,
            client.subscribe() as events,
            RiverUI(river_ui_program, empty_database, tmp_path / "riverui.log", schema) as ui,
        ):
            site = Site(ui, client, events, await made(client, events))
            yield site


@asynccontextmanager
async def working(pool: asyncpg.Pool, schema: str | None) -> AsyncIterator[Client]:
    workers = Workers()
    workers.add(UIWorker())
    client = Client(
        pool,
        Config(
            queues={
                "default": QueueConfig(max_workers=10),
                "mail": QueueConfig(max_workers=10),
            },
            schema=schema,
            middleware=[riverlog.Middleware(text_handler)],
            fetch_cooldown=timedelta(milliseconds=10),
        ),
        workers=workers,
    )
    await client.start()
    try:
        yield client
    finally:
        await client.stop_and_cancel(timeout=timedelta(seconds=10))


def text_handler(stream: TextIO) -> logging.Handler:
    return logging.StreamHandler(stream)


async def made(client: Client, events: Subscription) -> dict[str, JobRow]:
    """The jobs by name, once each met its fate."""
    await client.queue_pause("mail")
    assert (await events.next(timeout=EVENT)).kind is EventKind.QUEUE_PAUSED
    later = datetime.now(UTC) + timedelta(hours=2)
    wanted: dict[str, InsertManyParams] = {
        "output": InsertManyParams(InteropArgs("output", "é<&>☃", 2**60), InsertOpts(priority=2)),
        "retryable": InsertManyParams(InteropArgs("fail"), InsertOpts(max_attempts=5)),
        "discarded": InsertManyParams(InteropArgs("fail"), InsertOpts(max_attempts=1)),
        "running": InsertManyParams(InteropArgs("wait"), InsertOpts(metadata={"user": "ann"})),
        "scheduled": InsertManyParams(
            InteropArgs("later"), InsertOpts(scheduled_at=later, tags=["red", "green"], priority=4)
        ),
        "paused": InsertManyParams(InteropArgs(), InsertOpts(queue="mail")),
    }
    results = await client.insert_many(list(wanted.values()))
    for _ in range(3):
        event = await events.next(timeout=EVENT)
        assert event.kind in (EventKind.JOB_COMPLETED, EventKind.JOB_FAILED)
    jobs = {}
    for name, result in zip(wanted, results, strict=True):
        async with asyncio.timeout(EVENT):
            while True:
                jobs[name] = await client.job_get(result.job.id)
                if name != "running" or jobs[name].state is JobState.RUNNING:
                    break
                await asyncio.sleep(0.02)
    return jobs


def ids(answer: Any) -> list[int]:
    return [job["id"] for job in answer["data"]]


async def test_features_version_and_health(site: Site) -> None:
    features = await site.ui.get("/api/features")
    # Without River Pro's tables the page offers none of its features.
    assert not any(features["extensions"].values())
    assert features["job_list_hide_args_by_default"] is False
    assert (await site.ui.get("/api/version"))["go_version"].startswith("go1.")
    for check in ("minimal", "complete"):
        assert await site.ui.get(f"/api/health-checks/{check}") == {"status": "ok"}
    page = await site.ui.request("GET", "/jobs")
    assert page.status_code == 200
    assert 'id="config__json"' in page.text


async def test_states_are_counted(site: Site) -> None:
    states = await site.ui.get("/api/states")
    counts = {state: found["count"] for state, found in states.items()}
    assert counts == await site.client.job_count_by_state()
    assert counts["running"] == 1
    assert {found["accuracy"] for found in states.values()} <= {"exact", "exact_cached"}


async def test_jobs_are_listed_by_every_filter(site: Site) -> None:
    jobs = site.jobs
    running = await site.ui.get("/api/jobs")
    assert ids(running) == [jobs["running"].id]
    (job,) = running["data"]
    row = jobs["running"]
    assert row.attempted_at is not None
    # The page shows numbers no script could hold: args are JSON in a string.
    assert json.loads(job["args"]) == row.args
    assert job["attempted_by"] == [site.client.id]
    assert datetime.fromisoformat(job["attempted_at"]) == row.attempted_at
    assert (job["kind"], job["queue"], job["priority"]) == ("interop", "default", 1)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("running", 1, 25)
    assert (job["tags"], job["finalized_at"]) == ([], None)

    scheduled = jobs["scheduled"].id
    for filters in (
        {},
        {"ids": scheduled},
        {"kinds": "interop"},
        {"priorities": 4},
        {"queues": "default"},
        {"tags": "red"},
        {"limit": 1},
    ):
        assert ids(await site.ui.get("/api/jobs", state="scheduled", **filters)) == [scheduled]
    for filters in ({"kinds": "none"}, {"priorities": 1}, {"queues": "mail"}, {"tags": "blue"}):
        assert ids(await site.ui.get("/api/jobs", state="scheduled", **filters)) == []
    assert ids(await site.ui.get("/api/jobs", state="available")) == [jobs["paused"].id]
    assert ids(await site.ui.get("/api/jobs", state="completed")) == [jobs["output"].id]


async def test_a_job_s_page_has_its_errors_logs_and_output(site: Site) -> None:
    job = await site.ui.get(f"/api/jobs/{site.jobs['retryable'].id}")
    (error,) = job["errors"]
    row = site.jobs["retryable"]
    assert error["attempt"] == 1
    assert error["error"] == row.errors[0].error == "RuntimeError: told to fail"
    assert error["trace"] == row.errors[0].trace
    assert "told to fail" in error["trace"]
    assert datetime.fromisoformat(error["at"]) == row.errors[0].at
    assert job["metadata"] == row.metadata
    assert job["metadata"]["river:log"] == [{"attempt": 1, "log": "attempt 1\n"}]
    completed = await site.ui.get(f"/api/jobs/{site.jobs['output'].id}")
    assert completed["metadata"]["output"] == {"answer": 42}
    assert json.loads(completed["args"]) == {"behavior": "output", "text": "é<&>☃", "number": 2**60}
    missing = await site.ui.request("GET", "/api/jobs/4711")
    assert missing.status_code == 404
    assert missing.json()["message"]


async def test_a_running_job_is_cancelled_by_its_python_client(site: Site) -> None:
    running, scheduled = site.jobs["running"].id, site.jobs["scheduled"].id
    answer = await site.ui.send("POST", "/api/jobs/cancel", {"ids": [str(running), str(scheduled)]})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    job = await site.event(EventKind.JOB_CANCELLED)
    assert isinstance(job, JobRow)
    assert job.id == running
    assert job.errors[0].error == "JobCancelError: job cancelled remotely"
    for name in ("running", "scheduled"):
        row = await site.stored(name)
        assert row.state is JobState.CANCELLED
        assert "cancel_attempted_at" in row.metadata
    newest = await site.ui.get("/api/jobs", state="cancelled")
    assert set(ids(newest)) == {running, scheduled}


@pytest.mark.parametrize("site", ["jobs"], indirect=True)
async def test_a_schema_of_its_own_is_served(site: Site) -> None:
    running = site.jobs["running"].id
    assert ids(await site.ui.get("/api/jobs")) == [running]
    assert (await site.ui.send("POST", "/api/jobs/cancel", {"ids": [running]})).is_success
    job = await site.event(EventKind.JOB_CANCELLED)
    assert isinstance(job, JobRow)
    assert job.id == running
    assert (await site.ui.send("PUT", "/api/queues/mail/resume")).is_success
    assert await site.event(EventKind.QUEUE_RESUMED) == "mail"


async def test_a_retried_job_is_worked_again(site: Site) -> None:
    discarded = site.jobs["discarded"]
    assert discarded.state is JobState.DISCARDED
    answer = await site.ui.send("POST", "/api/jobs/retry", {"ids": [discarded.id]})
    assert answer.status_code == 200
    job = await site.event(EventKind.JOB_FAILED)
    assert isinstance(job, JobRow)
    assert (job.id, job.attempt, job.max_attempts) == (discarded.id, 2, 2)
    assert [entry["attempt"] for entry in job.metadata["river:log"]] == [1, 2]


async def test_a_retry_against_a_unique_twin_is_refused(site: Site) -> None:
    opts = InsertOpts(queue="mail", unique_opts=UniqueOpts(by_args=True))
    first = (await site.client.insert(InteropArgs("twin"), opts)).job
    await site.client.job_cancel(first.id)
    await site.client.insert(InteropArgs("twin"), opts)
    answer = await site.ui.send("POST", "/api/jobs/retry", {"ids": [str(first.id)]})
    assert answer.status_code == 409
    assert (await site.client.job_get(first.id)).state is JobState.CANCELLED


async def test_a_cancelled_job_retried_by_the_page_keeps_its_old_request(site: Site) -> None:
    """River UI 0.22 is built on River 0.49, whose retry leaves the request where it is."""
    job = (await site.client.insert(InteropArgs("fail"), InsertOpts(queue="mail"))).job
    await site.client.job_cancel(job.id)
    assert (await site.ui.send("POST", "/api/jobs/retry", {"ids": [job.id]})).is_success
    row = await site.client.job_get(job.id)
    assert row.state is JobState.AVAILABLE
    assert "cancel_attempted_at" in row.metadata
    await site.client.queue_resume("mail")
    assert await site.event(EventKind.QUEUE_RESUMED) == "mail"
    await site.event(EventKind.JOB_COMPLETED, EventKind.JOB_CANCELLED)
    await site.event(EventKind.JOB_COMPLETED, EventKind.JOB_CANCELLED)
    # So a failure ends it; a success would have, too.
    assert (await site.client.job_get(job.id)).state is JobState.CANCELLED


async def test_jobs_are_deleted_all_or_none(site: Site) -> None:
    completed, running = site.jobs["output"].id, site.jobs["running"].id
    refused = await site.ui.send("POST", "/api/jobs/delete", {"ids": [completed, running]})
    assert refused.status_code == 400
    assert (await site.stored("output")).state is JobState.COMPLETED
    assert (await site.stored("running")).state is JobState.RUNNING
    assert (await site.ui.send("POST", "/api/jobs/delete", {"ids": [completed]})).is_success
    assert await site.client.job_count() == len(site.jobs) - 1
    gone = await site.ui.send("POST", "/api/jobs/cancel", {"ids": [completed]})
    assert gone.status_code == 404


async def test_queues_are_shown_with_their_counts(site: Site) -> None:
    queues = {queue["name"]: queue for queue in (await site.ui.get("/api/queues"))["data"]}
    assert set(queues) == {"default", "mail"}
    assert (queues["default"]["count_available"], queues["default"]["count_running"]) == (0, 1)
    mail = await site.ui.get("/api/queues/mail")
    assert mail == queues["mail"]
    row = await site.client.queue_get("mail")
    assert row.paused_at is not None
    assert datetime.fromisoformat(mail["paused_at"]) == row.paused_at
    assert (mail["count_available"], mail["concurrency"]) == (1, None)
    assert (await site.ui.request("GET", "/api/queues/nowhere")).status_code == 404


async def test_a_python_client_obeys_pause_and_resume(site: Site) -> None:
    answer = await site.ui.send("PUT", "/api/queues/mail/resume")
    assert answer.json() == {"status": "ok"}
    assert await site.event(EventKind.QUEUE_RESUMED) == "mail"
    done = await site.event(EventKind.JOB_COMPLETED)
    assert isinstance(done, JobRow)
    assert done.id == site.jobs["paused"].id
    assert (await site.ui.send("PUT", "/api/queues/default/pause")).is_success
    assert await site.event(EventKind.QUEUE_PAUSED) == "default"
    waits = (await site.client.insert(InteropArgs())).job
    # Both queues share the client: when the later job of the other one is done, this one was seen.
    await site.client.insert(InteropArgs(), InsertOpts(queue="mail"))
    await site.event(EventKind.JOB_COMPLETED)
    assert (await site.client.job_get(waits.id)).state is JobState.AVAILABLE
    assert (await site.ui.send("PUT", "/api/queues/default/resume")).is_success
    assert await site.event(EventKind.QUEUE_RESUMED) == "default"
    resumed = await site.event(EventKind.JOB_COMPLETED)
    assert isinstance(resumed, JobRow)
    assert resumed.id == waits.id
    assert (await site.ui.send("PUT", "/api/queues/nowhere/pause")).status_code == 404


async def test_a_queue_s_settings_are_its_metadata(site: Site) -> None:
    await site.client.queue_update("mail", metadata={"mine": 1})
    concurrency = {"global_limit": 5, "local_limit": 2, "partition": {"by_args": None}}
    answer = await site.ui.send("PATCH", "/api/queues/mail", {"concurrency": concurrency})
    assert answer.status_code == 200, answer.text
    metadata = (await site.client.queue_get("mail")).metadata
    assert metadata["concurrency"]["global_limit"] == 5
    # The page replaces the whole of it.
    assert "mine" not in metadata


async def test_the_star_pauses_every_queue(site: Site) -> None:
    assert (await site.ui.send("PUT", "/api/queues/*/pause")).is_success
    assert await site.event(EventKind.QUEUE_PAUSED) == "default"
    assert all(queue.paused_at is not None for queue in await site.client.queue_list())


async def test_names_are_completed(site: Site) -> None:
    async def complete(facet: str, **query: Any) -> list[str]:
        found = await site.ui.get("/api/autocomplete", facet=facet, **query)
        return list(found["data"])

    assert await complete("job_kind", match="ter") == ["interop"]
    assert await complete("job_kind", match="nothing") == []
    assert await complete("queue_name") == await site.client.queue_name_list()
    assert await complete("queue_name", exclude="mail") == ["default"]
    assert await complete("queue_name", after="default") == ["mail"]
