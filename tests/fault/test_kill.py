"""Kill -9 at every point of every step: each workflow ends right, each effect happens once."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from riverjobs import WorkflowOrchestrator, WorkflowStatus
from tests.app.processes import ORDER, SIGNUP, WorkerProcess
from v1consortium.cli import main
from v1consortium.simulators.client import Simulators

pytestmark = pytest.mark.fault

STEPS = [
    ("user_signup", "user_signup"),
    ("user_signup", "create_organization"),
    ("user_signup", "process_subscription"),
    ("drug_test_order", "drug_test_order"),
    ("drug_test_order", "send_test_notification"),
]
INPUTS = {"user_signup": SIGNUP, "drug_test_order": ORDER}
SOON = timedelta(seconds=60)


async def assert_once(
    orchestrator: WorkflowOrchestrator, simulators: Simulators, workflow_id: str
) -> None:
    """The workflow is completed, nothing is left over, and every effect happened once."""
    execution = await orchestrator.workflow_manager.get_workflow_execution(workflow_id)
    assert execution.status is WorkflowStatus.COMPLETED, execution.error
    pool = orchestrator.client.pool
    assert (
        await pool.fetchval(
            "SELECT count(*) FROM river_job WHERE metadata ? 'workflow_id' AND state <> 'completed'"
        )
        == 0
    )
    events = await orchestrator.workflow_manager.get_events(workflow_id)
    steps = await orchestrator.workflow_manager.get_steps(workflow_id)
    completed = [event.step_name for event in events if event.kind == "step_completed"]
    assert completed == [step.step_name for step in steps]
    if execution.workflow_type == "user_signup":
        assert simulators.count("supabase", "users_by_id") == 1
        assert simulators.effects("stripe")["customers"] == {workflow_id: 1}
        assert simulators.effects("stripe")["subscriptions"] == {workflow_id: 1}
        assert simulators.effects("stripe")["payments"] == {workflow_id: 1}
        assert await pool.fetchval("SELECT count(*) FROM organizations") == 1
        assert await pool.fetchval("SELECT status FROM subscriptions") == "active"
    else:
        assert simulators.count("quest", "orders") == 1
        assert simulators.count("smtp", "mails") == 2
        assert simulators.effects("twilio")["messages"] == {"+12125550123": 1}
        assert await pool.fetchval("SELECT state FROM drug_test_orders") == "ordered"
        assert await pool.fetchval("SELECT count(*) FROM notifications WHERE state = 'sent'") == 3


@pytest.mark.parametrize("point", ["before", "between", "after"])
@pytest.mark.parametrize(("workflow", "step"), STEPS)
async def test_a_killed_worker_s_workflow_ends_right(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    tmp_path: Path,
    workflow: str,
    step: str,
    point: str,
) -> None:
    kill = {
        "KILL_SIGNAL": "SIGKILL",
        "KILL_POINT": point,
        "KILL_STEP": step,
        "KILL_MARKER": str(tmp_path / "killed"),
    }
    program = ("-m", "tests.fault.killing_worker")
    workflow_id = await orchestrator.start_workflow(workflow, INPUTS[workflow])
    async with WorkerProcess(environment | kill, "--id", "w1", program=program) as first:
        assert await first.ended() == -signal.SIGKILL
    async with WorkerProcess(environment, "--id", "w1") as second:
        await second.started()
        await orchestrator.wait(workflow_id, timeout=SOON)
        second.terminate()
        assert await second.ended() == 0
    await assert_once(orchestrator, simulators, workflow_id)


@pytest.mark.parametrize("point", ["before", "in step_started", "between", "in step_completed"])
async def test_a_frozen_worker_s_workflow_goes_on_and_it_wakes_without_a_trace(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    tmp_path: Path,
    point: str,
) -> None:
    """In the middle of a transaction it holds what whoever takes its job needs."""
    freeze = {
        "KILL_SIGNAL": "SIGSTOP",
        "KILL_POINT": point,
        "KILL_STEP": "process_subscription",
        "KILL_MARKER": str(tmp_path / "frozen"),
    }
    program = ("-m", "tests.fault.killing_worker")
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    async with WorkerProcess(environment | freeze, program=program) as first:
        await first.frozen()
        async with WorkerProcess(environment) as second:
            await orchestrator.wait(workflow_id, timeout=timedelta(seconds=90))
            history = await orchestrator.workflow_manager.get_events(workflow_id)
            first.process.send_signal(signal.SIGCONT)
            # Whatever it was at when it froze is over before it has stopped.
            first.terminate()
            assert await first.ended() == 0
            assert await orchestrator.workflow_manager.get_events(workflow_id) == history
            second.terminate()
            assert await second.ended() == 0
    await assert_once(orchestrator, simulators, workflow_id)


async def test_a_killed_worker_without_a_name_is_replaced_within_seconds(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
) -> None:
    simulators.arm("stripe", "execute_then_hang", match={"method": "POST", "path": "/v1/customers"})
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    async with WorkerProcess(environment) as first:
        await _until_taken(simulators, "stripe")
        first.process.kill()
        await first.ended()
    async with WorkerProcess(environment):
        await orchestrator.wait(workflow_id, timeout=timedelta(seconds=75))
    await assert_once(orchestrator, simulators, workflow_id)


@pytest.mark.parametrize(
    ("workflow", "provider", "path"),
    [
        ("user_signup", "supabase", "/admin/users"),
        ("user_signup", "stripe", "/v1/customers"),
        ("user_signup", "stripe", "/v1/subscriptions"),
        ("drug_test_order", "twilio", "Messages.json"),
    ],
)
async def test_a_worker_killed_before_it_heard_the_answer_repeats_nothing(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    workflow: str,
    provider: str,
    path: str,
) -> None:
    simulators.arm(provider, "execute_then_hang", match={"method": "POST", "path": path})
    workflow_id = await orchestrator.start_workflow(workflow, INPUTS[workflow])
    async with WorkerProcess(environment, "--id", "w1") as first:
        await _until_taken(simulators, provider)
        first.process.kill()
        await first.ended()
    async with WorkerProcess(environment, "--id", "w1"):
        await orchestrator.wait(workflow_id, timeout=SOON)
    await assert_once(orchestrator, simulators, workflow_id)


async def test_an_order_of_unknown_outcome_is_settled_by_a_person(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The laboratory has no look-up by our reference: the order is never sent twice blindly."""
    environment = environment | {"QUEST_UNCONFIRMED_WAIT_S": "1"}
    simulators.arm("quest", "execute_then_hang")
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER)
    async with WorkerProcess(environment, "--id", "w1") as first:
        await _until_taken(simulators, "quest")
        first.process.kill()
        await first.ended()
    async with WorkerProcess(environment, "--id", "w1"):
        execution = await orchestrator.wait(workflow_id, timeout=SOON)
        assert execution.status is WorkflowStatus.FAILED
        assert execution.error is not None
        assert "unconfirmed" in execution.error["message"]
        (held,) = simulators.records("quest", "orders")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        arguments = [
            *("order", "confirm", held["client_reference_id"]),
            *("--quest-order-id", held["quest_order_id"]),
            *("--reference-test-id", held["reference_test_id"]),
        ]
        assert await asyncio.to_thread(main, arguments) == 0
        assert await asyncio.to_thread(main, ["workflow", "retry", workflow_id]) == 0
        await orchestrator.wait(workflow_id, timeout=SOON)
    await assert_once(orchestrator, simulators, workflow_id)


async def _until_taken(simulators: Simulators, provider: str) -> None:
    """Return when a request met the armed fault and had its effect."""
    async with asyncio.timeout(60):
        while True:
            armed = await asyncio.to_thread(simulators.armed, provider)
            effects = await asyncio.to_thread(simulators.effects, provider)
            if not armed and any(effects.values()):
                return
            await asyncio.sleep(0.02)
