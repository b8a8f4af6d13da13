"""Looking at jobs, and cancelling, retrying, deleting and changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import job_admin
from riverengine.types.job import JobRow, JobState, Json
from riverengine.work.go_json import encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListParams:
    """Which jobs to list: those that fit every filter given, by id.

    metadata: an object the job's metadata contains.  after_id: those behind this id, the last of
    the page before.  limit: 1 to 10,000.
    """

    ids: Sequence[int] | None = None
    kinds: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    states: Sequence[JobState] | None = None
    priorities: Sequence[int] | None = None
    metadata: Mapping[str, Json] | None = None
    after_id: int | None = None
    descending: bool = False
    limit: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 10_000:
            raise ValueError("limit must be between 1 and 10,000")


class JobApi(ClientCore):
    """The part of the client that administers jobs."""

    async def job_get(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """The job; raises ``JobNotFoundError``."""
        return await job_admin.job_get(self.executor(tx), schema=self.config.schema, job_id=job_id)

    async def job_cancel(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """Cancel a job, and return it as it is then; raises ``JobNotFoundError``.

        A running job is still ``running`` in the result: its client cancels the work, and the
        worker's answer decides.  A final job stays as it is.
        """
        async with self.transaction(tx) as connection:
            return await job_admin.job_cancel(
                connection,
                schema=self.config.schema,
                job_id=job_id,
                attempted_at=self.clock.now(),
            )

    async def job_retry(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """Run a job again at once, whatever ended it; raises ``JobNotFoundError``.

        A running job stays as it is.  A job without attempts left gets one more.  Raises
        ``UniqueConflictError`` when another job took its unique key meanwhile.
        """
        async with self.transaction(tx) as connection:
            return await job_admin.job_retry(connection, schema=self.config.schema, job_id=job_id)

    async def job_delete(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """Delete a job and return it; raises ``JobNotFoundError`` or ``JobRunningError``."""
        async with self.transaction(tx) as connection:
            return await job_admin.job_delete(connection, schema=self.config.schema, job_id=job_id)

    async def job_update_output(
        self, job_id: int, output: Json, *, tx: AsyncTransaction | None = None
    ) -> JobRow:
        """Store a job's output, in any state; raises ``JobNotFoundError``."""
        return await job_admin.job_update_metadata(
            self.executor(tx),
            schema=self.config.schema,
            job_id=job_id,
            metadata_json=encode_json({"output": output}, "output"),
        )

    async def job_list(
        self, params: JobListParams | None = None, *, tx: AsyncTransaction | None = None
    ) -> list[JobRow]:
        """Jobs by id; all, up to the limit, without ``params``."""
        given = params or JobListParams()
        return await job_admin.job_list(
            self.executor(tx),
            schema=self.config.schema,
            ids=given.ids,
            kinds=given.kinds,
            queues=given.queues,
            states=given.states,
            priorities=given.priorities,
            metadata_json=None if given.metadata is None else encode_json(given.metadata),
            after_id=given.after_id,
            descending=given.descending,
            limit=given.limit,
        )
