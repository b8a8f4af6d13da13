"""Lists of jobs, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from riverengine.client.core import ClientCore
from riverengine.drivers import AsyncTransaction
from riverengine.queries import job_count, job_list, job_many
from riverengine.queries.job_count import JobCountByQueueAndState, QueueStats
from riverengine.queries.job_filter import JobFilter
from riverengine.queries.job_list import JobListParams, JobListResult
from riverengine.types.job import JobState


class JobListApi(ClientCore):
    """The part of the client that looks at many jobs. Every method reads only.

    timeout: how long the statement may take, 10 s for None; ``TimeoutError`` then.  Other drivers
    than asyncpg have settings of their own for that, and take none here.
    """

    async def job_list(
        self,
        params: JobListParams | None = None,
        *,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> JobListResult:
        """A page of jobs: by id and up to 100, of all states, without ``params``.

        The next page starts at the result's ``last_cursor``; a page may hold fewer jobs than its
        limit only when it is the last.  Raises ``NamedArgError``.
        """
        return await job_list.job_list(
            await self.executor(tx),
            schema=self.config.schema,
            params=params or JobListParams(),
            timeout=_seconds(timeout),
        )

    async def job_count(
        self,
        filters: JobFilter | None = None,
        *,
        at_most: int | None = None,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> int:
        """How many jobs fit; all jobs without ``filters``.

        at_most: stop counting there; the number then means "that many or more".  Raises
        ``NamedArgError`` or ``InvalidParamsError``.
        """
        return await job_many.job_count(
            await self.executor(tx),
            schema=self.config.schema,
            filters=filters or JobFilter(),
            at_most=at_most,
            timeout=_seconds(timeout),
        )

    async def job_count_by_state(
        self,
        *,
        at_most: int | None = None,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> dict[JobState, int]:
        """How many jobs each of the eight states has.

        at_most: count no state further, which makes it quick on a big table; that number then means
        "that many or more".  Raises ``InvalidParamsError``.
        """
        return await job_count.job_count_by_state(
            await self.executor(tx),
            schema=self.config.schema,
            at_most=at_most,
            timeout=_seconds(timeout),
        )

    async def job_count_by_queue_and_state(
        self,
        queues: Sequence[str],
        *,
        at_most: int | None = None,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> list[JobCountByQueueAndState]:
        """Available and running jobs of the queues named, one element each, by name.

        Available jobs may be due a few seconds later only.  at_most: as for
        :meth:`job_count_by_state`.
        """
        return await job_count.job_count_by_queue_and_state(
            await self.executor(tx),
            schema=self.config.schema,
            queues=queues,
            at_most=at_most,
            timeout=_seconds(timeout),
        )

    async def queue_stats(
        self,
        queues: Sequence[str] | None = None,
        *,
        at_most: int | None = None,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> list[QueueStats]:
        """Depth and latency of queues, by name.

        queues: None for all that have a row or an available job: one that no client works shows,
        too.  at_most: as for :meth:`job_count_by_state`.
        """
        return await job_count.queue_stats(
            await self.executor(tx),
            schema=self.config.schema,
            queues=queues,
            at_most=at_most,
            timeout=_seconds(timeout),
        )

    async def job_kind_list(
        self,
        *,
        after: str = "",
        match: str = "",
        exclude: Sequence[str] = (),
        limit: int = 100,
        tx: AsyncTransaction | None = None,
        timeout: timedelta | None = None,
    ) -> list[str]:
        """Kinds of the jobs in the database, by name.

        after: those behind this kind.  match: those containing this text, in any case; ``%`` and
        ``_`` are wildcards.  exclude: not these.  limit: 1 to 10,000.
        """
        return await job_count.job_kind_list(
            await self.executor(tx),
            schema=self.config.schema,
            after=after,
            match=match,
            exclude=exclude,
            limit=limit,
            timeout=_seconds(timeout),
        )


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()
