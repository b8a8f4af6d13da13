"""A dump taken in the middle of the work, restored elsewhere: the workflows go on and end right."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import timedelta

import pytest

from riverengine.embedded.postgres import Account, find_binaries
from riverjobs import Config, RiverManager, WorkflowOrchestrator, WorkflowStatus
from tests.app.processes import ORDER, SIGNUP, WorkerProcess
from v1consortium.settings import read_settings
from v1consortium.simulators.client import Simulators
from v1consortium.wiring import register_river_workers

pytestmark = pytest.mark.fault


async def test_restored_workflows_go_on(
    environment: dict[str, str],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
    empty_database: str,
) -> None:
    simulators.arm("stripe", "hang", match={"path": "/v1/subscriptions", "method": "POST"})
    ids = [await orchestrator.start_workflow("user_signup", SIGNUP)]
    async with WorkerProcess(environment, "--id", "w1") as worker:
        await _until_step(orchestrator, ids[0], "process_subscription")
        ids.append(await orchestrator.start_workflow("drug_test_order", ORDER))
        await orchestrator.wait(ids[1], timeout=timedelta(seconds=60))
        await orchestrator.client.queue_pause("*")
        worker.process.kill()
        await worker.ended()
    # Nobody began it: a worker hears of a pause a moment later.
    ids.append(await orchestrator.start_workflow("drug_test_order", ORDER))
    programs = find_binaries(Account())
    dump = subprocess.run(
        [str(programs / "pg_dump"), environment["DATABASE_URL"]], check=True, capture_output=True
    ).stdout
    subprocess.run(
        [str(programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1", empty_database],
        input=dump,
        check=True,
        capture_output=True,
    )
    restored = environment | {"DATABASE_URL": empty_database}
    manager = RiverManager(Config(database_url=empty_database, pool_size=4))
    there = register_river_workers(manager, read_settings(restored))
    await manager.open()
    try:
        async with WorkerProcess(restored, "--id", "w1") as worker:
            await worker.started()
            await manager.client.queue_resume("*")
            for workflow_id in ids:
                execution = await there.wait(workflow_id, timeout=timedelta(seconds=60))
                assert execution.status is WorkflowStatus.COMPLETED, execution.error
    finally:
        await manager.stop()
    assert simulators.effects("stripe")["payments"] == {ids[0]: 1}
    assert simulators.count("quest", "orders") == 2


async def _until_step(orchestrator: WorkflowOrchestrator, workflow_id: str, step_name: str) -> None:
    async with asyncio.timeout(60):
        while True:
            steps = await orchestrator.workflow_manager.get_steps(workflow_id)
            if any(s.step_name == step_name and s.status == "running" for s in steps):
                return
            await asyncio.sleep(0.02)
