"""The synchronous client: the asynchronous one's inserts and administration, run without a loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from riverengine.client.insert import InsertManyParams
from riverengine.client.insert_client import AdminClient
from riverengine.client.jobs import Unset
from riverengine.config import Config
from riverengine.drivers import DriverExecutor, SyncSource, SyncTransaction
from riverengine.drivers.recognise import sync_database, sync_executor
from riverengine.insert.options import InsertOpts
from riverengine.queries.job_count import JobCountByQueueAndState, QueueStats
from riverengine.queries.job_filter import JobFilter
from riverengine.queries.job_list import JobListParams, JobListResult
from riverengine.queries.job_many import (
    JobCancelManyParams,
    JobCancelManyResult,
    JobDeleteManyParams,
    JobDeleteManyResult,
    JobRetryManyParams,
    JobRetryManyResult,
)
from riverengine.run.clock import Clock
from riverengine.sync_client.stepping import run_to_end
from riverengine.types.insert import InsertResult
from riverengine.types.job import JobRow, JobState, Json
from riverengine.types.queue import Queue


class SyncClient:
    """Inserts and administers jobs from synchronous code; it works none.

    Every method takes ``tx``, the caller's open transaction: a psycopg ``Connection``, a SQLAlchemy
    ``Session`` or ``Connection``, a Django connection or its alias. The job appears, and workers
    are told, when the caller commits. No savepoint is made: after an error of the database the
    caller's transaction is aborted. Without ``tx`` each call is a transaction of its own, taken
    from ``source``.

    Where the asynchronous client's methods take a ``timeout``, these do not: set one on the
    connection. Threads may share a client; of the connections each needs its own.

    Example::

        client = SyncClient()
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO users (email) VALUES (%s)", [email])
            client.insert(WelcomeArgs(email=email), tx=connection)
    """

    def __init__(
        self,
        source: SyncSource | None = None,
        config: Config | None = None,
        *,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        """source: a SQLAlchemy ``Engine``, a Django alias or connection, or a function that gives a
        psycopg connection as a context manager (``pool.connection``, ``lambda:
        psycopg.connect(url)``); a connection or session itself is used while it is idle.  None:
        only callers' transactions.  config: of its settings, those on inserts and the schema count.

        Raises ``UnsupportedDriverError``.
        """
        self._client = AdminClient(
            None if source is None else sync_database(source), config, logger=logger, clock=clock
        )
        self.config: Config = self._client.config

    # Insert

    def insert(
        self, args: object, opts: InsertOpts | None = None, *, tx: SyncTransaction | None = None
    ) -> InsertResult:
        """Insert one job. As :meth:`riverengine.Client.insert`."""
        return run_to_end(self._client.insert(args, opts, tx=_executor(tx)))

    def insert_many(
        self, jobs: Sequence[object | InsertManyParams], *, tx: SyncTransaction | None = None
    ) -> list[InsertResult]:
        """Insert jobs by one statement. As :meth:`riverengine.Client.insert_many`."""
        return run_to_end(self._client.insert_many(jobs, tx=_executor(tx)))

    def insert_many_fast(
        self, jobs: Sequence[object | InsertManyParams], *, tx: SyncTransaction | None = None
    ) -> int:
        """Insert jobs by COPY, or by INSERT through SQLAlchemy, and return their number.

        As :meth:`riverengine.Client.insert_many_fast`.
        """
        return run_to_end(self._client.insert_many_fast(jobs, tx=_executor(tx)))

    # Jobs

    def job_get(self, job_id: int, *, tx: SyncTransaction | None = None) -> JobRow:
        """The job; raises ``JobNotFoundError``."""
        return run_to_end(self._client.job_get(job_id, tx=_executor(tx)))

    def job_cancel(self, job_id: int, *, tx: SyncTransaction | None = None) -> JobRow:
        """Cancel a job. As :meth:`riverengine.Client.job_cancel`."""
        return run_to_end(self._client.job_cancel(job_id, tx=_executor(tx)))

    def job_retry(self, job_id: int, *, tx: SyncTransaction | None = None) -> JobRow:
        """Run a job again at once. As :meth:`riverengine.Client.job_retry`."""
        return run_to_end(self._client.job_retry(job_id, tx=_executor(tx)))

    def job_delete(self, job_id: int, *, tx: SyncTransaction | None = None) -> JobRow:
        """Delete a job and return it; raises ``JobNotFoundError`` or ``JobRunningError``."""
        return run_to_end(self._client.job_delete(job_id, tx=_executor(tx)))

    def job_update(
        self,
        job_id: int,
        *,
        output: Json | Unset = Unset.UNSET,
        tx: SyncTransaction | None = None,
    ) -> JobRow:
        """Store a job's output. As :meth:`riverengine.Client.job_update`."""
        return run_to_end(self._client.job_update(job_id, output=output, tx=_executor(tx)))

    def job_list(
        self, params: JobListParams | None = None, *, tx: SyncTransaction | None = None
    ) -> JobListResult:
        """A page of jobs. As :meth:`riverengine.Client.job_list`."""
        return run_to_end(self._client.job_list(params, tx=_executor(tx)))

    def job_count(
        self,
        filters: JobFilter | None = None,
        *,
        at_most: int | None = None,
        tx: SyncTransaction | None = None,
    ) -> int:
        """How many jobs fit. As :meth:`riverengine.Client.job_count`."""
        return run_to_end(self._client.job_count(filters, at_most=at_most, tx=_executor(tx)))

    def job_count_by_state(
        self, *, at_most: int | None = None, tx: SyncTransaction | None = None
    ) -> dict[JobState, int]:
        """How many jobs each state has. As :meth:`riverengine.Client.job_count_by_state`."""
        return run_to_end(self._client.job_count_by_state(at_most=at_most, tx=_executor(tx)))

    def job_count_by_queue_and_state(
        self,
        queues: Sequence[str],
        *,
        at_most: int | None = None,
        tx: SyncTransaction | None = None,
    ) -> list[JobCountByQueueAndState]:
        """Available and running jobs of queues.

        As :meth:`riverengine.Client.job_count_by_queue_and_state`.
        """
        return run_to_end(
            self._client.job_count_by_queue_and_state(queues, at_most=at_most, tx=_executor(tx))
        )

    def job_delete_many(
        self, params: JobDeleteManyParams, *, tx: SyncTransaction | None = None
    ) -> JobDeleteManyResult:
        """Delete the first jobs that fit. As :meth:`riverengine.Client.job_delete_many`."""
        return run_to_end(self._client.job_delete_many(params, tx=_executor(tx)))

    def job_cancel_many(
        self, params: JobCancelManyParams, *, tx: SyncTransaction | None = None
    ) -> JobCancelManyResult:
        """Cancel the first jobs that fit. As :meth:`riverengine.Client.job_cancel_many`."""
        return run_to_end(self._client.job_cancel_many(params, tx=_executor(tx)))

    def job_retry_many(
        self, params: JobRetryManyParams, *, tx: SyncTransaction | None = None
    ) -> JobRetryManyResult:
        """Retry the first jobs that fit. As :meth:`riverengine.Client.job_retry_many`."""
        return run_to_end(self._client.job_retry_many(params, tx=_executor(tx)))

    def job_kind_list(
        self,
        *,
        after: str = "",
        match: str = "",
        exclude: Sequence[str] = (),
        limit: int = 100,
        tx: SyncTransaction | None = None,
    ) -> list[str]:
        """Kinds of the jobs. As :meth:`riverengine.Client.job_kind_list`."""
        return run_to_end(
            self._client.job_kind_list(
                after=after, match=match, exclude=exclude, limit=limit, tx=_executor(tx)
            )
        )

    # Queues

    def queue_get(self, name: str, *, tx: SyncTransaction | None = None) -> Queue:
        """The queue; raises ``QueueNotFoundError``."""
        return run_to_end(self._client.queue_get(name, tx=_executor(tx)))

    def queue_list(self, *, limit: int = 100, tx: SyncTransaction | None = None) -> list[Queue]:
        """Queues by name. limit: 1 to 10,000."""
        return run_to_end(self._client.queue_list(limit=limit, tx=_executor(tx)))

    def queue_name_list(
        self,
        *,
        after: str = "",
        match: str = "",
        exclude: Sequence[str] = (),
        limit: int = 100,
        tx: SyncTransaction | None = None,
    ) -> list[str]:
        """Names of queues. As :meth:`riverengine.Client.queue_name_list`."""
        return run_to_end(
            self._client.queue_name_list(
                after=after, match=match, exclude=exclude, limit=limit, tx=_executor(tx)
            )
        )

    def queue_stats(
        self,
        queues: Sequence[str] | None = None,
        *,
        at_most: int | None = None,
        tx: SyncTransaction | None = None,
    ) -> list[QueueStats]:
        """Depth and latency of queues. As :meth:`riverengine.Client.queue_stats`."""
        return run_to_end(self._client.queue_stats(queues, at_most=at_most, tx=_executor(tx)))

    def queue_pause(self, name: str, *, tx: SyncTransaction | None = None) -> None:
        """Let every client stop fetching from the queue, or from all with ``*``."""
        run_to_end(self._client.queue_pause(name, tx=_executor(tx)))

    def queue_resume(self, name: str, *, tx: SyncTransaction | None = None) -> None:
        """Let every client fetch again from the queue, or from all with ``*``."""
        run_to_end(self._client.queue_resume(name, tx=_executor(tx)))

    def queue_update(
        self,
        name: str,
        *,
        metadata: Mapping[str, Json] | str | None = None,
        tx: SyncTransaction | None = None,
    ) -> Queue:
        """Replace the queue's metadata, unless None; raises ``QueueNotFoundError``."""
        return run_to_end(self._client.queue_update(name, metadata=metadata, tx=_executor(tx)))


def _executor(tx: SyncTransaction | None) -> DriverExecutor | None:
    return None if tx is None else sync_executor(tx)
