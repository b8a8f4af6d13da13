"""For workers that are plain functions: the job's end and its progress in their own transaction.

They run in threads, with transactions of synchronous libraries, and write what the asynchronous
counterparts write, on the caller's connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from riverengine.client.resumable import resumable_set_step_cursor_tx, resumable_set_step_tx
from riverengine.drivers import SyncTransaction
from riverengine.drivers.recognise import sync_executor
from riverengine.sync_client.stepping import run_to_end
from riverengine.types.job import JobRow, Json
from riverengine.work.context import client_from_context
from riverengine.work.outcome import Completed, Outcome
from riverengine.work.worker import Job

ArgsT = TypeVar("ArgsT")


def job_finish_tx_sync(
    tx: SyncTransaction,
    job: Job[Any],
    outcome: Outcome,
    *,
    metadata: Mapping[str, Json] | None = None,
) -> JobRow:
    """Write the outcome of the running job together with the caller's own changes.

    tx: a psycopg ``Connection``, a SQLAlchemy ``Session`` or ``Connection``, a Django connection or
    its alias.  Otherwise as :meth:`riverengine.Client.job_finish_tx`; raises ``NotInJobError``
    outside of a job.
    """
    client = client_from_context()
    return run_to_end(client.job_finish_tx(sync_executor(tx), job, outcome, metadata=metadata))


def job_complete_tx_sync(
    tx: SyncTransaction, job: Job[Any], *, metadata: Mapping[str, Json] | None = None
) -> JobRow:
    """Complete the running job together with the caller's own changes.

    As :func:`job_finish_tx_sync`.
    """
    return job_finish_tx_sync(tx, job, Completed(), metadata=metadata)


def resumable_set_step_tx_sync(
    tx: SyncTransaction, job: Job[ArgsT], *, value: object = None
) -> Job[ArgsT]:
    """Record the current step as done, together with the caller's own changes.

    As :func:`riverengine.resumable_set_step_tx`.
    """
    return run_to_end(resumable_set_step_tx(sync_executor(tx), job, value=value))


def resumable_set_step_cursor_tx_sync(
    tx: SyncTransaction, job: Job[ArgsT], cursor: object
) -> Job[ArgsT]:
    """Record the current step and how far it got, together with the caller's own changes.

    As :func:`riverengine.resumable_set_step_cursor_tx`.
    """
    return run_to_end(resumable_set_step_cursor_tx(sync_executor(tx), job, cursor))
