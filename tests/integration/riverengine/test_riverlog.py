"""Logs of attempts, as they are stored with their jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TextIO

import asyncpg
import pytest

from riverengine import InsertOpts, Job, JobSnooze, Json, Worker, WorkerMiddleware, riverlog
from tests.integration.riverengine.working import (
    NoteArgs,
    NoteWorker,
    ended,
    started,
    stored,
    wait_until,
)


def _plain(stream: TextIO) -> logging.Handler:
    """A handler without times, so that tests can compare."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return handler


async def _log_of(
    pool: asyncpg.Pool,
    worker: Worker[Any],
    middleware: WorkerMiddleware,
    metadata: dict[str, Json] | None = None,
) -> Json:
    """Work one job and return its metadata."""
    working = started(pool, worker, middleware=[middleware])
    async with working as client, client.subscribe() as events:
        opts = InsertOpts(max_attempts=1, metadata=metadata or {})
        job = (await client.insert(NoteArgs(), opts)).job
        await ended(events)
    return (await stored(pool, job.id)).metadata


async def test_what_an_attempt_logs_is_stored_with_the_job(pool: asyncpg.Pool) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        riverlog.logger().info("hello %s", "<Ann>")
        riverlog.logger().debug("not wanted")
        await asyncio.create_task(_log_in_task())

    async def _log_in_task() -> None:
        riverlog.logger().warning("from a task")

    metadata = await _log_of(pool, NoteWorker(run), riverlog.Middleware(_plain))
    assert metadata == {
        "river:log": [{"attempt": 1, "log": "INFO hello <Ann>\nWARNING from a task\n"}]
    }


async def test_an_attempt_that_logs_nothing_stores_nothing(pool: asyncpg.Pool) -> None:
    assert await _log_of(pool, NoteWorker(), riverlog.Middleware()) == {}


async def test_lines_have_time_and_level_unless_told_otherwise(pool: asyncpg.Pool) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        riverlog.logger().debug("detail")

    metadata = await _log_of(pool, NoteWorker(run), riverlog.Middleware(level=logging.DEBUG))
    line = metadata["river:log"][0]["log"]
    moment, level, message = line.rstrip("\n").split(" ")
    assert (len(moment), moment[-1], level, message) == (20, "Z", "DEBUG", "detail")


@pytest.mark.parametrize("error", [None, ValueError("no"), JobSnooze(timedelta(hours=1))])
async def test_each_attempt_has_its_log_however_it_ends(
    pool: asyncpg.Pool, error: BaseException | None
) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        riverlog.logger().info("attempt %d", job.row.attempt)
        if error is not None:
            raise error

    earlier = [{"attempt": 0, "log": "before\n", "more": 1}]
    metadata = await _log_of(
        pool, NoteWorker(run), riverlog.Middleware(_plain), {"river:log": earlier, "mine": 1}
    )
    assert metadata | {"snoozes": 1} == {
        "mine": 1,
        "snoozes": 1,
        "river:log": [*earlier, {"attempt": 1, "log": "INFO attempt 1\n"}],
    }


async def test_threads_log_into_their_job(pool: asyncpg.Pool) -> None:
    class Threaded(Worker[NoteArgs]):
        def work(self, job: Job[NoteArgs]) -> None:
            riverlog.logger().info("in a thread")

    metadata = await _log_of(pool, Threaded(), riverlog.Middleware(_plain))
    assert metadata["river:log"][0]["log"] == "INFO in a thread\n"


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """A logger of some library, with riverlog's handler."""
    logger, handler = logging.getLogger("tests.library"), riverlog.Handler()
    logger.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    yield logger
    logging.getLogger().removeHandler(handler)
    logger.setLevel(logging.NOTSET)


async def test_other_loggers_are_kept_by_the_handler_once(
    pool: asyncpg.Pool, library: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    library.warning("outside of any job")

    async def run(job: Job[NoteArgs]) -> None:
        library.info("of the library")
        riverlog.logger().info("of the job")

    metadata = await _log_of(pool, NoteWorker(run), riverlog.Middleware(_plain))
    assert metadata["river:log"][0]["log"] == "INFO of the library\nINFO of the job\n"
    # What a job logs is among the process's logs as well.
    assert "of the job" in caplog.messages


async def test_jobs_that_run_together_keep_their_logs_apart(
    pool: asyncpg.Pool, library: logging.Logger
) -> None:
    both = asyncio.Barrier(2)

    async def run(job: Job[NoteArgs]) -> None:
        await both.wait()
        library.info("one of %s", job.args.text)
        await both.wait()
        riverlog.logger().info("two of %s", job.args.text)

    working = started(pool, NoteWorker(run), middleware=[riverlog.Middleware(_plain)])
    async with working as client, client.subscribe() as events:
        await client.insert_many([NoteArgs(text="a"), NoteArgs(text="b")])
        for event in await ended(events, 2):
            assert event.job is not None
            text = event.job.args["text"]
            assert event.job.metadata["river:log"] == [
                {"attempt": 1, "log": f"INFO one of {text}\nINFO two of {text}\n"}
            ]


async def test_a_log_after_the_attempt_s_end_is_not_kept(pool: asyncpg.Pool) -> None:
    kept: list[logging.Logger] = []

    async def run(job: Job[NoteArgs]) -> None:
        kept.append(riverlog.logger())
        kept[0].info("in time")

    metadata = await _log_of(pool, NoteWorker(run), riverlog.Middleware(_plain))
    kept[0].info("too late")
    assert metadata["river:log"] == [{"attempt": 1, "log": "INFO in time\n"}]


async def test_another_library_writes_into_the_stream(pool: asyncpg.Pool) -> None:
    stream: ContextVar[TextIO] = ContextVar("stream")

    async def run(job: Job[NoteArgs]) -> None:
        assert riverlog.logger_or_none() is None
        print("by print", file=stream.get())

    metadata = await _log_of(pool, NoteWorker(run), riverlog.Middleware.custom(stream.set))
    assert metadata["river:log"] == [{"attempt": 1, "log": "by print\n"}]


async def test_structlog_s_events_are_kept(pool: asyncpg.Pool) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        event = {"event": "paid", "amount": 3, "timestamp": "2026-01-01T00:00:00Z", "level": "info"}
        assert riverlog.structlog_processor(None, "info", dict(event)) == event

    metadata = await _log_of(pool, NoteWorker(run), riverlog.Middleware(_plain))
    assert metadata["river:log"][0]["log"] == "2026-01-01T00:00:00Z INFO paid amount=3\n"


async def test_logs_are_cut_and_the_oldest_dropped(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        riverlog.logger().info("x" * 200)

    middleware = riverlog.Middleware(_plain, max_size_bytes=100, max_total_bytes=200)
    earlier = [{"attempt": -1, "log": "y" * 100}, {"attempt": 0, "log": "z" * 20}]
    metadata = await _log_of(pool, NoteWorker(run), middleware, {"river:log": earlier})
    assert metadata["river:log"] == [earlier[1], {"attempt": 1, "log": "INFO " + "x" * 95}]
    warnings = [each.getMessage() for each in caplog.records if each.name == riverlog.__name__]
    assert len(warnings) == 2


async def test_a_key_that_holds_no_array_is_left_alone(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(job: Job[NoteArgs]) -> None:
        riverlog.logger().info("lost")

    metadata = await _log_of(
        pool, NoteWorker(run), riverlog.Middleware(_plain), {"river:log": {"mine": True}}
    )
    assert metadata == {"river:log": {"mine": True}}
    await wait_until(lambda: any("is lost" in message for message in caplog.messages))
