"""Runs the demo: database, simulators, a worker process, the scenarios, the verdict."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from riverengine.embedded import start_postgres
from riverjobs import (
    Config,
    RiverManager,
    WorkflowInputError,
    WorkflowOrchestrator,
    WorkflowStatus,
    WorkflowSummary,
)
from v1consortium.demo.scenarios import SCENARIOS, Scenario
from v1consortium.facility_file import read_facilities
from v1consortium.migrations import migrate
from v1consortium.queries.facility import facility_upsert_many
from v1consortium.settings import read_settings
from v1consortium.simulators.client import Simulators
from v1consortium.simulators.parent import end_with_parent
from v1consortium.wiring import register_river_workers

LIMIT = timedelta(seconds=90)
"""How long the workflows may take."""

_WORKER_START = 20.0


@dataclass(slots=True)
class Running:
    """A scenario and what became of it so far."""

    scenario: Scenario
    workflow_id: str | None = None
    refused: str | None = None
    summary: WorkflowSummary | None = None
    queue: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        if self.refused is not None:
            return True
        return self.summary is not None and self.summary.execution.status.is_final

    def verdict(self, simulators: Simulators) -> str:
        """Empty if it ended as it must, else what is wrong."""
        scenario = self.scenario
        if scenario.ends == "refused":
            if self.refused is None:
                return "was not refused"
            return "" if scenario.reason in self.refused else "was refused for another reason"
        if self.summary is None:
            return f"was refused: {self.refused}"
        execution = self.summary.execution
        message = str((execution.error or {}).get("message", ""))
        if execution.status != scenario.ends:
            return f"is {execution.status} instead of {scenario.ends}: {message}"
        if scenario.reason not in message:
            return f"failed for another reason: {message}"
        if scenario.check is not None and not scenario.check(self.summary, simulators):
            return "left the wrong traces at the providers"
        return ""


async def run_demo(folder: Path) -> int:
    """Run all scenarios with everything below ``folder``; 0 if each ended as it must."""
    began = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    log, data = folder / "river_worker.log", folder / "postgres"
    with ExitStack() as stack:
        console.print("Starting PostgreSQL, the simulated providers and river_worker ...")
        server = stack.enter_context(start_postgres(data, durable=False))
        simulators = stack.enter_context(Simulators())
        await migrate(server.url, schema=None)
        environment = {
            **os.environ,
            **simulators.env,
            "DATABASE_URL": server.url,
            "WORKFLOW_RETRY_BASE": "0.5",
            "WORKER_POLL_INTERVAL_S": "0.5",
        }
        settings = read_settings(environment)
        manager = RiverManager(Config(database_url=server.url, pool_size=4))
        orchestrator = register_river_workers(manager, settings)
        await manager.open()
        try:
            await _import_sites(manager)
            worker = _start_worker(environment, log)
            stack.callback(_end, worker)
            await _await_worker(worker, log)
            running = await _run_scenarios(orchestrator, simulators, console)
        finally:
            await manager.stop()
        code = _tell(running, simulators, console, began)
    first = next((each.workflow_id for each in running if each.workflow_id), "ID")
    command = f"EMBEDDED_DATABASE={data} {_program()}"
    console.print()
    console.print(f"Database (stopped now, kept in {data}): {server.url}", soft_wrap=True)
    console.print(f"Log of river_worker: {log}", soft_wrap=True)
    console.print("To look further:")
    console.print(f"  {command} workflow list", soft_wrap=True)
    console.print(f"  {command} workflow show {first}", soft_wrap=True)
    return code


async def _import_sites(manager: RiverManager) -> None:
    with resources.as_file(resources.files("v1consortium.demo") / "sites.csv") as path:
        await facility_upsert_many(manager.pool, facilities=read_facilities(path))


def _start_worker(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "v1consortium", "river_worker", "--log-format", "json"],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )


async def _await_worker(worker: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(_WORKER_START):
        while not _has_started(log):
            if worker.poll() is not None:
                raise RuntimeError(f"river_worker did not start; see {log}")
            await asyncio.sleep(0.05)


def _has_started(log: Path) -> bool:
    return b"river_worker started" in log.read_bytes()


def _program() -> str:
    """The command beside this Python, as a path that is short from here."""
    program = Path(sys.executable).with_name("v1consortium")
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(15)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


async def _run_scenarios(
    orchestrator: WorkflowOrchestrator, simulators: Simulators, console: Console
) -> list[Running]:
    running = [Running(scenario) for scenario in SCENARIOS]
    by_title = {each.scenario.title: each for each in running}
    with Live(_progress(running), console=console, refresh_per_second=8) as live:
        async with asyncio.timeout(LIMIT.total_seconds()):
            while not all(each.is_over for each in running):
                for each in running:
                    await _move(each, by_title, orchestrator, simulators)
                live.update(_progress(running))
                await asyncio.sleep(0.1)
        live.update(_progress(running))
    return running


async def _move(
    each: Running,
    by_title: dict[str, Running],
    orchestrator: WorkflowOrchestrator,
    simulators: Simulators,
) -> None:
    """Start the scenario when its turn has come, or look how far it is."""
    scenario = each.scenario
    if each.is_over:
        return
    if each.workflow_id is not None:
        each.summary = await orchestrator.get_workflow_summary(each.workflow_id)
        return
    if scenario.after is not None and not by_title[scenario.after].is_over:
        return
    if scenario.prepare is not None:
        scenario.prepare(simulators)
    try:
        each.workflow_id = await orchestrator.start_workflow(scenario.type, scenario.input)
    except WorkflowInputError as error:
        each.refused = str(error)


def _progress(running: list[Running]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("workflow", "type", "status", "steps"):
        table.add_column(column, overflow="fold")
    for each in running:
        status, steps = "", ""
        if each.refused is not None:
            status = "refused"
        elif each.summary is not None:
            status = each.summary.execution.status.value
            steps = "  ".join(
                f"{_MARKS.get(s.status, '.')} {s.step_name}" for s in each.summary.steps
            )
        table.add_row(each.scenario.title, each.scenario.type, status, steps)
    return table


_MARKS = {"completed": "✓", "failed": "✗", "running": "▶", "retrying": "↻", "waiting": "…"}


def _tell(running: list[Running], simulators: Simulators, console: Console, began: float) -> int:
    """The final table; 0 if every scenario ended as it must."""
    table = Table(title="Result", header_style="bold", title_justify="left")
    for column in ("workflow", "id", "steps", "attempts", "result", "time", "as it must"):
        table.add_column(column, overflow="fold")
    wrong = 0
    for each in running:
        verdict = each.verdict(simulators)
        wrong += bool(verdict)
        table.add_row(each.scenario.title, *_cells(each), verdict or "yes")
    console.print()
    console.print(table)
    seconds = time.monotonic() - began
    console.print(
        f"{len(running) - wrong} of {len(running)} ended as they must, in {seconds:.1f} s."
    )
    return 1 if wrong else 0


def _cells(each: Running) -> tuple[str, str, str, str, str]:
    if each.summary is None:
        return "", "", "", f"refused: {each.refused}", ""
    execution, steps = each.summary.execution, each.summary.steps
    done = sum(step.status == "completed" for step in steps)
    attempts = sum(step.attempt for step in steps)
    result = execution.status.value
    if execution.status is WorkflowStatus.FAILED and execution.error is not None:
        result += f": {execution.error['message']}"
    took = ""
    if execution.completed_at is not None and execution.started_at is not None:
        took = f"{(execution.completed_at - execution.started_at).total_seconds():.1f} s"
    return execution.workflow_id[:8], f"{done}/{len(steps)}", str(attempts), result, took
