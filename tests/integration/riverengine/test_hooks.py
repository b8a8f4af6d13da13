"""Hooks, middleware and plugins act in River's order, and decide what River lets them decide."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from riverengine import (
    NO_ERROR,
    Client,
    Config,
    ConfigError,
    EventKind,
    Hook,
    HookInsertBeginFunc,
    HookMetricEmitFunc,
    HookPeriodicJobsStartFunc,
    HookPeriodicJobsStartParams,
    HookWorkBeginFunc,
    HookWorkEndFunc,
    InsertError,
    InsertNext,
    InsertOpts,
    InsertPlan,
    InsertResults,
    Job,
    JobCancel,
    JobGetAvailableCountMetric,
    JobGetAvailableDurationMetric,
    JobInsertMiddlewareFunc,
    JobRow,
    JobState,
    Metric,
    Worker,
    WorkerMiddleware,
    WorkerMiddlewareFunc,
    WorkNext,
    current_job,
    metadata_set,
    resumable_step,
)
from riverengine.run.maintenance.interval_service import MaintenanceTimings
from riverengine.run.maintenance.maintainer import Maintainer
from riverengine.run.pipeline import compose_work
from riverengine.work.extensions import Extensions
from riverengine.work.registry import Workers
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_until,
)

trace: list[str] = []
"""What acted in the current test, in order; shared with the args types below."""


@pytest.fixture(autouse=True)
def _empty_trace() -> None:
    trace.clear()


class Everything:
    """All hooks and middleware in one object, which tells what it was called for."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def insert_begin(self, params: InsertPlan) -> None:
        trace.append(f"{self.name}:insert_begin")

    async def insert_many(self, plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        trace.append(f"{self.name}:insert_before")
        try:
            return await next_(plans)
        finally:
            trace.append(f"{self.name}:insert_after")

    async def work_begin(self, job: JobRow) -> None:
        trace.append(f"{self.name}:work_begin")

    async def work_end(self, job: JobRow, error: BaseException | None) -> None:
        trace.append(f"{self.name}:work_end {error}")

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        trace.append(f"{self.name}:work_before")
        try:
            await next_()
        finally:
            trace.append(f"{self.name}:work_after")


@dataclass(frozen=True)
class HookedArgs:
    """Args that bring hooks and a plugin of their own."""

    kind: ClassVar[str] = "hooked"
    hooks: ClassVar[tuple[Hook, ...]] = (Everything("args hook"),)

    @staticmethod
    def plugins() -> list[Everything]:
        return [Everything("args plugin")]


class HookedWorker(Worker[HookedArgs]):
    async def work(self, job: Job[HookedArgs]) -> None:
        trace.append("work")

    def middleware(self, job: JobRow) -> Sequence[WorkerMiddleware]:
        return [Everything("worker outer"), Everything("worker inner")]


def _all_levels() -> dict[str, Any]:
    return {
        "hooks": [Everything("hook")],
        "middleware": [Everything("outer"), Everything("inner")],
        "plugins": [Everything("plugin")],
    }


async def test_an_insert_passes_middleware_then_hooks_globals_first(pool: asyncpg.Pool) -> None:
    client = Client(pool, Config(**_all_levels()))
    await client.insert_many([HookedArgs(), NoteArgs()])
    assert trace == [
        *("plugin:insert_before", "outer:insert_before", "inner:insert_before"),
        "args plugin:insert_before",
        *("plugin:insert_begin", "hook:insert_begin"),
        *("args plugin:insert_begin", "args hook:insert_begin"),
        *("plugin:insert_begin", "hook:insert_begin"),
        "args plugin:insert_after",
        *("inner:insert_after", "outer:insert_after", "plugin:insert_after"),
    ]


async def test_work_passes_the_worker_s_middleware_then_the_client_s_then_hooks(
    pool: asyncpg.Pool,
) -> None:
    async with (
        started(pool, HookedWorker(), **_all_levels()) as client,
        client.subscribe() as events,
    ):
        await client.insert(HookedArgs())
        await ended(events)
    begin = trace.index("worker outer:work_before")
    assert trace[begin:] == [
        *("worker outer:work_before", "worker inner:work_before"),
        *("plugin:work_before", "outer:work_before", "inner:work_before"),
        "args plugin:work_before",
        *("plugin:work_begin", "hook:work_begin"),
        *("args plugin:work_begin", "args hook:work_begin"),
        "work",
        *("plugin:work_end None", "hook:work_end None"),
        *("args plugin:work_end None", "args hook:work_end None"),
        "args plugin:work_after",
        *("inner:work_after", "outer:work_after", "plugin:work_after"),
        *("worker inner:work_after", "worker outer:work_after"),
    ]


def test_a_kind_with_nothing_around_it_has_no_chain() -> None:
    workers = Workers()
    workers.add(NoteWorker())
    registered = workers.get("note")
    assert registered is not None
    assert compose_work(Extensions(), registered) is None
    inserts_only = Extensions.of(hooks=[HookInsertBeginFunc(lambda params: None)])
    assert compose_work(inserts_only, registered) is None


async def _failed(
    pool: asyncpg.Pool, worker: Worker[Any], *hooks: Hook, attempts: int = 1
) -> tuple[JobRow, EventKind]:
    """The row and event of one job worked with these hooks."""
    async with started(pool, worker, hooks=hooks) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(), InsertOpts(max_attempts=attempts))).job
        event = (await ended(events))[0]
    return await stored(pool, job.id), event.kind


