"""Deleting, cancelling and retrying many jobs by one call."""

from __future__ import annotations

from datetime import timedelta

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import job_many
from riverengine.queries.job_many import (
    JobCancelManyParams,
    JobCancelManyResult,
    JobDeleteManyParams,
    JobDeleteManyResult,
    JobRetryManyParams,
    JobRetryManyResult,
)
from riverengine.types.errors import UniqueConflictError

_TRIES_OF_A_RACE = 3


class JobManyApi(ClientCore):
    """The part of the client that changes many jobs.

    Each call is one transaction that changes at most ``limit`` jobs, all or none, by one statement.
    More than that are changed batch by batch, without holding locks in between::

        params = JobCancelManyParams(queues=["mail"], limit=1_000)
        while (result := await client.job_cancel_many(params)).last_id is not None:
            params = replace(params, after_id=result.last_id)

    timeout: how long the call's own transaction may last, 10 s for None; ``TimeoutError`` then.
    """

    async def job_delete_many(
        self,
        params: JobDeleteManyParams,
        *,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> JobDeleteManyResult:
        """Delete the first jobs that fit, running ones excepted, and return them.

        Jobs that another transaction holds are skipped.  Raises ``UnfilteredError`` or
        ``NamedArgError``, and changes nothing.
        """
        async with self.transaction(tx, timeout=_seconds(timeout)) as connection:
            return await job_many.job_delete_many(
                connection, schema=self.config.schema, params=params
            )

    async def job_cancel_many(
        self,
        params: JobCancelManyParams,
        *,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> JobCancelManyResult:
        """Cancel the first unfinished jobs that fit, each as :meth:`Client.job_cancel` would.

        Raises ``UnfilteredError`` or ``NamedArgError``, and changes nothing.
        """
        async with self.transaction(tx, timeout=_seconds(timeout)) as connection:
            return await job_many.job_cancel_many(
                connection,
                schema=self.config.schema,
                params=params,
                attempted_at=self.clock.now(),
            )

    async def job_retry_many(
        self,
        params: JobRetryManyParams,
        *,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> JobRetryManyResult:
        """Make the first jobs that fit available, each as :meth:`Client.job_retry` would.

        Jobs whose unique key another job holds are left as they are, and returned apart.  Raises
        ``UnfilteredError`` or ``NamedArgError``, and changes nothing; inside of ``tx``
        ``UniqueConflictError`` when a key is taken at that very moment.
        """
        tries = 0
        while True:
            try:
                async with self.transaction(tx, timeout=_seconds(timeout)) as connection:
                    return await job_many.job_retry_many(
                        connection, schema=self.config.schema, params=params
                    )
            except UniqueConflictError:
                # The job that took the key is visible to the next try, which leaves its rival be.
                tries += 1
                if tx is not None or tries == _TRIES_OF_A_RACE:
                    raise


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()
