"""Takes back the jobs of a dead process; one that cannot be changed costs only itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import asyncpg

from riverengine.queries.client import TakenBack, job_left_running, job_take_back
from riverengine.run.refusals import Verdict, by_halves, verdict_of


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
    ids = await job_left_running(connection, schema=schema, client_id=client_id, before=before)
    taken, refused = await by_halves(
        ids, lambda part: _surviving(connection, partial(take, ids=part))
    )
    if refused:
        first, reason = refused[0]
        logger.warning(
            "%d job(s) of dead client %s cannot be taken back, job %d among them (%s); "
            "a later look tries again",
            *(len(refused), client_id, first, type(reason).__name__),
        )
    return TakenBack(
        jobs=[job_id for each in taken for job_id in each.jobs],
        set_aside=[job_id for each in taken for job_id in each.set_aside],
        refused=[job_id for job_id, _ in refused],
    )


async def _surviving(
    connection: asyncpg.Connection, take: Callable[[], Awaitable[TakenBack]]
) -> TakenBack:
    """The result of a statement whose failure leaves the caller's transaction as it was."""
    if not connection.is_in_transaction():
        return await take()
    async with connection.transaction():  # a savepoint
        return await take()