async def test_an_error_of_work_begin_fails_the_attempt_without_work(pool: asyncpg.Pool) -> None:
    def refuse(job: JobRow) -> None:
        raise ValueError("not today")

    worker = NoteWorker()
    row, kind = await _failed(pool, worker, HookWorkBeginFunc(refuse), Everything("hook"))
    assert (row.state, kind) == (JobState.DISCARDED, EventKind.JOB_FAILED)
    assert row.errors[0].error == "ValueError: not today"
    assert worker.ran == []
    assert "hook:work_begin" not in trace
    assert not [each for each in trace if "work_end" in each]


async def test_work_end_is_not_called_when_the_args_do_not_decode(pool: asyncpg.Pool) -> None:
    async with (
        started(pool, NoteWorker(), hooks=[Everything("hook")]) as client,
        client.subscribe() as events,
    ):
        await pool.execute(
            "INSERT INTO river_job (kind, args, max_attempts) VALUES ('note', $1, 1)", '{"text": 1}'
        )
        event = (await ended(events))[0]
    assert event.kind is EventKind.JOB_FAILED
    assert trace == ["hook:work_begin"]


async def _raise_worker(job: Job[NoteArgs]) -> None:
    raise ValueError("of the worker")


async def test_work_end_keeps_an_error_unless_it_says_otherwise(pool: asyncpg.Pool) -> None:
    row, _ = await _failed(pool, NoteWorker(_raise_worker), Everything("hook"))
    assert trace[-1] == "hook:work_end of the worker"
    assert row.errors[0].error == "ValueError: of the worker"


async def test_work_end_replaces_errors_and_each_hook_sees_the_last(pool: asyncpg.Pool) -> None:
    seen: list[str] = []

    def replace(job: JobRow, error: BaseException | None) -> BaseException:
        seen.append(str(error))
        return KeyError("replaced")

    async def raise_(job: JobRow, error: BaseException | None) -> None:
        seen.append(str(error))
        raise JobCancel("raised")

    row, kind = await _failed(
        pool, NoteWorker(_raise_worker), HookWorkEndFunc(replace), HookWorkEndFunc(raise_)
    )
    assert seen == ["of the worker", "'replaced'"]
    assert (row.state, kind) == (JobState.CANCELLED, EventKind.JOB_CANCELLED)
    assert row.errors[0].error == "JobCancelError: raised"


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancellation_of_a_hook_after_the_work_does_not_undo_it(
    pool: asyncpg.Pool, fails: bool
) -> None:
    reached = asyncio.Event()

    async def work(job: Job[NoteArgs]) -> None:
        if fails:
            raise RuntimeError("of the work")

    async def linger(job: JobRow, error: BaseException | None) -> None:
        reached.set()
        await asyncio.Event().wait()

    hooks = [HookWorkEndFunc(linger)]
    async with started(pool, NoteWorker(work), stop=False, hooks=hooks) as client:
        job = (await client.insert(NoteArgs())).job
        await reached.wait()
        await client.stop_and_cancel(timeout=timedelta(seconds=10))
    row = await stored(pool, job.id)
    errors = [each.error for each in row.errors]
    if fails:
        assert (row.attempt, errors) == (1, ["RuntimeError: of the work"])
    else:
        assert (row.state, errors) == (JobState.COMPLETED, [])


async def test_work_end_can_let_an_attempt_succeed_and_fail(pool: asyncpg.Pool) -> None:
    forgive = HookWorkEndFunc(lambda job, error: NO_ERROR)
    row, kind = await _failed(pool, NoteWorker(_raise_worker), forgive)
    assert (row.state, row.errors, kind) == (JobState.COMPLETED, (), EventKind.JOB_COMPLETED)

    accuse = HookWorkEndFunc(lambda job, error: ValueError("found later"))
    row, _ = await _failed(pool, NoteWorker(), accuse)
    assert (row.state, row.errors[0].error) == (JobState.DISCARDED, "ValueError: found later")


