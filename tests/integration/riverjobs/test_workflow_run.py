"""Workflows run from start to end: context, order, retries, failures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import asyncpg
import pytest

from riverengine import InsertOpts, JobCancel, JobSnooze, JobState, Json
from riverjobs import PermanentStepError, StepContext, WorkflowStatus
from tests.integration.riverjobs.flows import System


async def test_three_steps_run_in_order_and_grow_the_context(system: System) -> None:
    async def second(context: StepContext) -> Mapping[str, Json]:
        assert context.context == {"given": 1, "first": True}
        return {"second": [1, {"a": None}], "given": 2}

    system.code["second"] = second
    workflow_id = await system.run({"given": 1})
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    assert execution.context == {
        "given": 2,
        "first": True,
        "second": [1, {"a": None}],
        "third": True,
    }
    assert [context.step_name for context in system.ran] == ["first", "second", "third"]
    summary = await system.orchestrator.get_workflow_summary(workflow_id)
    assert [step.status for step in summary.steps] == ["completed"] * 3
    assert summary.steps[1].input_data == {"given": 1, "first": True}
    assert summary.steps[1].output_data == {"second": [1, {"a": None}], "given": 2}
    assert await system.event_kinds(workflow_id) == [
        "workflow_started",
        *["step_started", "step_completed"] * 3,
        "workflow_completed",
    ]


async def test_a_step_with_two_predecessors_runs_once_after_both(system: System) -> None:
    workflow_id = await system.run(type="diamond")
    names = [context.step_name for context in system.ran]
    assert names[0] == "first"
    assert sorted(names[1:3]) == ["second", "third"]
    assert names[3:] == ["fourth"]
    assert (await system.execution(workflow_id)).context.keys() == {
        "first",
        "second",
        "third",
        "fourth",
    }
    assert await system.pool.fetchval("SELECT count(*) FROM river_job WHERE kind = 'fourth'") == 1


async def test_jobs_carry_what_river_ui_reads(system: System) -> None:
    workflow_id = await system.run()
    jobs = (await system.manager.client.job_list()).jobs
    assert [job.kind for job in jobs] == ["first", "second", "third"]
    assert jobs[1].metadata == {
        "workflow_id": workflow_id,
        "workflow_name": "row",
        "task": "second",
        "deps": ["first"],
    }
    assert jobs[1].args["workflow_id"] == workflow_id
    assert all(job.state is JobState.COMPLETED for job in jobs)


@pytest.mark.parametrize(
    ("context", "opts", "queue", "priority"),
    [
        ({}, None, "default", 1),
        ({"rush": True}, None, "critical", 2),
        ({"rush": True}, InsertOpts(queue="default", priority=3), "default", 3),
    ],
)
async def test_queue_and_priority_are_chosen(
    system: System, context: Mapping[str, Json], opts: InsertOpts | None, queue: str, priority: int
) -> None:
    workflow_id = await system.orchestrator.start_workflow("row", context, insert_opts=opts)
    await system.start()
    await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    jobs = (await system.manager.client.job_list()).jobs
    assert {(job.queue, job.priority) for job in jobs} == {(queue, priority)}


async def test_a_failed_step_is_tried_again(system: System) -> None:
    async def fail_once(context: StepContext) -> None:
        if context.attempt == 1:
            raise ConnectionError("provider is away")

    system.code["first"] = fail_once
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    steps = await system.workflows.get_steps(workflow_id)
    assert (steps[0].attempt, steps[0].error_message) == (2, None)
    kinds = await system.event_kinds(workflow_id)
    assert kinds[:4] == ["workflow_started", "step_started", "step_retrying", "step_started"]


async def test_a_retrying_step_says_when_and_why(system: System) -> None:
    async def fail(context: StepContext) -> None:
        error = ConnectionError("nul \x00 inside")
        error.retry_after = timedelta(minutes=30)  # type: ignore[attr-defined]
        raise error

    system.code["first"] = fail
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.start()
    await system.step_becomes(workflow_id, "first", "retrying")
    step = (await system.workflows.get_steps(workflow_id))[0]
    assert step.error_message == "ConnectionError: nul \N{REPLACEMENT CHARACTER} inside"
    assert step.next_attempt_at is not None
    assert step.job_id is not None
    await system.settled()
    job = await system.manager.client.job_get(step.job_id)
    assert job.state is JobState.RETRYABLE
    assert job.scheduled_at == step.next_attempt_at
    assert timedelta(minutes=29) < step.next_attempt_at - job.created_at < timedelta(minutes=31)
    assert len(job.errors) == 1


async def test_the_last_attempt_fails_the_workflow(system: System) -> None:
    async def fail(context: StepContext) -> None:
        raise ConnectionError("provider is away")

    system.code["first"] = fail
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error == {
        "type": "ConnectionError",
        "message": "ConnectionError: provider is away",
        "step": "first",
        "attempt": 3,
        "job_state": "discarded",
    }
    assert await system.step_statuses(workflow_id) == {
        "first": "failed",
        "second": "pending",
        "third": "pending",
    }
    await system.settled()
    (job,) = (await system.manager.client.job_list()).jobs
    assert job.state is JobState.DISCARDED
    assert len(job.errors) == 3


class _RefusedError(Exception):
    permanent = True


@pytest.mark.parametrize("error", [PermanentStepError("never"), _RefusedError("never")])
async def test_a_permanent_error_fails_the_workflow_at_once(
    system: System, error: Exception
) -> None:
    async def fail(context: StepContext) -> None:
        raise error

    system.code["second"] = fail
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert (execution.error["step"], execution.error["attempt"]) == ("second", 1)
    assert len(system.ran) == 2


async def test_a_step_that_cancels_its_job_fails_the_workflow(system: System) -> None:
    async def refuse(context: StepContext) -> None:
        raise JobCancel("no facility")

    system.code["first"] = refuse
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert execution.error["message"] == "no facility"
    await system.settled()
    assert (await system.manager.client.job_list()).jobs[0].state is JobState.CANCELLED


async def test_a_step_that_snoozes_runs_again_without_using_an_attempt(system: System) -> None:
    async def snooze_twice(context: StepContext) -> None:
        if len(system.ran) < 3:
            raise JobSnooze(timedelta(milliseconds=5))

    system.code["first"] = snooze_twice
    workflow_id = await system.run()
    assert (await system.execution(workflow_id)).status is WorkflowStatus.COMPLETED
    assert [context.attempt for context in system.ran[:3]] == [1, 1, 1]
    assert (await system.event_kinds(workflow_id)).count("step_waiting") == 2


async def test_a_timeout_is_a_failure_of_the_step(system: System) -> None:
    async def hang(context: StepContext) -> None:
        await asyncio.Event().wait()

    system.code["first"] = hang
    worker = system.manager.workers.get("first")
    assert worker is not None
    worker.worker.timeout = lambda job: timedelta(milliseconds=300)  # type: ignore[method-assign]
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.error is not None
    assert execution.error["type"] == "StepTimeoutError"
    assert execution.error["attempt"] == 3


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ({"a": float("nan")}, "output.a"),
        ({"a": [1, {"b": float("inf")}]}, "output.a[1].b"),
        ({"a": "\x00"}, "output.a"),
        ({"a": b"bytes"}, "output.a"),
        ({"a": "\ud800"}, "output.a"),
        ({"a": object()}, "output.a"),
        ({1: "a"}, "output"),
        ([1], "output"),
    ],
)
async def test_an_output_json_cannot_hold_fails_with_its_place(
    system: System, output: Mapping[str, Json], path: str
) -> None:
    async def answer(context: StepContext) -> Mapping[str, Json]:
        return output

    system.code["first"] = answer
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert execution.error["type"] == "ContextValueError"
    assert execution.error["message"].startswith(f"{path}: ")
    assert execution.error["attempt"] == 1
    assert execution.context == {}


async def test_a_context_that_grows_too_large_fails_permanently(system: System) -> None:
    async def answer(context: StepContext) -> Mapping[str, Json]:
        return {"a": "x" * 2_000_000}

    system.code["second"] = answer
    workflow_id = await system.run()
    execution = await system.execution(workflow_id)
    assert execution.error is not None
    assert execution.error["type"] == "ContextTooLargeError"
    assert execution.context == {"first": True}


async def test_the_application_s_rows_commit_with_the_step(system: System) -> None:
    await system.pool.execute("CREATE TABLE IF NOT EXISTS mine (step text)")
    failures = 0

    async def write(connection: asyncpg.Connection, context: Mapping[str, Json]) -> None:
        nonlocal failures
        assert context["first"]
        await connection.execute("INSERT INTO mine VALUES ('first')")
        if failures == 0:
            failures += 1
            raise RuntimeError("after the row, before the commit")

    system.on_commit["first"] = write
    workflow_id = await system.run()
    rows = await system.pool.fetchval("SELECT count(*) FROM mine")
    await system.pool.execute("DROP TABLE mine")
    assert (await system.execution(workflow_id)).status is WorkflowStatus.COMPLETED
    assert rows == 1
    assert [context.attempt for context in system.ran[:2]] == [1, 2]
    assert await system.pool.fetchval("SELECT count(*) FROM river_job") == 3
