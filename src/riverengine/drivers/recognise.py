"""Finds the adapter for what a caller gives, by its type, importing only libraries in use."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import asyncpg.pool

from riverengine.drivers.executor import Database, DriverExecutor
from riverengine.queries.statement import Executor
from riverengine.run.bounded_pool import BoundedPool
from riverengine.types.errors import NoTransactionError, UnsupportedDriverError

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy.ext.asyncio
    import sqlalchemy.orm

    from riverengine.drivers.django_driver import DjangoConnection
    from riverengine.drivers.psycopg_driver import AsyncConnect, SyncConnect

    AsyncTransaction: TypeAlias = (
        asyncpg.Connection
        | asyncpg.pool.PoolConnectionProxy
        | psycopg.AsyncConnection[Any]
        | sqlalchemy.ext.asyncio.AsyncSession
        | sqlalchemy.ext.asyncio.AsyncConnection
        | sqlalchemy.ext.asyncio.async_scoped_session[Any]
        | DriverExecutor
    )
    """A caller's open transaction, as the asynchronous clients take it."""

    SyncTransaction: TypeAlias = (
        psycopg.Connection[Any]
        | sqlalchemy.orm.Session
        | sqlalchemy.Connection
        | sqlalchemy.orm.scoped_session[Any]
        | DjangoConnection
        | str
        | DriverExecutor
    )
    """A caller's open transaction, as ``SyncClient`` takes it; a text is a Django alias."""

    AsyncSource: TypeAlias = (
        asyncpg.Pool
        | psycopg.AsyncConnection[Any]
        | sqlalchemy.ext.asyncio.AsyncEngine
        | sqlalchemy.ext.asyncio.async_sessionmaker[Any]
        | sqlalchemy.ext.asyncio.AsyncConnection
        | sqlalchemy.ext.asyncio.AsyncSession
        | AsyncConnect
    )
    """Where an asynchronous client without an asyncpg pool takes its own transactions from."""

    SyncSource: TypeAlias = (
        psycopg.Connection[Any]
        | sqlalchemy.Engine
        | sqlalchemy.orm.sessionmaker[Any]
        | sqlalchemy.Connection
        | sqlalchemy.orm.Session
        | DjangoConnection
        | str
        | SyncConnect
    )
    """Where a ``SyncClient`` takes its own transactions from; a text is a Django alias."""
else:
    # The libraries are not there at run time, or not yet.
    AsyncTransaction = SyncTransaction = AsyncSource = SyncSource = object


def async_executor(tx: AsyncTransaction) -> Executor:
    """The caller's transaction as the engine's statements use it.

    Raises ``UnsupportedDriverError``.
    """
    given: object = tx
    if isinstance(given, (asyncpg.Connection, DriverExecutor)):
        executor: Executor = given
        return executor
    libraries = _libraries(given)
    if "psycopg" in libraries:
        import psycopg

        from riverengine.drivers.psycopg_driver import PsycopgAsyncExecutor

        if isinstance(given, psycopg.AsyncConnection):
            return PsycopgAsyncExecutor(given)
    if "sqlalchemy" in libraries:
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

        from riverengine.drivers.sqlalchemy_async_driver import SqlAlchemyAsyncExecutor

        if isinstance(given, (AsyncSession, AsyncConnection, async_scoped_session)):
            return SqlAlchemyAsyncExecutor(given)
    raise UnsupportedDriverError(
        _name(given),
        "an asynchronous client's transaction",
        "a connection or session of asyncpg, psycopg or SQLAlchemy",
    )


async def async_transaction(tx: AsyncTransaction) -> Executor:
    """As :func:`async_executor`; raises ``NoTransactionError`` where each statement would be
    committed by itself, so that ``tx`` never holds less than it says.
    """
    executor = async_executor(tx)
    if isinstance(executor, DriverExecutor):
        await executor.require_transaction()
    elif isinstance(executor, asyncpg.Connection) and not executor.is_in_transaction():
        raise NoTransactionError("use it inside of `async with connection.transaction()`")
    return executor


