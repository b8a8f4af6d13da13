"""Starting twice, cancelling, going on by hand, and jobs that ended behind a workflow's back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest

from riverengine import JobNotRunningError, JobState, Json
from riverjobs import (
    PermanentStepError,
    StepContext,
    UnknownWorkflowTypeError,
    WorkflowInputError,
    WorkflowNotFoundError,
    WorkflowStateError,
    WorkflowStatus,
    reconcile,
)
from riverjobs.step_attempt import StepAttempt
from tests.integration.riverjobs.flows import System


class Hold:
    """Step code that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, context: StepContext) -> Mapping[str, Json]:
        self.entered.set()
        await self.go_on.wait()
        return {"held": context.step_name}


async def test_a_start_writes_execution_steps_and_first_job_at_once(system: System) -> None:
    workflow_id = await system.orchestrator.start_workflow(
        "row", {"a": 1}, org_id="org", user_id="user"
    )
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.PENDING
    assert (execution.org_id, execution.user_id, execution.context) == ("org", "user", {"a": 1})
    steps = await system.workflows.get_steps(workflow_id)
    assert [(s.step_name, s.status, s.depends_on) for s in steps] == [
        ("first", "pending", ()),
        ("second", "pending", ("first",)),
        ("third", "pending", ("second",)),
    ]
    (job,) = (await system.manager.client.job_list()).jobs
    assert steps[0].job_id == job.id
    assert job.args == {
        "workflow_id": workflow_id,
        "workflow_type": "row",
        "step_name": "first",
        "org_id": "org",
        "user_id": "user",
    }


async def test_a_start_belongs_to_the_caller_s_transaction(system: System) -> None:
    async with system.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        workflow_id = await system.orchestrator.start_workflow("row", {}, tx=connection)
        await transaction.rollback()
    with pytest.raises(WorkflowNotFoundError):
        await system.execution(workflow_id)
    assert await system.pool.fetchval("SELECT count(*) FROM river_job") == 0


async def test_equal_keys_start_one_workflow_even_at_once(system: System) -> None:
    ids = await asyncio.gather(
        *(
            system.orchestrator.start_workflow("row", {"n": n}, idempotency_key="key")
            for n in range(8)
        )
    )
    assert len(set(ids)) == 1
    assert await system.pool.fetchval("SELECT count(*) FROM workflow_executions") == 1
    assert await system.pool.fetchval("SELECT count(*) FROM river_job") == 1
    other = await system.orchestrator.start_workflow("diamond", {}, idempotency_key="key")
    assert other != ids[0]


@pytest.mark.parametrize(
    ("workflow_type", "given", "key", "error"),
    [
        ("unknown", {}, None, UnknownWorkflowTypeError),
        ("row", {"a": float("nan")}, None, WorkflowInputError),
        ("row", {"a": "\x00"}, None, WorkflowInputError),
        ("row", {"a": b"x"}, None, WorkflowInputError),
        ("row", {"a": "x" * 20_000_000}, None, WorkflowInputError),
        ("row", [1], None, WorkflowInputError),
        ("row", {}, "", WorkflowInputError),
        ("row", {}, "k" * 256, WorkflowInputError),
    ],
)
async def test_a_bad_start_writes_nothing(
    system: System, workflow_type: str, given: object, key: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error) as failure:
        await system.orchestrator.start_workflow(
            workflow_type,
            given,  # type: ignore[arg-type]
            idempotency_key=key,
        )
    assert len(str(failure.value)) < 300
    assert await system.pool.fetchval("SELECT count(*) FROM workflow_executions") == 0
    assert await system.pool.fetchval("SELECT count(*) FROM river_job") == 0


async def test_cancelling_before_a_step_ran(system: System) -> None:
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.orchestrator.cancel_workflow(workflow_id, "changed my mind")
    execution = await system.execution(workflow_id)
    assert execution.status is WorkflowStatus.CANCELLED
    assert execution.error == {"type": "Cancelled", "message": "changed my mind"}
    assert set((await system.step_statuses(workflow_id)).values()) == {"cancelled"}
    (job,) = (await system.manager.client.job_list()).jobs
    assert job.state is JobState.CANCELLED
    with pytest.raises(WorkflowStateError):
        await system.orchestrator.cancel_workflow(workflow_id)


