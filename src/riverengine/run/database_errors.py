"""What a statement may raise that another try, on another connection, may cure."""

from __future__ import annotations

import asyncpg

from riverengine.types.errors import AmbiguousCommitError

DATABASE_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # A connection that ends in the middle of an exchange can leave the driver confused.
    asyncpg.InternalClientError,
    AmbiguousCommitError,
)
