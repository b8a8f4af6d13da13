"""Progress of resumable steps written in the caller's transaction.

Source: resumable_step_tx.go at v0.51.1. One deviation: an attempt that lost its job is refused, so
that a late one cannot move the progress of the attempt after it.
"""

from __future__ import annotations

from typing import TypeVar

from riverengine.drivers import AsyncTransaction
from riverengine.drivers.recognise import async_transaction
from riverengine.queries.job_checkpoint import job_checkpoint
from riverengine.types.errors import (
    JobNotRunningError,
)
from riverengine.types.job import JobState
from riverengine.types.work_errors import (
    ResumableCheckpointError,
    ResumableUsageError,
)
from riverengine.work.context import client_from_context
from riverengine.work.go_json import RawJson, encode_json
from riverengine.work.resumable import (
    CURSOR_KEY,
    STEP_KEY,
    VALUE_KEY,
    encode_cursor,
    resumable_state_in_step,
)
from riverengine.work.worker import Job

ArgsT = TypeVar("ArgsT")


async def resumable_set_step_tx(
    tx: AsyncTransaction, job: Job[ArgsT], *, value: object = None
) -> Job[ArgsT]:
    """Record the current step as done, together with the caller's own changes.

    value: of a step that keeps one (:func:`resumable_step_value`), what it will return.

    Call it inside of a resumable step, with the job given to the worker, and commit ``tx`` before
    the step ends; let a failed commit fail the step. Later attempts then skip the step even if this
    process dies. Returns the job as stored.

    Raises ``ResumableUsageError`` outside of a step, ``ResumableCheckpointError`` while a cursor of
    an earlier attempt waits for its step, ``JobNotRunningError`` when the attempt lost the job;
    roll ``tx`` back then.
    """
    return await _checkpoint(tx, job, None, value)


async def resumable_set_step_cursor_tx(
    tx: AsyncTransaction, job: Job[ArgsT], cursor: object
) -> Job[ArgsT]:
    """Record the current step and how far it got, together with the caller's own changes.

    A later attempt skips the steps before and runs this one with ``cursor``. Otherwise as
    :func:`resumable_set_step_tx`.
    """
    return await _checkpoint(tx, job, encode_cursor(cursor))


async def _checkpoint(
    tx: AsyncTransaction, job: Job[ArgsT], cursor: RawJson | None, value: object = None
) -> Job[ArgsT]:
    if job.row.state is not JobState.RUNNING:
        raise JobNotRunningError(job.row.id, job.row.attempt)
    state = resumable_state_in_step()
    if state is None:
        raise ResumableUsageError(
            "not inside a resumable step; must be called from within ResumableStep or "
            "ResumableStepCursor"
        )
    if state.pending:
        raise ResumableCheckpointError(state.pending[0])
    cursors = dict(state.cursors)
    if cursor is not None:
        cursors[state.step_name] = cursor
    written: dict[str, object] = {STEP_KEY: state.step_name, CURSOR_KEY: cursors or None}
    values = dict(state.values)
    if value is not None:
        values[state.step_name] = encode_cursor(value)
    if values:
        written[VALUE_KEY] = values
    stored = await job_checkpoint(
        await async_transaction(tx),
        schema=client_from_context().config.schema,
        row=job.row,
        metadata_json=encode_json(written),
    )
    # The database owns this progress, and its rollback: only what comes later belongs to the
    # attempt's end, which could otherwise store work that was rolled back.
    state.completed_step = ""
    state.cursors = cursors
    state.cursors_changed = False
    return Job(stored, job.args)
