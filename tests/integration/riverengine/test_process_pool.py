"""Jobs worked in processes: what comes back from them, and how they are ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pytest

from riverengine import (
    Client,
    Config,
    ConfigError,
    ErrorHandlerFunc,
    Event,
    EventKind,
    InsertOpts,
    Job,
    JobRow,
    JobState,
    QueueConfig,
    RemoteWorkError,
    Worker,
    WorkProcessDiedError,
    WorkProcessSendError,
    work_func,
)
from tests.integration.riverengine.process_work import (
    AsyncArgs,
    AsyncWorker,
    LockedArgs,
    ProcessArgs,
    work,
)
from tests.integration.riverengine.working import ended, started, stored, wait_until, workers_of

GRACE = timedelta(milliseconds=300)
"""Of jobs that ignore their cancellation; those that obey it have all the time they need."""
LONG = timedelta(minutes=5)


def _worker(timeout: timedelta = LONG) -> Worker[ProcessArgs]:
    return work_func(ProcessArgs, work, timeout=timeout, process=True)


async def _event(
    pool: asyncpg.Pool, args: object, timeout: timedelta = LONG, attempts: int = 1, **config: Any
) -> Event:
    """Work one job and tell how its first attempt ended."""
    config = {"process_kill_grace": LONG} | config
    working = started(pool, _worker(timeout), AsyncWorker(), **config)
    async with working as client, client.subscribe() as events:
        await client.insert(args, InsertOpts(max_attempts=attempts))
        return await events.next(timeout=60)


def _row(event: Event) -> JobRow:
    assert event.job is not None
    return event.job


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        # The second, when it ends between opening and reading.
        return False
    # A process that ended stays until somebody asks for its exit code.
    return stat.rpartition(")")[2].split()[0] != "Z"


async def _told(path: Path, condition: Callable[[str], bool] = bool) -> str:
    """What the job wrote, once it is what is waited for."""
    found: list[str] = []

    def look() -> bool:
        if path.exists():
            found.append(path.read_text(encoding="utf-8"))
        return bool(found) and condition(found[-1])

    # A first process may take a while to start on a busy machine.
    async with asyncio.timeout(60):
        while True:
            if look():
                return found[-1]
            await asyncio.sleep(0.01)


async def test_a_job_runs_in_a_process_and_its_records_come_back(pool: asyncpg.Pool) -> None:
    row = _row(await _event(pool, ProcessArgs(do="record")))
    assert row.state is JobState.COMPLETED
    assert row.output["job"] == row.id
    assert row.output["pid"] != os.getpid()
    assert row.metadata["seen"] == "process"


async def test_a_coroutine_runs_in_a_process_too(pool: asyncpg.Pool) -> None:
    row = _row(await _event(pool, AsyncArgs()))
    assert row.state is JobState.COMPLETED
    assert row.output["pid"] != os.getpid()


async def test_a_process_is_used_again_and_ends_with_the_client(pool: asyncpg.Pool) -> None:
    working = started(pool, _worker(), max_processes=1)
    async with working as client, client.subscribe() as events:
        await client.insert_many([ProcessArgs(do="record") for _ in range(3)])
        pids = {_row(event).output["pid"] for event in await ended(events, 3)}
        assert len(pids) == 1
        assert _is_alive(*pids)
    await wait_until(lambda: not _is_alive(*pids))


async def test_an_error_comes_back_as_itself_with_its_trace(pool: asyncpg.Pool) -> None:
    seen: list[BaseException] = []
    handler = ErrorHandlerFunc(lambda job, error: seen.append(error))
    row = _row(await _event(pool, ProcessArgs(do="fail"), error_handler=handler))
    assert [type(error) for error in seen] == [ValueError]
    assert row.errors[0].error == "ValueError: in the process"
    assert "in work" in row.errors[0].trace
    assert "process_work.py" in row.errors[0].trace


async def test_an_error_that_cannot_come_back_is_told(pool: asyncpg.Pool) -> None:
    seen: list[BaseException] = []
    handler = ErrorHandlerFunc(lambda job, error: seen.append(error))
    row = _row(await _event(pool, ProcessArgs(do="fail oddly"), error_handler=handler))
    assert [type(error) for error in seen] == [RemoteWorkError]
    assert row.errors[0].error == "OddError: 3 apples"
    assert "in work" in row.errors[0].trace


async def test_signals_come_back(pool: asyncpg.Pool) -> None:
    row = _row(await _event(pool, ProcessArgs(do="cancel")))
    assert (row.state, row.errors[0].error) == (JobState.CANCELLED, "JobCancelError: no use")
    row = _row(await _event(pool, ProcessArgs(do="snooze")))
    assert (row.state, row.attempt) == (JobState.SCHEDULED, 0)


async def test_resumable_steps_work_in_processes(pool: asyncpg.Pool) -> None:
    worker = work_func(ProcessArgs, work, process=True, next_retry=lambda job: job.row.created_at)
    async with started(pool, worker) as client, client.subscribe() as events:
        await client.insert(ProcessArgs(do="resume"))
        first, second = [_row(await events.next(timeout=60)) for _ in range(2)]
    assert first.metadata["river:resumable_step"] == "first"
    assert first.metadata["river:resumable_cursor"] == {"second": 7}
    assert (second.state, second.output["cursor"]) == (JobState.COMPLETED, 7)
    assert second.metadata["first"] == 1
    row = _row(await _event(pool, ProcessArgs(do="swallow")))
    assert row.errors[0].error == "ValueError: of the step"


async def test_a_process_that_dies_fails_its_attempt_only(pool: asyncpg.Pool) -> None:
    working = started(pool, _worker(), max_processes=1)
    async with working as client, client.subscribe() as events:
        await client.insert(ProcessArgs(do="die"), InsertOpts(max_attempts=1))
        row = _row(await events.next(timeout=60))
        assert row.state is JobState.DISCARDED
        assert row.errors[0].error == str(WorkProcessDiedError(3))
        await client.insert(ProcessArgs(do="record"))
        assert _row(await events.next(timeout=60)).state is JobState.COMPLETED


async def test_a_process_that_leaves_an_heir_behind_is_dead_all_the_same(
    pool: asyncpg.Pool, tmp_path: Path
) -> None:
    """What it forked holds its end of the way to the client open."""
    path = tmp_path / "heir"
    try:
        event = await _event(pool, ProcessArgs(do="die with heir", path=str(path)))
    finally:
        if path.exists():
            os.kill(int(path.read_text(encoding="utf-8")), signal.SIGKILL)
    assert _row(event).state is JobState.DISCARDED
    assert _row(event).errors[0].error == str(WorkProcessDiedError(3))


async def test_a_timeout_cancels_the_job_in_its_process(pool: asyncpg.Pool, tmp_path: Path) -> None:
    path = tmp_path / "told"
    timeout = timedelta(seconds=2)
    row = _row(await _event(pool, ProcessArgs(do="sleep", path=str(path)), timeout))
    assert row.errors[0].error == "job timed out after 2 s"
    assert path.read_text(encoding="utf-8") == "cancelled True"


@pytest.mark.parametrize("do", ["ignore", "spin"])
async def test_a_job_that_ignores_its_timeout_is_killed_with_its_process(
    pool: asyncpg.Pool, tmp_path: Path, do: str
) -> None:
    path = tmp_path / "told"
    args = ProcessArgs(do=do, path=str(path))
    row = _row(await _event(pool, args, timedelta(seconds=2), process_kill_grace=GRACE))
    assert row.errors[0].error == "job timed out after 2 s"
    pid = int(path.read_text(encoding="utf-8"))
    await wait_until(lambda: not _is_alive(pid))


async def test_what_a_job_started_is_killed_with_it(pool: asyncpg.Pool, tmp_path: Path) -> None:
    path = tmp_path / "told"
    working = started(pool, _worker(), process_kill_grace=GRACE, stop=False)
    async with working as client:
        job = (await client.insert(ProcessArgs(do="ignore", path=str(path)))).job
        await _told(path)
        other = tmp_path / "other"
        await client.insert(ProcessArgs(do="sleep with child", path=str(other)))
        pids = [int(path.read_text(encoding="utf-8")), *map(int, (await _told(other)).split())]
        await client.stop_and_cancel(timeout=timedelta(seconds=30))
    row = await stored(pool, job.id)
    assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())
    await wait_until(lambda: not any(_is_alive(pid) for pid in pids))


async def test_an_idle_process_that_died_is_replaced(pool: asyncpg.Pool) -> None:
    working = started(pool, _worker(), max_processes=1)
    async with working as client, client.subscribe() as events:
        await client.insert(ProcessArgs(do="record"))
        first = _row(await events.next(timeout=60)).output["pid"]
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: not _is_alive(first))
        await client.insert(ProcessArgs(do="record"))
        row = _row(await events.next(timeout=60))
    assert row.state is JobState.COMPLETED
    assert row.output["pid"] != first


@pytest.mark.parametrize("do", ["sleep with child", "spin"])
async def test_a_process_ends_with_its_client_even_if_that_is_killed(
    tmp_path: Path, do: str
) -> None:
    path = tmp_path / "told"
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.riverengine.process_parent", str(path), do)
    )
    pids = [int(pid) for pid in (await _told(path)).split()]
    assert all(_is_alive(pid) for pid in pids)
    parent.kill()
    await parent.wait()
    await wait_until(lambda: not any(_is_alive(pid) for pid in pids))


async def test_a_cancellation_from_outside_reaches_the_process(
    pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "told"
    async with started(pool, _worker(), AsyncWorker()) as client, client.subscribe() as events:
        for args in (ProcessArgs(do="sleep", path=str(path)), AsyncArgs(path=str(path))):
            job = (await client.insert(args)).job
            await _told(path, str.isdigit)
            await client.job_cancel(job.id)
            event = await events.next(timeout=60)
            assert event.kind is EventKind.JOB_CANCELLED
            assert path.read_text(encoding="utf-8").startswith("cancelled")


async def test_a_job_that_finishes_in_spite_of_its_cancellation_is_completed(
    pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "told"
    timeout = timedelta(seconds=2)
    row = _row(await _event(pool, ProcessArgs(do="finish", path=str(path)), timeout))
    assert row.state is JobState.COMPLETED


async def test_jobs_wait_for_a_free_process_before_their_timeout_counts(
    pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "told"
    working = started(pool, _worker(timedelta(seconds=2)), max_processes=1)
    async with working as client, client.subscribe() as events:
        blocker = ProcessArgs(do="finish", path=str(path))
        await client.insert(blocker, InsertOpts(priority=1, max_attempts=1))
        await _told(path)
        await client.insert(ProcessArgs(do="record"), InsertOpts(max_attempts=1))
        kinds = [(await events.next(timeout=60)).kind for _ in range(2)]
    assert kinds == [EventKind.JOB_COMPLETED] * 2


@dataclass(frozen=True)
class _LambdaArgs:
    kind: ClassVar[str] = "lambda"


async def test_a_worker_that_cannot_be_sent_is_refused_at_the_start(pool: asyncpg.Pool) -> None:
    def local(job: Job[_LambdaArgs]) -> None:
        return None

    worker = work_func(_LambdaArgs, local, process=True)
    config = Config(queues={"default": QueueConfig(max_workers=1)})
    client = Client(pool, config, workers=workers_of(worker))
    with pytest.raises(ConfigError, match="'lambda' cannot be sent"):
        await client.start()
    assert not client.is_started


async def test_args_that_cannot_be_sent_fail_their_attempt(pool: asyncpg.Pool) -> None:
    worker: Any = work_func(LockedArgs, work_anything, process=True)
    async with started(pool, worker) as client, client.subscribe() as events:
        await client.insert(LockedArgs(), InsertOpts(max_attempts=1))
        row = _row(await events.next(timeout=60))
    assert row.errors[0].error == str(WorkProcessSendError("TypeError"))


def work_anything(job: Job[Any]) -> None:
    """A worker for any args."""
