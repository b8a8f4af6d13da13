"""Which database a command works on, and the connection it opens.

Source: cmd/river/rivercli/command.go: with PGDATABASE set, libpq's variables name the database and
``--database-url`` does not count.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from riverengine.types.errors import ConfigError, DatabaseUnavailableError

T = TypeVar("T")

APPLICATION_NAME = "riverengine CLI"
IDLE_IN_TRANSACTION_TIMEOUT = timedelta(seconds=11)
"""Longer than a statement may take, since statements count as part of their transaction."""
STATEMENT_TIMEOUT = timedelta(seconds=10)
CONNECT_TIMEOUT = 10.0

_SCHEMES = ("postgres://", "postgresql://")

_OF_OTHER_DRIVERS = {
    *("channel_binding", "connect_timeout", "default_query_exec_mode"),
    *("description_cache_capacity", "gssencmode", "keepalives", "keepalives_count"),
    *("keepalives_idle", "keepalives_interval", "sslnegotiation", "statement_cache_capacity"),
    "tcp_user_timeout",
}
"""Parameters of URLs that libpq or pgx read themselves; a server would refuse them."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where to connect, and with which settings.

    url: None to leave it to libpq's variables.  May hold a password, so it has no repr.
    """

    url: str | None = field(repr=False)
    settings: Mapping[str, str]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection; raises ``DatabaseUnavailableError``, ``ConfigError`` for a bad URL."""
        connection = await self._opened(
            asyncpg.connect(self.url, timeout=CONNECT_TIMEOUT, server_settings=self.settings)
        )
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def pool(self, size: int) -> AsyncIterator[asyncpg.Pool]:
        """A pool of at most ``size`` connections; raises as :meth:`connect`."""
        pool = await self._opened(
            asyncpg.create_pool(
                self.url,
                min_size=1,
                max_size=size,
                timeout=CONNECT_TIMEOUT,
                server_settings=self.settings,
            )
        )
        try:
            yield pool
        finally:
            await pool.close()

    async def _opened(self, opening: Awaitable[T]) -> T:
        # The driver's texts may quote the URL with its password: only the error's type is told.
        try:
            return await opening
        except (asyncpg.InterfaceError, ValueError) as error:
            raise ConfigError(
                "--database-url", f"error parsing database URL: {type(error).__name__}"
            ) from None
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            name = type(error).__name__
            raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {name}") from None


def find_database(url: str | None, *, statement_timeout: timedelta | None) -> Database:
    """The database meant by ``--database-url`` and the environment.

    PGDATABASE comes first, then the flag, then DATABASE_URL.  statement_timeout: the flag's; None
    for the URL's, or ten seconds.  Raises ``ConfigError``.
    """
    if statement_timeout is not None and statement_timeout <= timedelta(milliseconds=1):
        raise ConfigError(
            "--statement-timeout", "`--statement-timeout` must be greater than 1ms when set"
        )
    settings = {
        "application_name": os.environ.get("PGAPPNAME") or APPLICATION_NAME,
        "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION_TIMEOUT),
        "statement_timeout": _milliseconds(STATEMENT_TIMEOUT),
    }
    if os.environ.get("PGDATABASE"):
        if url:
            sys.stderr.write("PGDATABASE is set, so --database-url is not used\n")
        url = None
    else:
        url, given = _checked(url or os.environ.get("DATABASE_URL"))
        settings |= given
    if statement_timeout is not None:
        settings["statement_timeout"] = _milliseconds(statement_timeout)
    return Database(url, settings)


def _checked(url: str | None) -> tuple[str, dict[str, str]]:
    """The URL without what is not for asyncpg, and the server's settings it holds."""
    if not url:
        raise ConfigError("--database-url", "either PG* env vars or --database-url must be set")
    if not url.startswith(_SCHEMES):
        scheme = f"{url.partition('://')[0]}://..." if "://" in url else "without a scheme"
        raise ConfigError(
            "--database-url",
            f"unsupported database URL ({scheme}); try one with a `postgres://` or "
            "`postgresql://` scheme/prefix",
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("--database-url", "error parsing database URL: it is none") from None
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in _OF_OTHER_DRIVERS and not name.startswith("pool_")
    ]
    ours = {"application_name", "idle_in_transaction_session_timeout", "statement_timeout"}
    given = {name: value for name, value in query if name in ours and value}
    rest = [(name, value) for name, value in query if name not in ours]
    return urlunsplit(parts._replace(query=urlencode(rest))), given


def _milliseconds(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))
