"""The database libraries under test, each as a caller would use it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from inspect import isawaitable
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import asyncpg
import django
import psycopg
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from riverengine import Client, Config, InsertClient, SyncClient

ELSEWHERE = "-c timezone=America/New_York"
"""Connections here speak another zone, and what is read must not show it."""


class Library(ABC):
    """One way to reach the database: a client on it, and callers' transactions."""

    name: ClassVar[str]
    is_sync: ClassVar[bool] = False

    def __init__(self, url: str, pool: asyncpg.Pool) -> None:
        self.url = url
        self.pool = pool
        self._thread = ThreadPoolExecutor(max_workers=1) if self.is_sync else None

    @abstractmethod
    def client(self, config: Config | None = None) -> Any:
        """A client that takes its own transactions from the library."""

    @abstractmethod
    def begin(self) -> Any:
        """An open transaction of a caller's."""

    @abstractmethod
    def statement(self, tx: Any, sql: str) -> Any:
        """A statement of the caller's."""

    def commit(self, tx: Any) -> Any:
        return tx.commit()

    def rollback(self, tx: Any) -> Any:
        return tx.rollback()

    def end(self, tx: Any) -> Any:
        return tx.close()

    def dispose(self) -> Any:
        return None

    async def do(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function of the library; a synchronous one in the library's own thread."""
        if self._thread is not None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, partial(function, *args, **options))
        result = function(*args, **options)
        return await result if isawaitable(result) else result

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """An open transaction, for the test to commit or roll back."""
        tx = await self.do(self.begin)
        try:
            yield tx
        finally:
            await self.do(self.end, tx)

    async def close(self) -> None:
        await self.do(self.dispose)
        if self._thread is not None:
            self._thread.shutdown()


class Asyncpg(Library):
    name = "asyncpg"

    def client(self, config: Config | None = None) -> Client:
        return Client(self.pool, config)

    async def begin(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self.url)
        await connection.execute("BEGIN")
        return connection

    def statement(self, tx: asyncpg.Connection, sql: str) -> Any:
        return tx.execute(sql)

    def commit(self, tx: asyncpg.Connection) -> Any:
        return tx.execute("COMMIT")

    def rollback(self, tx: asyncpg.Connection) -> Any:
        # The others begin the next transaction by themselves.
        return tx.execute("ROLLBACK; BEGIN")


class PsycopgAsync(Library):
    name = "psycopg-async"

    def client(self, config: Config | None = None) -> InsertClient:
        return InsertClient(self._connect, config)

    def _connect(self) -> Any:
        return psycopg.AsyncConnection.connect(self.url, options=ELSEWHERE)

    def begin(self) -> Any:
        return self._connect()

    def statement(self, tx: psycopg.AsyncConnection[Any], sql: str) -> Any:
        return tx.execute(sql.encode())


class SqlAlchemyAsync(Library):
    dialect: ClassVar[str] = "postgresql+asyncpg"
    kind: ClassVar[type[AsyncSession] | type[AsyncConnection]] = AsyncSession
    connect_args: ClassVar[dict[str, object]] = {}

    def __init__(self, url: str, pool: asyncpg.Pool) -> None:
        super().__init__(url, pool)
        self.engine = create_async_engine(
            in_dialect(url, self.dialect), poolclass=NullPool, connect_args=self.connect_args
        )

    def client(self, config: Config | None = None) -> InsertClient:
        return InsertClient(self.engine, config)

    async def begin(self) -> Any:
        if self.kind is AsyncSession:
            return AsyncSession(self.engine)
        return await self.engine.connect()

    def statement(self, tx: AsyncSession | AsyncConnection, sql: str) -> Any:
        return tx.execute(sqlalchemy.text(sql))

    def dispose(self) -> Any:
        return self.engine.dispose()


class SqlAlchemyAsyncpgSession(SqlAlchemyAsync):
    name = "sqlalchemy-asyncpg-session"


class SqlAlchemyAsyncpgConnection(SqlAlchemyAsync):
    name = "sqlalchemy-asyncpg-connection"
    kind = AsyncConnection


