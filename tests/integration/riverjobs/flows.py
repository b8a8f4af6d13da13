"""Workflows for tests: three steps in a row, and a diamond, whose code each test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg

from riverengine import InsertOpts, Job, Json, QueueConfig
from riverjobs import (
    BaseJobArgs,
    Config,
    RiverManager,
    StepContext,
    StepDefinition,
    WorkerBase,
    WorkflowDefinition,
    WorkflowExecution,
    WorkflowManager,
    WorkflowOrchestrator,
)

Code = Callable[[StepContext], Awaitable[Mapping[str, Json] | None]]
OnCommit = Callable[[asyncpg.Connection, Mapping[str, Json]], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class FirstArgs(BaseJobArgs):
    kind: ClassVar[str] = "first"


@dataclass(frozen=True, kw_only=True)
class SecondArgs(BaseJobArgs):
    kind: ClassVar[str] = "second"


@dataclass(frozen=True, kw_only=True)
class ThirdArgs(BaseJobArgs):
    kind: ClassVar[str] = "third"


@dataclass(frozen=True, kw_only=True)
class FourthArgs(BaseJobArgs):
    kind: ClassVar[str] = "fourth"


class _TestWorker:
    """Runs the code the test put under the step's name."""

    system: System

    async def run(self, worker: WorkerBase[BaseJobArgs], job: Job[BaseJobArgs]) -> None:
        name = job.args.step_name

        async def step(context: StepContext) -> Mapping[str, Json] | None:
            self.system.ran.append(context)
            code = self.system.code.get(name)
            return {name: True} if code is None else await code(context)

        await worker.execute_with_workflow_tracking(
            job, step, on_commit=self.system.on_commit.get(name)
        )


class FirstWorker(WorkerBase[FirstArgs], _TestWorker):
    async def work(self, job: Job[FirstArgs]) -> None:
        await self.run(self, job)  # type: ignore[arg-type]


class SecondWorker(WorkerBase[SecondArgs], _TestWorker):
    async def work(self, job: Job[SecondArgs]) -> None:
        await self.run(self, job)  # type: ignore[arg-type]


class ThirdWorker(WorkerBase[ThirdArgs], _TestWorker):
    async def work(self, job: Job[ThirdArgs]) -> None:
        await self.run(self, job)  # type: ignore[arg-type]


class FourthWorker(WorkerBase[FourthArgs], _TestWorker):
    async def work(self, job: Job[FourthArgs]) -> None:
        await self.run(self, job)  # type: ignore[arg-type]


def _anything(given: Mapping[str, Json]) -> Mapping[str, Json]:
    return given


def _opts(context: Mapping[str, Json]) -> InsertOpts:
    return InsertOpts(queue="critical", priority=2) if context.get("rush") else InsertOpts()


ROW = WorkflowDefinition(
    type="row",
    input_model=_anything,
    insert_opts=_opts,
    steps=[
        StepDefinition(name="first", args_type=FirstArgs, max_attempts=3),
        StepDefinition(name="second", args_type=SecondArgs, after=["first"]),
        StepDefinition(name="third", args_type=ThirdArgs, after=["second"]),
    ],
)

DIAMOND = WorkflowDefinition(
    type="diamond",
    input_model=_anything,
    steps=[
        StepDefinition(name="first", args_type=FirstArgs),
        StepDefinition(name="second", args_type=SecondArgs, after=["first"]),
        StepDefinition(name="third", args_type=ThirdArgs, after=["first"]),
        StepDefinition(name="fourth", args_type=FourthArgs, after=["second", "third"]),
    ],
)


class System:
    """A manager, an orchestrator and the tests' workers."""

    def __init__(self, url: str, *, queues: Sequence[str] = ("default", "critical")) -> None:
        self.ran: list[StepContext] = []
        self.code: dict[str, Code] = {}
        self.on_commit: dict[str, OnCommit] = {}
        poll = QueueConfig(
            max_workers=10,
            fetch_cooldown=timedelta(milliseconds=5),
            fetch_poll_interval=timedelta(milliseconds=20),
        )
        self.manager = RiverManager(
            Config(
                database_url=url,
                queues=dict.fromkeys(queues, poll),
                poll_interval=timedelta(milliseconds=100),
            )
        )
        self.workflows = WorkflowManager(self.manager)
        self.orchestrator = WorkflowOrchestrator(self.manager, self.workflows)
        self.orchestrator.register(ROW)
        self.orchestrator.register(DIAMOND)
        for cls in (FirstWorker, SecondWorker, ThirdWorker, FourthWorker):
            worker = cls(self.orchestrator)
            worker.system = self
            worker.retry_base = timedelta(milliseconds=10)
            self.manager.workers.add(worker)

    async def start(self) -> None:
        """Work the queues."""
        await self.manager.start()

    @property
    def pool(self) -> asyncpg.Pool:
        return self.manager.pool

    async def run(self, context: Mapping[str, Json] | None = None, type: str = "row") -> str:  # noqa: A002
        """Start a workflow, work it to its end, and return its id."""
        workflow_id = await self.orchestrator.start_workflow(type, context or {})
        await self.start()
        await self.orchestrator.wait(workflow_id, timeout=timedelta(seconds=20))
        return workflow_id

    async def execution(self, workflow_id: str) -> WorkflowExecution:
        """The execution as stored."""
        return await self.workflows.get_workflow_execution(workflow_id)

    async def step_statuses(self, workflow_id: str) -> dict[str, str]:
        """Status by step."""
        return {s.step_name: s.status.value for s in await self.workflows.get_steps(workflow_id)}

    async def event_kinds(self, workflow_id: str) -> list[str]:
        """Kinds of the history's events."""
        return [event.kind for event in await self.workflows.get_events(workflow_id)]

    async def settled(self) -> None:
        """Return when no job runs."""
        async with asyncio.timeout(20):
            while True:
                if not await self.pool.fetchval(
                    "SELECT count(*) FROM river_job WHERE state = 'running'"
                ):
                    return
                await asyncio.sleep(0.01)

    async def step_becomes(self, workflow_id: str, step_name: str, status: str) -> None:
        """Return when the step has the status."""
        async with asyncio.timeout(20):
            while True:
                if (await self.step_statuses(workflow_id))[step_name] == status:
                    return
                await asyncio.sleep(0.01)
