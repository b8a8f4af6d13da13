"""SQLAlchemy beneath the clients: a driver for each of the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from riverengine.types.errors import UnsupportedDriverError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session, scoped_session

__all__ = ["AsyncDriver", "Driver"]


class Driver:
    """An ``Engine``, on which each insert is a transaction; or a ``Connection`` or ``Session``, in
    whose transaction inserts run, for the caller to commit.
    """

    def __init__(self, conn: Engine | Connection | Session | scoped_session[Any]) -> None:
        """Raises ``UnsupportedDriverError`` for anything else."""
        from sqlalchemy import Connection, Engine
        from sqlalchemy.orm import Session, scoped_session

        if not isinstance(conn, (Engine, Connection, Session, scoped_session)):
            raise UnsupportedDriverError(type(conn).__name__, "a riversqlalchemy.Driver")
        self.conn = conn
        self.source: Engine | None = conn if isinstance(conn, Engine) else None
        """Where inserts take a transaction of their own from; None when they use the caller's."""
        self.transaction: Connection | Session | scoped_session[Any] | None = (
            None if isinstance(conn, Engine) else conn
        )
        """The caller's transaction; None when inserts open their own."""


class AsyncDriver:
    """As :class:`Driver`, on an ``AsyncEngine``, ``AsyncConnection`` or ``AsyncSession``."""

    def __init__(self, conn: AsyncEngine | AsyncConnection | AsyncSession) -> None:
        """Raises ``UnsupportedDriverError`` for anything else."""
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

        if not isinstance(conn, (AsyncEngine, AsyncConnection, AsyncSession)):
            raise UnsupportedDriverError(type(conn).__name__, "a riversqlalchemy.AsyncDriver")
        self.conn = conn
        self.source: AsyncEngine | None = conn if isinstance(conn, AsyncEngine) else None
        """Where inserts take a transaction of their own from; None when they use the caller's."""
        self.transaction: AsyncConnection | AsyncSession | None = (
            None if isinstance(conn, AsyncEngine) else conn
        )
        """The caller's transaction; None when inserts open their own."""
