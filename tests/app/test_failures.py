"""What goes wrong at the providers, seen through river_worker: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from riverengine import JobListParams
from riverjobs import WorkflowExecution, WorkflowOrchestrator, WorkflowStatus
from tests.app.processes import DONOR, ORDER, SIGNUP, WorkerProcess
from tests.app.test_bad_input import Run, cli
from v1consortium.simulators.client import Simulators

__all__ = ["cli"]

SOON = timedelta(seconds=60)
WORKFLOW_JOBS = JobListParams(kinds=["user_signup", "drug_test_order"])


async def ended(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, workflow_id: str
) -> WorkflowExecution:
    """The workflow, once a worker has brought it to its end."""
    async with WorkerProcess(environment):
        return await orchestrator.wait(workflow_id, timeout=SOON)


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
async def test_an_order_of_unknown_fate_waits_for_a_person_and_is_placed_once(
    cli: Run,
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    executed: bool,
) -> None:
    environment = environment | {"QUEST_UNCONFIRMED_WAIT_S": "0"}
    simulators.arm("quest", "execute_then_drop" if executed else "drop")
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    failed = await ended(environment, orchestrator, workflow_id)
    assert failed.status is WorkflowStatus.FAILED
    assert failed.error is not None
    assert "order confirm" in failed.error["message"]
    assert simulators.count("quest", "orders") == int(executed)
    _, out, _ = await asyncio.to_thread(cli, "order", "list", "--json")
    ((order_id, state),) = [(o["order_id"], o["state"]) for o in json.loads(out)]
    assert state == "unconfirmed"
    if executed:
        (placed,) = simulators.records("quest", "orders")
        settle = ["confirm", order_id, "--quest-order-id", str(placed["quest_order_id"])]
        settle += ["--reference-test-id", str(placed["reference_test_id"])]
    else:
        settle = ["reopen", order_id]
    code, out, error = await asyncio.to_thread(cli, "order", *settle)
    assert (code, error) == (0, "")
    assert f"workflow retry {workflow_id}" in out
    assert (await asyncio.to_thread(cli, "workflow", "retry", workflow_id))[0] == 0
    done = await ended(environment, orchestrator, workflow_id)
    assert done.status is WorkflowStatus.COMPLETED
    assert simulators.effects("quest")["orders"] == {order_id: 1}
    assert simulators.count("smtp", "mails") == 2


async def test_a_lost_answer_of_the_laboratory_holds_the_order_back(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("quest", "execute_then_status", status=500)
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    async with WorkerProcess(environment), asyncio.timeout(60):
        while True:
            step = (await orchestrator.workflow_manager.get_steps(workflow_id))[0]
            if step.status == "waiting":
                break
            await asyncio.sleep(0.05)
    (job,) = (await orchestrator.client.job_list(WORKFLOW_JOBS)).jobs
    assert job.state == "scheduled"
    assert (job.scheduled_at - job.created_at) > timedelta(minutes=14)
    assert simulators.count("quest", "orders") == 1


async def test_a_declined_card_suspends_the_organization(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    given = SIGNUP | {"payment_method": "pm_card_chargeDeclined"}
    workflow_id = await orchestrator.start_workflow("user_signup", given)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert execution.error["step"] == "process_subscription"
    assert simulators.count("stripe", "payments") == 0
    pool = orchestrator.client.pool
    assert await pool.fetchval("SELECT status FROM organizations") == "suspended"
    assert await pool.fetchval("SELECT count(*) FROM subscriptions") == 0
    state, attempts = await pool.fetchrow(
        "SELECT state::text, attempt FROM river_job WHERE kind = 'process_subscription'"
    )
    assert (state, attempts) == ("discarded", 1)


@pytest.mark.parametrize(
    ("provider", "effect"),
    [("supabase", "users_by_id"), ("stripe", "payments"), ("stripe", "customers")],
)
async def test_answers_lost_again_and_again_leave_each_effect_once(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    provider: str,
    effect: str,
) -> None:
    simulators.arm(provider, "execute_then_drop", times=3, match={"method": "POST"})
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    assert list(simulators.effects(provider)[effect].values()) == [1]


async def test_a_refused_address_does_not_stop_the_other_messages(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("smtp", "reject", match={"contains": "dana@example.com"})
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    assert execution.context["notifications"] == {
        "sent": ["supervisor:email", "employee:sms"],
        "held": [],
        "refused": ["employee:email"],
    }


async def test_a_supervisor_who_cannot_be_told_fails_the_workflow(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("smtp", "reject", match={"contains": "supervisor@example.com"})
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert "supervisor" in execution.error["message"]
    assert "@" not in execution.error["message"]
    # The order itself stands, and the employee was told.
    assert simulators.count("quest", "orders") == 1
    assert simulators.count("twilio", "messages") == 1


async def test_a_busy_mail_server_is_tried_again_and_nobody_is_told_twice(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("smtp", "later", times=2, match={"contains": "dana@example.com"})
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    mails = [mail["to"] for mail in simulators.records("smtp", "mails")]
    assert sorted(mails) == [["dana@example.com"], ["supervisor@example.com"]]
    assert simulators.count("twilio", "messages") == 1


async def test_a_provider_that_is_not_configured_is_named_with_its_variables(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    without = {name: value for name, value in environment.items() if "QUEST" not in name}
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    execution = await ended(without, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert "QUEST_URL" in execution.error["message"]
    # Once configured, the workflow goes on where it stopped.
    await orchestrator.retry_workflow(workflow_id)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    assert simulators.count("quest", "orders") == 1


async def test_an_order_without_a_site_goes_on_once_one_is_known(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    await orchestrator.client.pool.execute("UPDATE facilities SET latitude = latitude + 9")
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert "no suitable collection site" in execution.error["message"]
    assert simulators.count("quest", "orders") == 0
    await orchestrator.client.pool.execute("UPDATE facilities SET latitude = latitude - 9")
    await orchestrator.retry_workflow(workflow_id)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED
    assert simulators.count("quest", "orders") == 1


async def test_an_order_of_an_unknown_organization_fails_at_once(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    given = ORDER | {"organization_id": "org_nobody"}
    workflow_id = await orchestrator.start_workflow("drug_test_order", given)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.status is WorkflowStatus.FAILED
    assert execution.error is not None
    assert "org_nobody" in execution.error["message"]
    assert simulators.count("quest", "orders") == 0


async def test_a_cancelled_workflow_stops_its_running_job(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("supabase", "hang", seconds=60)
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    async with WorkerProcess(environment) as worker, asyncio.timeout(60):
        while True:
            if any(line["message"] == "job started" for line in worker.lines()):
                break
            await asyncio.sleep(0.02)
        await orchestrator.cancel_workflow(workflow_id, "ordered by mistake")
        while True:
            (job,) = (await orchestrator.client.job_list(WORKFLOW_JOBS)).jobs
            if job.state == "cancelled":
                break
            await asyncio.sleep(0.02)
        worker.terminate()
        assert await worker.ended() == 0
    steps = await orchestrator.workflow_manager.get_steps(workflow_id)
    assert {step.status.value for step in steps} == {"cancelled"}
    execution = await orchestrator.workflow_manager.get_workflow_execution(workflow_id)
    assert execution.status is WorkflowStatus.CANCELLED


async def test_starts_at_once_with_one_key_make_one_workflow(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    ids = await asyncio.gather(
        *(orchestrator.start_workflow("user_signup", SIGNUP, idempotency_key="k") for _ in range(8))
    )
    assert len(set(ids)) == 1
    execution = await ended(environment, orchestrator, ids[0])
    assert execution.status is WorkflowStatus.COMPLETED
    assert simulators.count("supabase", "users_by_id") == 1
    assert simulators.count("stripe", "payments") == 1


async def test_an_employee_without_consent_gets_no_text_message(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    given = ORDER | {"donor": DONOR | {"sms_consent": False}}
    workflow_id = await orchestrator.start_workflow("drug_test_order", given)
    execution = await ended(environment, orchestrator, workflow_id)
    assert execution.context["notifications"]["sent"] == ["supervisor:email", "employee:email"]
    assert simulators.count("twilio", "messages") == 0
