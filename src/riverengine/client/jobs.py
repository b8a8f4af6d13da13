"""Looking at single jobs, and cancelling, retrying, deleting and changing them."""

from __future__ import annotations

from enum import Enum

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import job_admin
from riverengine.types.job import JobRow, Json
from riverengine.work.context import encode_output, recorded_metadata


class Unset(Enum):
    """Tells a value that was not given from None, which JSON can hold."""

    UNSET = "unset"


class JobApi(ClientCore):
    """The part of the client that administers single jobs."""

    async def job_get(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """The job; raises ``JobNotFoundError``."""
        return await job_admin.job_get(
            await self.executor(tx), schema=self.config.schema, job_id=job_id
        )

    async def job_cancel(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """Cancel a job, and return it as it is then; raises ``JobNotFoundError``.

        A running job is still ``running`` in the result: its client cancels the work, and the
        worker's answer decides.  A final job stays as it is.
        """
        async with self._transaction(tx) as connection:
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
        async with self._transaction(tx) as connection:
            return await job_admin.job_retry(connection, schema=self.config.schema, job_id=job_id)

    async def job_delete(self, job_id: int, *, tx: AsyncTransaction | None = None) -> JobRow:
        """Delete a job and return it; raises ``JobNotFoundError`` or ``JobRunningError``."""
        async with self._transaction(tx) as connection:
            return await job_admin.job_delete(connection, schema=self.config.schema, job_id=job_id)

    async def job_update(
        self,
        job_id: int,
        *,
        output: Json | Unset = Unset.UNSET,
        tx: AsyncTransaction | None = None,
    ) -> JobRow:
        """Store a job's output, in any state, and return it; raises ``JobNotFoundError``.

        output: left out, it is what the job being worked recorded by ``record_output``: stored at
        once rather than at its end; outside of a job, or before anything was recorded, nothing
        changes. Raises ``ArgsEncodeError`` for values JSON cannot hold and ``ValueError`` above
        32 MiB.
        """
        metadata = "{}"
        if not isinstance(output, Unset):
            metadata = f'{{"output":{encode_output(output)}}}'
        elif "output" in (recorded := recorded_metadata()):
            metadata = f'{{"output":{encode_output(recorded["output"])}}}'
        return await job_admin.job_update_metadata(
            await self.executor(tx),
            schema=self.config.schema,
            job_id=job_id,
            metadata_json=metadata,
        )
