"""What commands print and do when all is well."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from importlib import resources

import asyncpg
import pytest

from riverjobs import WorkflowOrchestrator
from tests.app.processes import SIGNUP, WorkerProcess
from tests.app.test_bad_input import Run, cli

__all__ = ["cli"]


async def started(cli: Run) -> str:
    code, out, _ = await asyncio.to_thread(
        cli, "workflow", "start", "user_signup", "--input", json.dumps(SIGNUP)
    )
    assert code == 0
    return out.strip()


async def test_a_start_prints_the_id_and_a_key_makes_it_safe_to_repeat(cli: Run) -> None:
    arguments = ("workflow", "start", "user_signup", "--input", json.dumps(SIGNUP))
    first = await asyncio.to_thread(cli, *arguments, "--idempotency-key", "k", "--json")
    second = await asyncio.to_thread(cli, *arguments, "--idempotency-key", "k", "--json")
    assert first == second
    assert len(json.loads(first[1])["workflow_id"]) == 36


async def test_workflows_are_listed_and_shown(cli: Run) -> None:
    workflow_id = await started(cli)
    code, out, _ = await asyncio.to_thread(cli, "workflow", "list", "--json")
    assert code == 0
    (listed,) = json.loads(out)
    assert (listed["workflow_id"], listed["status"]) == (workflow_id, "pending")
    assert "context" not in listed
    _, out, _ = await asyncio.to_thread(cli, "workflow", "show", workflow_id, "--json")
    shown = json.loads(out)
    assert shown["execution"]["context"]["organization_name"] == "Acme"
    assert [step["step_name"] for step in shown["steps"]] == [
        "user_signup",
        "create_organization",
        "process_subscription",
    ]
    assert [event["kind"] for event in shown["events"]] == ["workflow_started"]
    _, out, _ = await asyncio.to_thread(cli, "workflow", "show", workflow_id)
    assert workflow_id in out
    assert "create_organization" in out


async def test_a_workflow_is_cancelled_and_goes_on(cli: Run) -> None:
    workflow_id = await started(cli)
    assert (await asyncio.to_thread(cli, "workflow", "cancel", workflow_id))[0] == 0
    code, _, error = await asyncio.to_thread(cli, "workflow", "cancel", workflow_id)
    assert code == 1
    assert "cancelled" in error
    code, out, _ = await asyncio.to_thread(cli, "workflow", "retry", workflow_id)
    assert code == 0
    assert "user_signup" in out


async def test_jobs_are_listed_shown_cancelled_retried_and_deleted(cli: Run) -> None:
    workflow_id = await started(cli)
    _, out, _ = await asyncio.to_thread(cli, "job", "list", "--workflow", workflow_id, "--json")
    (job,) = json.loads(out)
    assert (job["kind"], job["state"], job["queue"]) == ("user_signup", "available", "external")
    job_id = str(job["id"])
    assert "cancelled" in (await asyncio.to_thread(cli, "job", "cancel", job_id))[1]
    assert "available" in (await asyncio.to_thread(cli, "job", "retry", job_id))[1]
    assert json.loads((await asyncio.to_thread(cli, "job", "show", job_id))[1])["id"] == job["id"]
    assert (await asyncio.to_thread(cli, "job", "delete", job_id))[0] == 0
    assert (await asyncio.to_thread(cli, "job", "show", job_id))[0] == 1
    assert "1 step(s)" in (await asyncio.to_thread(cli, "monitor", "reconcile"))[1]
    _, out, _ = await asyncio.to_thread(cli, "workflow", "list", "--status", "failed", "--json")
    assert json.loads(out)[0]["error"]["type"] == "JobDeleted"


async def test_monitors_run_by_hand(cli: Run, app_pool: asyncpg.Pool) -> None:
    workflow_id = await started(cli)
    assert (await asyncio.to_thread(cli, "monitor", "stuck"))[0] == 0
    await app_pool.execute("UPDATE workflow_executions SET created_at = now() - interval '2 hours'")
    code, out, _ = await asyncio.to_thread(cli, "monitor", "stuck", "--json")
    assert (code, json.loads(out)[0]["workflow_id"]) == (1, workflow_id)
    assert (await asyncio.to_thread(cli, "monitor", "health"))[0] == 1
    _, out, _ = await asyncio.to_thread(cli, "monitor", "metrics")
    assert json.loads(out)["workflows"] == [["user_signup", "pending", 1]]
    assert (await asyncio.to_thread(cli, "monitor", "cleanup"))[1].startswith("0 workflow(s)")


async def test_queues_are_paused_and_resumed(cli: Run, app_pool: asyncpg.Pool) -> None:
    await app_pool.execute("INSERT INTO river_queue (name) VALUES ('external')")
    await started(cli)
    assert (await asyncio.to_thread(cli, "queue", "pause", "external"))[0] == 0
    _, out, _ = await asyncio.to_thread(cli, "queue", "list", "--json")
    (queue,) = json.loads(out)
    assert queue["paused_at"] is not None
    assert queue["jobs"] == {"available": 1}
    assert (await asyncio.to_thread(cli, "queue", "resume", "*"))[0] == 0


async def test_the_doctor_names_each_problem(
    cli: Run, app_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await app_pool.execute("INSERT INTO river_queue (name, paused_at) VALUES ('external', now())")
    await app_pool.execute(
        "INSERT INTO river_job (kind, args, max_attempts, queue, scheduled_at) "
        "VALUES ('forgotten', '{}', 1, 'critical', now() - interval '5 minutes')"
    )
    code, out, _ = await asyncio.to_thread(cli, "doctor")
    assert code == 1
    for hint in (
        *("knows forgotten:", "--queue critical=N", "river_worker", "queue resume external"),
        *("facility import", "STRIPE_API_KEY"),
    ):
        assert hint in out
    history = "UPDATE supabase_migrations.schema_migrations SET version ="
    await app_pool.execute(f"{history} '-' || version")
    try:
        code, out, _ = await asyncio.to_thread(cli, "doctor", "--json")
    finally:
        await app_pool.execute(f"{history} substr(version, 2)")
    assert code == 1
    assert "v1consortium migrate" in out


async def test_migrating_tells_what_it_did(
    cli: Run, monkeypatch: pytest.MonkeyPatch, empty_database: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    code, out, _ = await asyncio.to_thread(cli, "migrate", "status")
    assert code == 1
    assert "missing  river 001" in out
    code, out, _ = await asyncio.to_thread(cli, "migrate")
    assert code == 0
    assert out.count("applied  ") == 12
    assert "20260101000000_workflows.sql" in out
    code, out, _ = await asyncio.to_thread(cli, "migrate")
    assert (code, "(0 applied)" in out) == (0, True)
    assert (await asyncio.to_thread(cli, "migrate", "status"))[0] == 0


async def test_only_river_s_newest_step_is_taken_back_and_only_when_confirmed(
    cli: Run, monkeypatch: pytest.MonkeyPatch, empty_database: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    await asyncio.to_thread(cli, "migrate")
    code, _, error = await asyncio.to_thread(cli, "migrate", "down")
    assert (code, "--yes" in error) == (2, True)
    assert (await asyncio.to_thread(cli, "migrate", "status"))[0] == 0
    code, out, _ = await asyncio.to_thread(cli, "migrate", "down", "--yes")
    assert (code, out.startswith("reverted riverengine 001")) == (0, True)
    code, out, _ = await asyncio.to_thread(cli, "migrate", "status")
    assert (code, out.count("missing")) == (1, 1)
    assert (await asyncio.to_thread(cli, "migrate", "up"))[0] == 0


async def test_sites_are_imported(cli: Run, app_pool: asyncpg.Pool) -> None:
    with resources.as_file(resources.files("v1consortium.demo") / "sites.csv") as path:
        code, out, _ = await asyncio.to_thread(cli, "facility", "import", str(path))
        assert (code, out) == (0, "3 site(s) imported; 3 known\n")
        await asyncio.to_thread(cli, "facility", "import", str(path))
    assert await app_pool.fetchval("SELECT count(*) FROM facilities") == 3


async def test_waiting_ends_with_the_workflow_s_result(
    cli: Run, environment: dict[str, str], orchestrator: WorkflowOrchestrator
) -> None:
    async with WorkerProcess(environment):
        good = await asyncio.to_thread(
            cli, "workflow", "start", "user_signup", "--input", json.dumps(SIGNUP), "--wait"
        )
        arguments = ("workflow", "start", "user_signup", "--wait", "--json", "--input")
        bad = await asyncio.to_thread(cli, *arguments, json.dumps(SIGNUP))
        watched = await asyncio.to_thread(cli, "workflow", "watch", good[1].split()[0])
    assert good[0] == 0
    assert "completed" in good[1]
    assert bad[0] == 1
    assert "email_exists" in json.loads(bad[1])["error"]["message"]
    assert watched[0] == 0
    assert "workflow_completed" in watched[1]
    execution = await orchestrator.wait(good[1].split()[0], timeout=timedelta(seconds=1))
    assert execution.status == "completed"


def test_help_is_offered_by_the_installed_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "v1consortium", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("river_worker", "migrate", "workflow", "job", "queue", "monitor", "doctor"):
        assert command in done.stdout
    assert "Exit codes" in done.stdout


async def test_the_doctor_measures_the_workers_of_this_machine(
    cli: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WorkerProcess(environment) as worker:
        await worker.started()
        line = f"worker {worker.process.pid} uses "
        _, out, _ = await asyncio.to_thread(cli, "doctor")
        assert any(found.startswith("ok") for found in out.splitlines() if line in found)
        monkeypatch.setattr("v1consortium.cli.doctor._TOO_MUCH_MEMORY", 1)
        _, out, _ = await asyncio.to_thread(cli, "doctor")
        assert any("lower N" in found for found in out.splitlines() if line in found)
