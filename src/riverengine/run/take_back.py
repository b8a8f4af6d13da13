"""Takes back the jobs of a dead process; one that cannot be changed costs only itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import asyncpg

from riverengine.queries.client import TakenBack, job_left_running, job_take_back
from riverengine.run.refusals import Verdict, verdict_of
from riverengine.types.job import JobId

SEARCH_SECONDS = 5.0
"""How long to look for the jobs that are refused; the next look goes on."""


async def take_back(
    connection: asyncpg.Connection,
    *,
    schema: str | None,
    client_id: str,
    before: datetime | None = None,
    max_deaths: int,
    logger: logging.Logger,
) -> TakenBack:
    """As :func:`job_take_back`, in the connection's transaction where it has one.

    When a trigger or a constraint refuses the statement, the jobs are halved until those that are
    refused stand alone; they stay running, for a later call.
    """
    take = partial(
        job_take_back,
        connection,
        schema=schema,
        client_id=client_id,
        before=before,
        max_deaths=max_deaths,
    )
    try:
        return await _surviving(connection, take)
    except asyncpg.PostgresError as error:
        if verdict_of(error) is Verdict.LATER:
            raise
    jobs: list[JobId] = []
    set_aside: list[JobId] = []
    refused: list[JobId] = []
    parts = [await job_left_running(connection, schema=schema, client_id=client_id, before=before)]
    until = asyncio.get_running_loop().time() + SEARCH_SECONDS
    while parts and asyncio.get_running_loop().time() < until:
        part = parts.pop()
        try:
            taken = await _surviving(connection, partial(take, ids=part))
        except asyncpg.PostgresError as error:
            if verdict_of(error) is Verdict.LATER:
                raise
            if len(part) > 1:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
                continue
            refused += part
            logger.warning(
                "job %d of dead client %s cannot be taken back (%s); a later look tries again",
                *(part[0], client_id, type(error).__name__),
            )
        else:
            jobs += taken.jobs
            set_aside += taken.set_aside
    return TakenBack(jobs, set_aside, refused)


async def _surviving(
    connection: asyncpg.Connection, take: Callable[[], Awaitable[TakenBack]]
) -> TakenBack:
    """The result of a statement whose failure leaves the caller's transaction as it was."""
    if not connection.is_in_transaction():
        return await take()
    async with connection.transaction():  # a savepoint
        return await take()
