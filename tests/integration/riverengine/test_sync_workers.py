"""Plain functions finish their jobs and keep their progress in their libraries' transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
import sqlalchemy.orm

from riverengine import (
    EventKind,
    InsertOpts,
    Job,
    JobState,
    NotInJobError,
    Snoozed,
    Worker,
    job_complete_tx_sync,
    job_finish_tx_sync,
    record_output,
    resumable_set_step_cursor_tx_sync,
    resumable_set_step_tx_sync,
    resumable_step_cursor_sync,
    resumable_step_sync,
    work_func,
)
from tests.integration.riverengine.working import NoteArgs, ended, started, stored


@contextmanager
def _psycopg(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url) as connection:
        yield connection


@contextmanager
def _sqlalchemy(url: str) -> Iterator[sqlalchemy.orm.Session]:
    engine = sqlalchemy.create_engine(url.replace("postgres", "postgresql+psycopg", 1))
    try:
        with sqlalchemy.orm.Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@pytest.fixture(params=[_psycopg, _sqlalchemy], ids=["psycopg", "sqlalchemy"])
def open_tx(request: pytest.FixtureRequest, database_url: str) -> Any:
    """Opens a transaction of a library, committed at the end of its block."""
    url = database_url.replace("postgresql://", "postgres://", 1)
    return lambda: request.param(url)


def _write(tx: Any) -> None:
    statement = "INSERT INTO river_queue (name, updated_at) VALUES ('mine', now())"
    if isinstance(tx, sqlalchemy.orm.Session):
        tx.execute(sqlalchemy.text(statement))
    else:
        tx.execute(statement)


@pytest.mark.parametrize("commit", [True, False])
async def test_a_job_ends_with_the_worker_s_own_changes(
    pool: asyncpg.Pool, open_tx: Any, commit: bool
) -> None:
    def work(job: Job[NoteArgs]) -> None:
        record_output("kept")
        with open_tx() as tx:
            _write(tx)
            assert job_complete_tx_sync(tx, job).state is JobState.COMPLETED
            if not commit:
                raise ValueError("rolled back")
        raise ValueError("behind the commit")

    worker: Worker[NoteArgs] = work_func(NoteArgs, work)
    async with started(pool, worker) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(), InsertOpts(max_attempts=1))).job
        event = (await ended(events))[0]
    row = await stored(pool, job.id)
    mine = await pool.fetchval("SELECT count(*) FROM river_queue WHERE name = 'mine'")
    if commit:
        assert (row.state, row.output, row.errors, mine) == (JobState.COMPLETED, "kept", (), 1)
        assert event.kind is EventKind.JOB_COMPLETED
    else:
        assert (row.state, row.errors[0].error, mine) == (
            JobState.DISCARDED,
            "ValueError: rolled back",
            0,
        )


async def test_a_job_snoozes_in_the_worker_s_transaction(pool: asyncpg.Pool, open_tx: Any) -> None:
    def work(job: Job[NoteArgs]) -> None:
        with open_tx() as tx:
            job_finish_tx_sync(tx, job, Snoozed(timedelta(hours=1)))

    worker: Worker[NoteArgs] = work_func(NoteArgs, work)
    async with started(pool, worker) as client, client.subscribe() as events:
        await client.insert(NoteArgs())
        assert (await ended(events))[0].kind is EventKind.JOB_SNOOZED


async def test_progress_is_kept_in_the_worker_s_transaction(
    pool: asyncpg.Pool, open_tx: Any
) -> None:
    def work(job: Job[NoteArgs]) -> None:
        def first() -> None:
            with open_tx() as tx:
                _write(tx)
                resumable_set_step_tx_sync(tx, job)

        def second(cursor: int) -> None:
            with open_tx() as tx:
                marked = resumable_set_step_cursor_tx_sync(tx, job, 7)
                assert marked.row.metadata["river:resumable_step"] == "second"
            raise ValueError("behind the commit")

        resumable_step_sync("first", first)
        resumable_step_cursor_sync("second", second, 0)

    worker: Worker[NoteArgs] = work_func(NoteArgs, work)
    async with started(pool, worker) as client, client.subscribe() as events:
        job = (await client.insert(NoteArgs(), InsertOpts(max_attempts=1))).job
        await ended(events)
    assert (await stored(pool, job.id)).metadata == {
        "river:resumable_step": "second",
        "river:resumable_cursor": {"second": 7},
    }


def test_outside_of_a_job_there_is_nothing_to_finish(open_tx: Any) -> None:
    with open_tx() as tx, pytest.raises(NotInJobError):
        job_complete_tx_sync(tx, Job(None, NoteArgs()))  # type: ignore[arg-type]