async def test_hooks_and_middleware_are_inside_the_job(pool: asyncpg.Pool) -> None:
    @WorkerMiddlewareFunc
    async def around(job: JobRow, next_: WorkNext) -> None:
        metadata_set("before", current_job().id == job.id)
        await next_()
        metadata_set("after", 1)

    @HookWorkBeginFunc
    async def begin(job: JobRow) -> None:
        metadata_set("begin", 1)

    async with (
        started(pool, NoteWorker(), plugins=[around, begin]) as client,
        client.subscribe() as events,
    ):
        job = (await client.insert(NoteArgs())).job
        await ended(events)
    assert (await stored(pool, job.id)).metadata == {"before": True, "after": 1, "begin": 1}


async def test_middleware_that_raises_fails_the_attempt_even_after_the_work(
    pool: asyncpg.Pool,
) -> None:
    class Outside(NoteWorker):
        def middleware(self, job: JobRow) -> Sequence[WorkerMiddleware]:
            @WorkerMiddlewareFunc
            async def fail(job: JobRow, next_: WorkNext) -> None:
                await next_()
                raise ValueError("outside")

            return [fail]

    async def run(job: Job[NoteArgs]) -> None:
        await resumable_step("one", lambda: asyncio.sleep(0))

    row, _ = await _failed(pool, Outside(run))
    assert row.errors[0].error == "ValueError: outside"
    # The steps had succeeded before the worker's own middleware failed: nothing is left of them.
    assert row.metadata_json == "{}"


async def test_an_insert_hook_changes_the_row(pool: asyncpg.Pool) -> None:
    @HookInsertBeginFunc
    def elsewhere(params: InsertPlan) -> InsertPlan:
        assert params.args == NoteArgs(text="x")
        return dataclasses.replace(params, queue="elsewhere", priority=3)

    @HookInsertBeginFunc
    async def traced(params: InsertPlan) -> InsertPlan:
        assert params.queue == "elsewhere"
        return params.with_metadata({"trace": "abc"})

    client = Client(pool, Config(hooks=[elsewhere, traced]))
    job = (await client.insert(NoteArgs(text="x"), InsertOpts(metadata={"a": 1}))).job
    assert (job.queue, job.priority, job.metadata) == ("elsewhere", 3, {"a": 1, "trace": "abc"})
    assert await client.insert_many_fast([NoteArgs(text="x")]) == 1
    row = await pool.fetchrow("SELECT * FROM river_job ORDER BY id DESC LIMIT 1")
    assert (row["queue"], row["metadata"]) == ("elsewhere", '{"trace": "abc"}')


async def test_hooks_can_hide_the_args_from_the_database(pool: asyncpg.Pool) -> None:
    @HookInsertBeginFunc
    def hide(params: InsertPlan) -> InsertPlan:
        hidden = base64.b64encode(params.encoded_args.encode()).decode()
        return dataclasses.replace(params, encoded_args=f'{{"hidden": "{hidden}"}}')

    @HookWorkBeginFunc
    def show(job: JobRow) -> JobRow:
        shown = base64.b64decode(job.args["hidden"]).decode()
        return dataclasses.replace(job, encoded_args=shown)

    worker = NoteWorker()
    hooks = [hide, show, Everything("after")]
    async with started(pool, worker, hooks=hooks) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(text="private"))).job
        event = (await ended(events))[0]
    assert [each.args.text for each in worker.ran] == ["private"]
    assert worker.ran[0].row.args == {"text": "private"}
    assert "private" not in (await stored(pool, job.id)).encoded_args
    assert event.job is not None
    assert event.job.state is JobState.COMPLETED


async def test_an_insert_hook_refuses_the_whole_batch(pool: asyncpg.Pool) -> None:
    class RefusedError(Exception):
        pass

    @HookInsertBeginFunc
    def refuse(params: InsertPlan) -> None:
        if params.args == NoteArgs(text="bad"):
            raise RefusedError

    client = Client(pool, Config(hooks=[refuse]))
    with pytest.raises(RefusedError):
        await client.insert_many([NoteArgs(text="good"), NoteArgs(text="bad")])
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 0