async def test_cancelling_stops_a_running_step(system: System) -> None:
    hold = Hold()
    system.code["second"] = hold
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.start()
    await hold.entered.wait()
    await system.orchestrator.cancel_workflow(workflow_id)
    await system.settled()
    assert await system.step_statuses(workflow_id) == {
        "first": "completed",
        "second": "cancelled",
        "third": "cancelled",
    }
    jobs = (await system.manager.client.job_list()).jobs
    assert [job.state for job in jobs] == [JobState.COMPLETED, JobState.CANCELLED]


async def test_a_failed_workflow_goes_on_from_its_failed_step(system: System) -> None:
    refused = True

    async def refuse(context: StepContext) -> Mapping[str, Json]:
        if refused:
            raise PermanentStepError("card declined")
        return {"paid": True}

    system.code["second"] = refuse
    workflow_id = await system.run()
    assert (await system.execution(workflow_id)).status is WorkflowStatus.FAILED
    await system.settled()
    refused = False
    assert await system.orchestrator.retry_workflow(workflow_id) == ["second"]
    execution = await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    assert execution.status is WorkflowStatus.COMPLETED
    assert execution.error is None
    assert execution.context == {"first": True, "paid": True, "third": True}
    assert [context.step_name for context in system.ran] == ["first", "second", "second", "third"]
    assert "workflow_failed" in await system.event_kinds(workflow_id)


async def test_a_failed_workflow_whose_job_is_gone_gets_another(system: System) -> None:
    async def refuse(context: StepContext) -> None:
        raise PermanentStepError("no")

    system.code["first"] = refuse
    workflow_id = await system.run()
    await system.settled()
    await system.pool.execute("DELETE FROM river_job")
    del system.code["first"]
    await system.orchestrator.retry_workflow(workflow_id)
    execution = await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    assert execution.status is WorkflowStatus.COMPLETED


async def test_a_cancelled_workflow_can_go_on(system: System) -> None:
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.orchestrator.cancel_workflow(workflow_id)
    await system.orchestrator.retry_workflow(workflow_id)
    await system.start()
    execution = await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    assert execution.status is WorkflowStatus.COMPLETED


async def test_only_ended_workflows_are_retried(system: System) -> None:
    workflow_id = await system.orchestrator.start_workflow("row", {})
    with pytest.raises(WorkflowStateError):
        await system.orchestrator.retry_workflow(workflow_id)
    with pytest.raises(WorkflowNotFoundError):
        await system.orchestrator.retry_workflow("unknown")
    with pytest.raises(WorkflowNotFoundError):
        await system.orchestrator.cancel_workflow("unknown")


async def test_a_job_retried_by_river_s_own_means_revives_the_workflow(system: System) -> None:
    async def refuse(context: StepContext) -> None:
        raise PermanentStepError("no")

    system.code["first"] = refuse
    workflow_id = await system.run()
    await system.settled()
    del system.code["first"]
    (job,) = (await system.manager.client.job_list()).jobs
    await system.manager.client.job_retry(job.id)
    async with asyncio.timeout(20):
        while True:
            if (await system.execution(workflow_id)).status is WorkflowStatus.COMPLETED:
                break
            await asyncio.sleep(0.01)


async def test_a_rescued_step_commits_once(system: System) -> None:
    """The first attempt is slow and loses its job; the second one's result stands."""
    hold = Hold()

    async def slow_first_time(context: StepContext) -> Mapping[str, Json]:
        if context.attempt == 1:
            await hold(context)
            return {"by": 1}
        return {"by": context.attempt}

    system.code["first"] = slow_first_time
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.start()
    await hold.entered.wait()
    await system.pool.execute("UPDATE river_job SET state = 'available', scheduled_at = now()")
    execution = await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    hold.go_on.set()
    await system.settled()
    assert execution.context["by"] == 2
    assert (await system.execution(workflow_id)).context["by"] == 2
    assert await system.pool.fetchval("SELECT count(*) FROM river_job") == 3
    assert (await system.event_kinds(workflow_id)).count("step_completed") == 3


