"""The command ``riverengine``: the counterpart of the ``river`` command.

Same subcommands, flags and output. Exit codes: 0 done; 1 failed, or not fully migrated; 2 wrong
usage; 3 the database cannot be reached (2 and 3 are 1 in Go).
"""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

import asyncpg

from riverengine.cli import bench, migrate
from riverengine.cli.database import Database, find_database
from riverengine.cli.parser import make_parser
from riverengine.config import validate_schema
from riverengine.types.errors import ConfigError, DatabaseUnavailableError, RiverError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130

PROTOCOL = "v0.51.1"
"""The release of Go River whose protocol this one speaks."""

COMMANDS: Mapping[str, Callable[[Namespace, Database], Coroutine[None, None, int]]] = {
    "bench": bench.bench,
    "migrate-down": migrate.down,
    "migrate-list": migrate.list_all,
    "migrate-up": migrate.up,
    "validate": migrate.validate,
}
"""The subcommands that need a database."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = make_parser()
    try:
        options = parser.parse_args(arguments)
        if options.command == "version" or (options.command is None and options.version):
            return _tell_version()
        if options.command is None:
            parser.print_help()
            return 0
        with _logging(options):
            return _run(options)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_USAGE
    except ConfigError as error:
        # Flags are named in their texts, as Go's are.
        flag = f"{error.setting}: " if error.setting.startswith("--") else ""
        return _fail(str(error).removeprefix(flag), EXIT_USAGE)
    except DatabaseUnavailableError as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except RiverError as error:
        return _fail(str(error), EXIT_FAILED)
    except asyncpg.PostgresError as error:
        notes = [*getattr(error, "__notes__", []), f"ERROR: {error} (SQLSTATE {error.sqlstate})"]
        return _fail(": ".join(notes), EXIT_FAILED)
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        name = type(error).__name__
        return _fail(f"the connection to PostgreSQL was lost: {name}", EXIT_UNREACHABLE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED


def script() -> None:
    """The console script."""
    raise SystemExit(main())


def _run(options: Namespace) -> int:
    if options.command == "migrate-get":
        return migrate.get(options)
    if options.schema is not None:
        validate_schema(options.schema)
    database = find_database(options.database_url, statement_timeout=options.statement_timeout)
    return asyncio.run(COMMANDS[options.command](options, database))


@contextmanager
def _logging(options: Namespace) -> Iterator[None]:
    """Log to standard output while the command runs, as Go's does."""
    level = logging.DEBUG if options.debug else logging.INFO if options.verbose else logging.WARNING
    logger = logging.getLogger("riverengine")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _tell_version() -> int:
    sys.stdout.write(
        f"riverengine version {version('riverjobs')}\n"
        f"River protocol {PROTOCOL}\n"
        f"Running on Python {platform.python_version()}\n"
    )
    return 0


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"Error: {message}\n")
    return code
