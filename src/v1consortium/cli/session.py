"""Settings, database and orchestrator of one command; and what its errors mean to the shell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import asyncpg
import typer

from riverengine import (
    ConfigError,
    DatabaseUnavailableError,
    InsertError,
    MigrationError,
    NotFoundError,
    RiverError,
    SchemaVersionError,
)
from riverengine.embedded import start_postgres
from riverengine.embedded.postgres import EmbeddedPostgresError
from riverjobs import (
    Config,
    ContextValueError,
    DefinitionError,
    RiverManager,
    UnknownWorkflowTypeError,
    WorkflowInputError,
    WorkflowOrchestrator,
)
from v1consortium.migrations import check_schema
from v1consortium.settings import Settings, SettingsError, read_settings
from v1consortium.wiring import register_river_workers

T = TypeVar("T")

EXIT_FAILED = 1
"""What was asked for did not succeed."""
EXIT_USAGE = 2
"""Wrong usage, bad input, missing settings, or a database that is not migrated."""
EXIT_UNREACHABLE = 3
"""The database does not answer."""

EMBEDDED_FOLDER = Path(".v1consortium", "postgres")
"""Where ``--embedded`` keeps its database."""

_BAD_INPUT = (
    SettingsError,
    ConfigError,
    InsertError,
    WorkflowInputError,
    UnknownWorkflowTypeError,
    DefinitionError,
    ContextValueError,
    SchemaVersionError,
)


_CONNECTION_LOST = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class UsageError(Exception):
    """A command was used wrongly; the message says how to do it."""


class NotEndedError(Exception):
    """What was waited for did not end in time."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    settings: Settings
    manager: RiverManager
    orchestrator: WorkflowOrchestrator


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The DSN of the settings' database; an embedded one is started for the time being."""
    if settings.embedded_database is None:
        yield settings.require_database_url()
        return
    with start_postgres(Path(settings.embedded_database).absolute(), durable=True) as server:
        yield server.url


@asynccontextmanager
async def opened() -> AsyncIterator[Session]:
    """A session on the database of the settings; works no jobs."""
    settings = read_settings()
    with database_url(settings) as url:
        manager = RiverManager(Config(database_url=url, schema=settings.river_schema, pool_size=4))
        orchestrator = register_river_workers(manager, settings)
        await manager.open()
        try:
            await check_schema(manager.pool)
            yield Session(settings, manager, orchestrator)
        finally:
            await manager.stop()


def run(command: Callable[[], Awaitable[T]]) -> T:
    """Run an asynchronous command; its errors end the process with their exit code."""

    async def call() -> T:
        return await command()

    try:
        return asyncio.run(call())
    except (DatabaseUnavailableError, *_BAD_INPUT, UsageError) as error:
        unreachable = isinstance(error, DatabaseUnavailableError)
        raise fail(str(error), EXIT_UNREACHABLE if unreachable else EXIT_USAGE) from None
    except (NotFoundError, MigrationError, EmbeddedPostgresError, RiverError, NotEndedError) as e:
        raise fail(str(e), EXIT_FAILED) from None
    except _CONNECTION_LOST as error:
        text = f"the connection to the database was lost ({type(error).__name__})"
        raise fail(text, EXIT_UNREACHABLE) from None
    except asyncpg.PostgresError as error:
        # The server's own text may quote values.
        text = f"the database refused: {type(error).__name__} ({error.sqlstate})"
        raise fail(text, EXIT_FAILED) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise fail(f"{where}{error.strerror or type(error).__name__}", EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(message: str, code: int) -> typer.Exit:
    """Tell the user what is wrong; raise the result."""
    sys.stderr.write(f"error: {message}\n")
    return typer.Exit(code)


def parse_duration(text: str) -> timedelta:
    """Seconds, or a number with ``s``, ``m``, ``h`` or ``d``; raises ``UsageError``."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
        if not 0 <= seconds <= 10**9:
            raise ValueError
    except ValueError:
        raise UsageError(f"{text!r} is not a duration such as 90s, 15m, 1h or 30d") from None
    return timedelta(seconds=seconds)