@pytest.mark.parametrize(
    "loss",
    [
        "UPDATE river_job SET state = 'available', scheduled_at = now() + interval '1 hour'",
        "UPDATE river_job SET attempt = 2, attempted_at = now(), attempted_by = '{another}'",
        "DELETE FROM river_job",
    ],
)
async def test_an_attempt_that_lost_its_job_before_it_began_runs_nothing(
    system: System, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Frozen right after it took the job, it wakes when others were given it."""
    begin, frozen, wake = StepAttempt.begin, asyncio.Event(), asyncio.Event()
    refused = asyncio.Event()

    async def freeze(self: StepAttempt) -> StepContext | None:
        frozen.set()
        await wake.wait()
        try:
            return await begin(self)
        except JobNotRunningError:
            refused.set()
            raise

    monkeypatch.setattr(StepAttempt, "begin", freeze)
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.start()
    await frozen.wait()
    await system.pool.execute(loss)
    wake.set()
    async with asyncio.timeout(20):
        await refused.wait()
    await system.manager.stop_and_cancel()
    assert system.ran == []
    await system.manager.open()
    assert await system.event_kinds(workflow_id) == ["workflow_started"]
    assert (await system.step_statuses(workflow_id))["first"] == "pending"


async def test_a_second_job_of_a_step_is_refused(system: System) -> None:
    hold = Hold()
    system.code["first"] = hold
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.start()
    await hold.entered.wait()
    await system.pool.execute(
        "INSERT INTO river_job (kind, args, max_attempts, queue) SELECT kind, args, 3, queue FROM"
        " river_job"
    )
    async with asyncio.timeout(20):
        while True:
            states = [job.state for job in (await system.manager.client.job_list()).jobs]
            if states == [JobState.RUNNING, JobState.CANCELLED]:
                break
            await asyncio.sleep(0.01)
    hold.go_on.set()
    execution = await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    assert execution.status is WorkflowStatus.COMPLETED
    assert [context.step_name for context in system.ran] == ["first", "second", "third"]


async def test_a_completed_step_that_runs_again_only_heals(system: System) -> None:
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.pool.execute(
        "UPDATE workflow_executions SET status = 'running', started_at = now();"
        "UPDATE workflow_steps SET status = 'completed', output_data = '{}', completed_at = now()"
        " WHERE step_name = 'first'"
    )
    await system.start()
    execution = await system.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    assert execution.status is WorkflowStatus.COMPLETED
    assert [context.step_name for context in system.ran] == ["second", "third"]


@pytest.mark.parametrize(
    ("change", "status", "error_type", "step_status"),
    [
        (
            "UPDATE river_job SET state = 'discarded', finalized_at = now()",
            *("failed", "JobEnded", "failed"),
        ),
        (
            "UPDATE river_job SET state = 'completed', finalized_at = now()",
            *("failed", "JobEnded", "failed"),
        ),
        (
            "UPDATE river_job SET state = 'cancelled', finalized_at = now()",
            *("cancelled", "JobCancelled", "cancelled"),
        ),
        ("DELETE FROM river_job", "failed", "JobDeleted", "failed"),
    ],
)
async def test_the_reconciler_tells_a_workflow_that_its_job_ended(
    system: System, change: str, status: str, error_type: str, step_status: str
) -> None:
    workflow_id = await system.orchestrator.start_workflow("row", {})
    assert await reconcile(system.manager.client) == 0
    await system.pool.execute(change)
    assert await reconcile(system.manager.client) == 1
    assert await reconcile(system.manager.client) == 0
    execution = await system.execution(workflow_id)
    assert execution.status == status
    assert execution.error is not None
    assert (execution.error["type"], execution.error["step"]) == (error_type, "first")
    assert (await system.step_statuses(workflow_id))["first"] == step_status


async def test_the_reconciler_leaves_living_workflows_alone(system: System) -> None:
    for state in ("available", "running", "retryable", "scheduled", "pending"):
        await system.orchestrator.start_workflow("row", {"state": state})
        await system.pool.execute(
            "UPDATE river_job SET state = $1::text::river_job_state WHERE id = (SELECT max(id)"
            " FROM river_job)",
            state,
        )
    await system.run()
    assert await reconcile(system.manager.client) == 0


async def test_a_stopped_process_s_step_runs_again_elsewhere(
    system: System, workflow_url: str
) -> None:
    hold = Hold()
    system.code["second"] = hold
    workflow_id = await system.orchestrator.start_workflow("row", {})
    await system.start()
    await hold.entered.wait()
    await system.manager.stop_and_cancel()
    other = System(workflow_url)
    await other.start()
    execution = await other.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
    await other.manager.stop()
    assert execution.status is WorkflowStatus.COMPLETED
    assert [(c.step_name, c.attempt) for c in other.ran] == [("second", 1), ("third", 1)]
