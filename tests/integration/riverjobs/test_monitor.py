"""The monitors: what they find, and that the leader runs them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from riverjobs import register_monitors
from riverjobs.monitor import cleanup, health, metrics, stuck_workflows
from tests.integration.riverengine.working import wait_until
from tests.integration.riverjobs.flows import System


async def test_stuck_workflows_are_those_running_too_long(system: System) -> None:
    old = await system.orchestrator.start_workflow("row", {})
    await system.pool.execute(
        "UPDATE workflow_executions SET status = 'running',"
        " started_at = now() - interval '61 minutes'"
    )
    await system.orchestrator.start_workflow("row", {})
    found = await stuck_workflows(system.orchestrator)
    assert [execution.workflow_id for execution in found] == [old]
    assert await health(system.orchestrator) == ["1 workflow(s) run longer than an hour"]


async def test_cleanup_deletes_only_what_was_completed_long_ago(system: System) -> None:
    ids = [await system.orchestrator.start_workflow("row", {}) for _ in range(4)]
    for workflow_id, status, age in zip(
        ids, ("completed", "completed", "failed", "running"), (31, 29, 31, 31), strict=True
    ):
        await system.pool.execute(
            "UPDATE workflow_executions SET status = $2::text, error = '{}', completed_at ="
            " CASE WHEN $2::text <> 'running' THEN now() - make_interval(days => $3) END"
            " WHERE workflow_id = $1",
            *(workflow_id, status, age),
        )
    assert await cleanup(system.orchestrator) == 1
    left = {row["workflow_id"] for row in await system.pool.fetch("TABLE workflow_executions")}
    assert left == set(ids[1:])
    assert await system.pool.fetchval("SELECT count(*) FROM workflow_steps") == 9
    assert await cleanup(system.orchestrator, older_than=timedelta(days=1)) == 1


async def test_metrics_count_workflows_and_jobs(system: System) -> None:
    await system.run()
    await system.settled()
    await system.manager.client.queue_pause("*")
    producers = system.manager.client.producers.values()
    await wait_until(lambda: all(producer.is_paused for producer in producers))
    await system.orchestrator.start_workflow("row", {})
    found = await metrics(system.orchestrator)
    assert ("row", "completed", 1) in found.workflows
    assert ("row", "pending", 1) in found.workflows
    ((kind, number, median, p95),) = found.durations
    assert (kind, number) == ("row", 1)
    assert 0 < median <= p95 < 20
    assert [(queue, state, n) for queue, state, n, _ in found.queues] == [
        ("default", "available", 1)
    ]
    assert found.queues[0][3] >= 0


async def test_health_tells_what_is_wrong(system: System) -> None:
    assert await health(system.orchestrator) == []
    await system.pool.execute("INSERT INTO river_migration (line, version) VALUES ('main', 99)")
    (problem,) = await health(system.orchestrator)
    await system.pool.execute("DELETE FROM river_migration WHERE version = 99")
    assert "99" in problem


async def test_the_leader_runs_the_monitors(workflow_url: str) -> None:
    system = System(workflow_url, queues=("default", "critical", "scheduled"))
    register_monitors(system.orchestrator)
    await system.start()
    try:
        async with asyncio.timeout(20):
            while True:
                found = await system.pool.fetchval(
                    "SELECT metadata -> 'output' FROM river_job WHERE kind = 'workflow_reconcile'"
                    " AND state = 'completed'"
                )
                if found is not None:
                    break
                await asyncio.sleep(0.02)
    finally:
        await system.manager.stop()
    assert found == '{"ended": 0}'


def test_each_monitor_has_its_documented_interval(workflow_url: str) -> None:
    system = System(workflow_url)
    register_monitors(system.orchestrator)
    at = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    due = {job.id: job.schedule.next(at) for job in system.manager.periodic_jobs}
    assert due == {
        "workflow_stuck_monitor": at + timedelta(minutes=5),
        "workflow_cleanup": datetime(2026, 11, 25, 3, 0, tzinfo=UTC),
        "workflow_metrics": at + timedelta(minutes=10),
        "workflow_health": at + timedelta(minutes=1),
        "workflow_reconcile": at + timedelta(seconds=30),
    }
