"""Deleting, cancelling and retrying many jobs by one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import asyncpg

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import job_many
from riverengine.queries.conflicts import is_deadlock
from riverengine.queries.job_many import (
    JobCancelManyParams,
    JobCancelManyResult,
    JobDeleteManyParams,
    JobDeleteManyResult,
    JobRetryManyParams,
    JobRetryManyResult,
)
from riverengine.run.bounded_pool import TIMEOUT
from riverengine.types.errors import UniqueConflictError

_Result = TypeVar("_Result")


class JobManyApi(ClientCore):
    """The part of the client that changes many jobs.

    Each call is one transaction that changes at most ``limit`` jobs, all or none, by one statement.
    More than that are changed batch by batch, without holding locks in between::

        params = JobCancelManyParams(queues=["mail"], limit=1_000)
        while (result := await client.job_cancel_many(params)).last_id is not None:
            params = replace(params, after_id=result.last_id)

    timeout: how long the call may take, 10 s for None unless ``tx`` is given; ``TimeoutError``
    then. A deadlock with others is tried again.
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
        run = partial(job_many.job_delete_many, schema=self.config.schema, params=params)
        return await self._change(run, tx, timeout)

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
        run = partial(
            job_many.job_cancel_many,
            schema=self.config.schema,
            params=params,
            attempted_at=self.clock.now(),
        )
        return await self._change(run, tx, timeout)

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
        run = partial(job_many.job_retry_many, schema=self.config.schema, params=params)
        return await self._change(run, tx, timeout)

    async def _change(
        self,
        run: Callable[..., Awaitable[_Result]],
        tx: AsyncTransaction | None,
        timeout: timedelta | None,
    ) -> _Result:
        async def change() -> _Result:
            seconds = None if timeout is None else timeout.total_seconds()
            async with self._transaction(tx, timeout=seconds) as connection:
                if seconds is None and tx is None and isinstance(connection, asyncpg.Connection):
                    seconds = TIMEOUT
                # The server must know the limit too: left to itself it would work on, and keep
                # its locks.
                return await run(connection, timeout=seconds)

        return await self._again(change, tx, _lost_a_race)


def _lost_a_race(error: Exception) -> bool:
    return isinstance(error, UniqueConflictError) or is_deadlock(error)