def sync_executor(tx: SyncTransaction) -> DriverExecutor:
    """As :func:`async_executor`, for synchronous libraries."""
    given: object = tx
    if isinstance(given, DriverExecutor):
        return given
    libraries = _libraries(given)
    if "psycopg" in libraries:
        import psycopg

        from riverengine.drivers.psycopg_driver import PsycopgExecutor

        if isinstance(given, psycopg.Connection):
            return PsycopgExecutor(given)
    if "sqlalchemy" in libraries:
        from sqlalchemy import Connection
        from sqlalchemy.orm import Session, scoped_session

        from riverengine.drivers.sqlalchemy_driver import SqlAlchemyExecutor

        if isinstance(given, (Session, Connection, scoped_session)):
            return SqlAlchemyExecutor(given)
    if _is_django(given, libraries):
        from riverengine.drivers.django_driver import DjangoExecutor, alias_of

        return DjangoExecutor(alias_of(given))
    raise UnsupportedDriverError(
        _name(given),
        "a SyncClient's transaction",
        "a connection or session of psycopg, SQLAlchemy or Django",
    )


def async_database(source: AsyncSource, logger: logging.Logger | None = None) -> Database:
    """Where transactions of a client's own come from; raises ``UnsupportedDriverError``."""
    given: object = source
    if isinstance(given, asyncpg.Pool):
        return BoundedPool(given, logger=logger)
    if "sqlalchemy" in _libraries(given):
        from sqlalchemy.ext.asyncio import (
            AsyncConnection,
            AsyncEngine,
            AsyncSession,
            async_scoped_session,
            async_sessionmaker,
        )

        from riverengine.drivers.sqlalchemy_async_driver import SqlAlchemyAsyncDatabase

        origins = (
            *(AsyncEngine, async_sessionmaker, AsyncSession, AsyncConnection, async_scoped_session),
        )
        if isinstance(given, origins):
            return SqlAlchemyAsyncDatabase(given)
    elif "psycopg" in _libraries(given):
        import psycopg

        from riverengine.drivers.psycopg_driver import PsycopgAsyncDatabase, keeping_open_async

        if isinstance(given, psycopg.AsyncConnection):
            return PsycopgAsyncDatabase(keeping_open_async(given))
    elif callable(given):
        from riverengine.drivers.psycopg_driver import PsycopgAsyncDatabase

        return PsycopgAsyncDatabase(given)
    raise UnsupportedDriverError(
        _name(given),
        "an asynchronous client",
        "an asyncpg pool, an AsyncEngine, or a function that opens a psycopg connection",
    )


def sync_database(source: SyncSource) -> Database:
    """As :func:`async_database`, for synchronous libraries."""
    given: object = source
    libraries = _libraries(given)
    if "sqlalchemy" in libraries:
        from sqlalchemy import Connection, Engine
        from sqlalchemy.orm import Session, scoped_session, sessionmaker

        from riverengine.drivers.sqlalchemy_driver import SqlAlchemyDatabase

        if isinstance(given, (Engine, sessionmaker, Session, Connection, scoped_session)):
            return SqlAlchemyDatabase(given)
    elif _is_django(given, libraries):
        from riverengine.drivers.django_driver import DjangoDatabase, alias_of

        return DjangoDatabase(alias_of(given))
    elif "psycopg" in libraries:
        import psycopg

        from riverengine.drivers.psycopg_driver import PsycopgDatabase, keeping_open

        if isinstance(given, psycopg.Connection):
            return PsycopgDatabase(keeping_open(given))
    elif callable(given):
        from riverengine.drivers.psycopg_driver import PsycopgDatabase

        return PsycopgDatabase(given)
    raise UnsupportedDriverError(
        _name(given),
        "a SyncClient",
        "an Engine, a Django alias, or a function that opens a psycopg connection",
    )


def _libraries(given: object) -> set[str]:
    """Top-level modules of the type and its bases: a subclass is recognised by its library."""
    return {base.__module__.partition(".")[0] for base in type(given).__mro__}


def _is_django(given: object, libraries: set[str]) -> bool:
    if isinstance(given, str) and "://" in given:
        raise UnsupportedDriverError(
            "a URL", "a connection", "lambda: psycopg.connect(url), or an engine"
        )
    return isinstance(given, str) or ("django" in libraries and hasattr(given, "alias"))


def _name(given: object) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}"