@pytest.mark.parametrize("insert", ["many", "fast"])
async def test_insert_middleware_sees_results_and_its_error_undoes_the_insert(
    pool: asyncpg.Pool, insert: str
) -> None:
    seen: list[object] = []

    @JobInsertMiddlewareFunc
    async def fail(plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        results = await next_(plans)
        seen.extend(result and result.job.kind for result in results)
        raise ValueError("after the insert")

    client = Client(pool, Config(middleware=[fail]))
    jobs = [NoteArgs(), NoteArgs()]
    inserting = client.insert_many(jobs) if insert == "many" else client.insert_many_fast(jobs)
    with pytest.raises(ValueError, match="after the insert"):
        await inserting
    assert seen == (["note", "note"] if insert == "many" else [None, None])
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 0


async def test_insert_middleware_must_return_the_results(pool: asyncpg.Pool) -> None:
    @JobInsertMiddlewareFunc
    async def forget(plans: Sequence[InsertPlan], next_: InsertNext) -> InsertResults:
        await next_(plans)
        return []

    with pytest.raises(InsertError):
        await Client(pool, Config(middleware=[forget])).insert(NoteArgs())
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 0


async def test_metrics_are_emitted_after_every_fetch(pool: asyncpg.Pool) -> None:
    metrics: list[Metric] = []

    @HookMetricEmitFunc
    def keep(metric: Metric) -> None:
        metrics.append(metric)

    @HookMetricEmitFunc
    def fail(metric: Metric) -> None:
        raise ValueError("no exporter")

    async with (
        started(pool, NoteWorker(), hooks=[fail, keep]) as client,
        client.subscribe() as events,
    ):
        await client.insert_many([NoteArgs(), NoteArgs()])
        await ended(events, 2)
        await wait_until(lambda: any(_count(each) == 0 for each in metrics))
    assert {each.queue for each in metrics} == {"default"}
    assert sum(_count(each) or 0 for each in metrics) == 2
    durations = [each for each in metrics if isinstance(each, JobGetAvailableDurationMetric)]
    assert len(durations) * 2 == len(metrics)
    assert all(timedelta(0) < each.duration < timedelta(minutes=1) for each in durations)
    assert {each.name.value for each in metrics} == {
        "job_get_available_duration",
        "job_get_available_count",
    }


def _count(metric: Metric) -> int | None:
    return metric.count if isinstance(metric, JobGetAvailableCountMetric) else None


AT_ONCE = MaintenanceTimings(stagger=timedelta(0))


async def test_the_leader_tells_before_it_inserts_periodic_jobs(pool: asyncpg.Pool) -> None:
    told: list[HookPeriodicJobsStartParams] = []
    hook = HookPeriodicJobsStartFunc(told.append)
    async with started(
        pool, NoteWorker(), hooks=[hook], client_options={"maintenance_timings": AT_ONCE}
    ):
        await wait_until(lambda: bool(told))
    assert told == [HookPeriodicJobsStartParams(durable_jobs=())]


async def test_a_leader_whose_start_hook_fails_gives_the_term_up(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[datetime | None] = []

    @HookPeriodicJobsStartFunc
    async def refuse(params: HookPeriodicJobsStartParams) -> None:
        calls.append(None)
        raise ValueError("not ready")

    original: Callable[..., None] = Maintainer.__init__

    def quick(self: Maintainer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **(kwargs | {"retry_scale": 0.01}))

    monkeypatch.setattr(Maintainer, "__init__", quick)
    async with started(
        pool, NoteWorker(), hooks=[refuse], client_options={"maintenance_timings": AT_ONCE}
    ) as client:
        await wait_until(lambda: client.is_leader or bool(calls))
        await wait_until(lambda: len(calls) >= 3 and not client.is_leader)


def test_objects_that_are_no_hooks_are_refused() -> None:
    with pytest.raises(ConfigError) as hook:
        Config(hooks=[object()])  # type: ignore[list-item]
    assert hook.value.setting == "hooks"
    with pytest.raises(ConfigError) as middleware:
        Config(middleware=[HookInsertBeginFunc(lambda params: None)])  # type: ignore[list-item]
    assert middleware.value.setting == "middleware"
    with pytest.raises(ConfigError) as plugin:
        Config(plugins=["text"])  # type: ignore[list-item]
    assert plugin.value.setting == "plugins"


@dataclass(frozen=True)
class DataArgs:
    """Args whose own data is called like hooks."""

    kind: ClassVar[str] = "data"
    hooks: tuple[str, ...] = ("a",)
    plugins: int = 3


@dataclass(frozen=True)
class WrongArgs:
    """Args whose hooks need an instance, which there is none of at work."""

    kind: ClassVar[str] = "wrong"

    def hooks(self) -> list[Hook]:
        return []


async def test_hooks_of_args_are_the_class_s(pool: asyncpg.Pool) -> None:
    client = Client(pool, Config())
    assert (await client.insert(DataArgs())).job.args == {"hooks": ["a"], "plugins": 3}
    with pytest.raises(ConfigError) as error:
        await client.insert(WrongArgs())
    assert error.value.setting == "WrongArgs.hooks"
