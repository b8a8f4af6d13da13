"""Recognises a pooler in transaction mode, which takes every statement and keeps no session."""

from __future__ import annotations

import logging
from typing import Any

import asyncpg

from riverengine.queries.client import client_server_pid
from riverengine.run.bounded_pool import TIMEOUT, BoundedPool
from riverengine.run.notifier import Connect, Notifier
from riverengine.types.errors import ConfigError

_DEFAULT_CACHE = 100


async def is_session_shared(connection: asyncpg.Connection) -> bool:
    """Whether the server process is another than the connection was told of: a pooler's."""
    shared: bool = connection.get_server_pid() != await client_server_pid(connection)
    return shared


async def open_pool(database_url: str, **settings: Any) -> asyncpg.Pool:
    """An asyncpg pool that keeps no prepared statements when a pooler stands in between.

    settings: those of ``asyncpg.create_pool``, whose errors are raised.  A given
    ``statement_cache_size`` is left alone.
    """
    pool: asyncpg.Pool = await asyncpg.create_pool(database_url, **settings)
    if "statement_cache_size" in settings:
        return pool
    try:
        async with pool.acquire(timeout=TIMEOUT) as connection:
            shared = await is_session_shared(connection)
        if not shared:
            return pool
        await pool.close()
    except BaseException:
        pool.terminate()
        raise
    return await asyncpg.create_pool(database_url, **settings, statement_cache_size=0)


async def open_notifier(
    connect: Connect,
    *,
    database: BoundedPool,
    pool: asyncpg.Pool,
    schema: str | None,
    logger: logging.Logger,
) -> Notifier | None:
    """A connected notifier; None when notifications do not get through, so that one must poll.

    Raises ``ConfigError`` when the pool prepares statements that a pooler would mix up.
    """
    notifier = Notifier(connect, schema=schema, logger=logger)
    await notifier.connect()
    try:
        if await notifier.hears_itself(database):
            return notifier
    except BaseException:
        await notifier.stop()
        raise
    await notifier.stop()
    async with database.acquire() as connection:
        shared = await is_session_shared(connection)
    if shared and _keeps_statements(pool):
        raise ConfigError(
            "pool",
            "PostgreSQL is reached through a transaction pooler, which mixes up prepared "
            "statements: create it with riverengine.open_pool, or with statement_cache_size=0",
        )
    logger.error(
        "notifications do not get through%s: this client polls. Give it a direct connection to "
        "listen on (connect=...), or set poll_only",
        " the transaction pooler" if shared else "",
    )
    return None


async def warn_of_kept_statements(
    *, database: BoundedPool, pool: asyncpg.Pool, logger: logging.Logger
) -> None:
    """Warn a client that polls of a pool whose prepared statements a pooler may mix up.

    Whether it does depends on the pooler's mode and release, which nothing tells.
    """
    if not _keeps_statements(pool):
        return
    async with database.acquire() as connection:
        shared = await is_session_shared(connection)
    if shared:
        logger.warning(
            "PostgreSQL is reached through a pooler; in transaction mode it may mix up prepared "
            "statements: create the pool with riverengine.open_pool"
        )


def _keeps_statements(pool: asyncpg.Pool) -> bool:
    return bool(pool._connect_kwargs.get("statement_cache_size", _DEFAULT_CACHE))
