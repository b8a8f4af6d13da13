"""River_worker as a process: both workflows, sharing, stopping, logs."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import httpx

from riverengine import JobListParams
from riverjobs import WorkflowOrchestrator, WorkflowStatus
from tests.app.processes import DONOR, ORDER, SIGNUP, WorkerProcess
from v1consortium.simulators.client import Simulators

SOON = timedelta(seconds=60)


async def test_both_workflows_run_from_start_to_end(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    signup = await orchestrator.start_workflow("user_signup", SIGNUP)
    order = await orchestrator.start_workflow("drug_test_order", ORDER)
    async with WorkerProcess(environment) as worker:
        done = [await orchestrator.wait(each, timeout=SOON) for each in (signup, order)]
        worker.terminate()
        assert await worker.ended() == 0
    assert [execution.status for execution in done] == [WorkflowStatus.COMPLETED] * 2
    pool = orchestrator.client.pool
    organization = await pool.fetchrow("SELECT * FROM organizations")
    assert (organization["name"], organization["status"]) == ("Acme", "active")
    assert done[0].context["org_id"] == organization["org_id"]
    row = await pool.fetchrow("SELECT * FROM drug_test_orders")
    assert (row["state"], row["site_code"]) == ("ordered", "NYC001")
    assert done[1].context["notifications"] == {
        "sent": ["supervisor:email", "employee:email", "employee:sms"],
        "held": [],
        "refused": [],
    }
    for mail in simulators.records("smtp", "mails"):
        assert "Dana" not in mail["text"]


async def test_logs_tell_each_step_and_no_private_data(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    secret = environment["SUPABASE_SERVICE_ROLE_KEY"]
    simulators.arm("stripe", "status", status=503, match={"method": "POST"})
    ids = [
        await orchestrator.start_workflow("user_signup", SIGNUP),
        await orchestrator.start_workflow("drug_test_order", ORDER),
    ]
    async with WorkerProcess(environment, "--log-level", "debug") as worker:
        for workflow_id in ids:
            await orchestrator.wait(workflow_id, timeout=SOON)
        worker.terminate()
        await worker.ended()
        text, lines = worker.log.read_text(encoding="utf-8"), worker.lines()
    ended = [line for line in lines if line["message"] == "job ended" and "workflow_id" in line]
    assert {line["step_name"] for line in ended if line["workflow_id"] in ids} == {
        "user_signup",
        "create_organization",
        "process_subscription",
        "drug_test_order",
        "send_test_notification",
    }
    assert all(line["seconds"] >= 0 for line in ended)
    (failed,) = [line for line in lines if line["message"] == "job ended with an error"]
    assert (failed["step_name"], failed["error_type"]) == ("process_subscription", "AmbiguousError")
    for private in (
        *(SIGNUP["email"], DONOR["email"], DONOR["phone"], DONOR["last_name"]),
        *("supervisor@example.com", secret, environment["STRIPE_API_KEY"], "pm_card_visa"),
    ):
        assert private not in text
    jobs = (await orchestrator.client.job_list()).jobs
    assert not any(DONOR["last_name"] in job.encoded_args for job in jobs)


async def test_a_random_test_is_not_announced_to_the_employee(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    workflow_id = await orchestrator.start_workflow("drug_test_order", ORDER | {"reason": "random"})
    async with WorkerProcess(environment):
        execution = await orchestrator.wait(workflow_id, timeout=SOON)
    assert execution.context["notifications"]["held"] == ["employee:email", "employee:sms"]
    assert [mail["to"] for mail in simulators.records("smtp", "mails")] == [
        ["supervisor@example.com"]
    ]
    assert simulators.count("twilio", "messages") == 0


async def test_two_workers_with_different_queues_share_the_work(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator
) -> None:
    ids = [
        await orchestrator.start_workflow("drug_test_order", ORDER | {"rush_order": rush})
        for rush in (True, False) * 3
    ]
    async with (
        WorkerProcess(environment, "--queue", "critical=5") as critical,
        WorkerProcess(environment, "--queue", "external=5", "--queue", "notification=5") as others,
    ):
        for workflow_id in ids:
            execution = await orchestrator.wait(workflow_id, timeout=SOON)
            assert execution.status is WorkflowStatus.COMPLETED
        critical.terminate()
        others.terminate()
        assert [await critical.ended(), await others.ended()] == [0, 0]
        queues = [
            {line["queue"] for line in worker.lines() if line["message"] == "job ended"}
            for worker in (critical, others)
        ]
    assert queues == [{"critical"}, {"external", "notification"}]
    clients = await orchestrator.client.pool.fetch(
        "SELECT DISTINCT attempted_by[1] AS client FROM river_job WHERE kind LIKE '%test%'"
    )
    assert len(clients) == 2


async def test_sigterm_lets_a_running_job_end(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("supabase", "slow", seconds=1.0)
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    async with WorkerProcess(environment) as worker:
        await _until_running(orchestrator)
        worker.terminate()
        assert await worker.ended() == 0
        (stopped,) = [line for line in worker.lines() if line["message"] == "stopped"]
    assert stopped["interrupted"] == 0
    steps = await orchestrator.workflow_manager.get_steps(workflow_id)
    assert steps[0].status == "completed"
    assert await _running(orchestrator) == 0


async def test_a_job_longer_than_the_grace_is_given_back(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("supabase", "hang", seconds=60)
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    async with WorkerProcess(environment | {"WORKER_GRACE": "0.5"}) as worker:
        await _until_running(orchestrator)
        worker.terminate()
        assert await worker.ended(within=30) == 0
    (job,) = (await orchestrator.client.job_list(JobListParams(kinds=["user_signup"]))).jobs
    assert (job.state, job.attempt, job.errors) == ("available", 0, ())
    async with WorkerProcess(environment):
        execution = await orchestrator.wait(workflow_id, timeout=SOON)
    assert execution.status is WorkflowStatus.COMPLETED


async def test_a_second_signal_gives_running_jobs_back_at_once(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, simulators: Simulators
) -> None:
    simulators.arm("supabase", "hang", seconds=60)
    await orchestrator.start_workflow("user_signup", SIGNUP)
    async with WorkerProcess(environment | {"WORKER_GRACE": "60"}) as worker:
        await _until_running(orchestrator)
        worker.terminate()
        async with asyncio.timeout(60):
            while True:
                if any(line["message"] == "stopping" for line in worker.lines()):
                    break
                await asyncio.sleep(0.02)
        worker.process.send_signal(signal.SIGINT)
        assert await worker.ended(within=30) == 0
    assert await _running(orchestrator) == 0


async def _running(orchestrator: WorkflowOrchestrator) -> int:
    number: int = await orchestrator.client.pool.fetchval(
        "SELECT count(*) FROM river_job WHERE state = 'running' AND metadata ? 'workflow_id'"
    )
    return number


async def _until_running(orchestrator: WorkflowOrchestrator) -> None:
    async with asyncio.timeout(60):
        while True:
            if await _running(orchestrator):
                return
            await asyncio.sleep(0.02)


async def test_processes_share_one_parent_and_a_killed_one_comes_back(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator
) -> None:
    async with WorkerProcess(environment, "--processes", "2", "--id", "w") as parent:

        async def clients() -> set[str]:
            async with asyncio.timeout(60):
                while True:
                    found = [
                        (line["client_id"], line["pid"])
                        for line in parent.lines()
                        if line["message"] == "river_worker started"
                    ]
                    if len(found) >= wanted:
                        return {str(pid) for _, pid in found}
                    await asyncio.sleep(0.02)

        wanted = 2
        first = await clients()
        os.kill(int(min(first)), signal.SIGKILL)
        wanted = 3
        await clients()
        workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
        execution = await orchestrator.wait(workflow_id, timeout=SOON)
        assert execution.status is WorkflowStatus.COMPLETED
        parent.terminate()
        assert await parent.ended() == 0
    attempted = await orchestrator.client.pool.fetch("SELECT attempted_by FROM river_job")
    assert {client for row in attempted for client in row["attempted_by"]} <= {"w-1", "w-2"}


async def test_metrics_are_served_for_prometheus(
    environment: dict[str, str], orchestrator: WorkflowOrchestrator, unused_tcp_port: int
) -> None:
    workflow_id = await orchestrator.start_workflow("user_signup", SIGNUP)
    async with (
        WorkerProcess(environment, "--metrics-port", str(unused_tcp_port)) as worker,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        await worker.started()
        await orchestrator.wait(workflow_id, timeout=SOON)
        text = ""
        wanted = 'riverjobs_jobs_ended_total{event="job_completed",kind="process_subscription"} 1.0'
        async with asyncio.timeout(60):
            while wanted not in text:
                answer = await http.get(f"http://127.0.0.1:{unused_tcp_port}/metrics")
                text = answer.text
        worker.terminate()
        assert await worker.ended() == 0
    assert 'riverjobs_running_jobs{queue="external"}' in text
    assert 'riverjobs_workflows{status="' in text
    assert SIGNUP["email"] not in text
    assert workflow_id not in text