class SqlAlchemyPsycopgAsyncSession(SqlAlchemyAsync):
    name = "sqlalchemy-psycopg-async-session"
    dialect = "postgresql+psycopg"
    connect_args: ClassVar[dict[str, object]] = {"options": ELSEWHERE}


class Psycopg(Library):
    name = "psycopg"
    is_sync = True

    def client(self, config: Config | None = None) -> SyncClient:
        return SyncClient(self.begin, config)

    def begin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, options=ELSEWHERE)

    def statement(self, tx: psycopg.Connection[Any], sql: str) -> Any:
        return tx.execute(sql.encode())


class SqlAlchemySession(Library):
    name = "sqlalchemy-psycopg-session"
    is_sync = True
    dialect: ClassVar[str] = "postgresql+psycopg"

    def __init__(self, url: str, pool: asyncpg.Pool) -> None:
        super().__init__(url, pool)
        self.engine = sqlalchemy.create_engine(
            in_dialect(url, self.dialect), poolclass=NullPool, connect_args={"options": ELSEWHERE}
        )

    def client(self, config: Config | None = None) -> SyncClient:
        return SyncClient(self.engine, config)

    def begin(self) -> Session | sqlalchemy.Connection:
        return Session(self.engine)

    def statement(self, tx: Session | sqlalchemy.Connection, sql: str) -> Any:
        return tx.execute(sqlalchemy.text(sql))

    def dispose(self) -> Any:
        self.engine.dispose()


class SqlAlchemyConnection(SqlAlchemySession):
    name = "sqlalchemy-psycopg-connection"

    def begin(self) -> sqlalchemy.Connection:
        return self.engine.connect()


class SqlAlchemyPsycopg2(SqlAlchemySession):
    name = "sqlalchemy-psycopg2-session"
    dialect = "postgresql+psycopg2"


class Django(Library):
    name = "django-alias"
    is_sync = True

    def __init__(self, url: str, pool: asyncpg.Pool) -> None:
        super().__init__(url, pool)
        configure_django(url)

    def client(self, config: Config | None = None) -> SyncClient:
        return SyncClient("default", config)

    def begin(self) -> Any:
        from django.db import transaction

        transaction.set_autocommit(False)
        return "default"

    def statement(self, tx: Any, sql: str) -> Any:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(sql)

    def commit(self, tx: Any) -> Any:
        from django.db import transaction

        transaction.commit()

    def rollback(self, tx: Any) -> Any:
        from django.db import transaction

        transaction.rollback()

    def end(self, tx: Any) -> Any:
        from django.db import connection, transaction

        transaction.rollback()
        connection.close()

    def dispose(self) -> Any:
        from django.db import connection

        connection.close()


class DjangoConnection(Django):
    name = "django-connection"

    def begin(self) -> Any:
        from django.db import connection

        super().begin()
        return connection


LIBRARIES: tuple[type[Library], ...] = (
    Asyncpg,
    PsycopgAsync,
    SqlAlchemyAsyncpgSession,
    SqlAlchemyAsyncpgConnection,
    SqlAlchemyPsycopgAsyncSession,
    Psycopg,
    SqlAlchemySession,
    SqlAlchemyConnection,
    Django,
    DjangoConnection,
)
if find_spec("psycopg2") is not None:
    LIBRARIES = (*LIBRARIES, SqlAlchemyPsycopg2)


def in_dialect(url: str, dialect: str) -> str:
    """The DSN in SQLAlchemy's form."""
    return f"{dialect}://{url.partition('://')[2]}"


def configure_django(url: str) -> None:
    """Django without a project: one database, in another time zone."""
    from django.conf import settings

    parts = urlsplit(url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }
    if not settings.configured:
        settings.configure(
            DATABASES={"default": database},
            LOGGING_CONFIG=None,
            TIME_ZONE="America/New_York",
            USE_TZ=True,
        )
        django.setup()
    from django.db import connections

    connections.settings["default"].update(database)
