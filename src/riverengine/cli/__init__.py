"""The command ``riverengine``: the counterpart of the ``river`` command.

Same subcommands, flags and output. Exit codes: 0 done; 1 failed, or not fully migrated; 2 wrong
usage; 3 the database does not answer (1 in Go).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from riverengine.cli import migrate
from riverengine.config import validate_schema
from riverengine.schema.line import bundled_lines
from riverengine.types.errors import ConfigError, DatabaseUnavailableError, RiverError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3

PROTOCOL = "v0.51.1"
"""The release of Go River whose protocol this one speaks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
        if options.command is None:
            parser.print_help()
            return 0
        if options.command == "version":
            sys.stdout.write(f"riverengine {version('riverjobs')}\nRiver protocol {PROTOCOL}\n")
            return 0
        if options.command == "migrate-get":
            return migrate.get(options)
        if options.schema is not None:
            validate_schema(options.schema)
        url = options.database_url or os.environ.get("DATABASE_URL")
        if not url:
            raise ConfigError("--database-url", "either --database-url or DATABASE_URL must be set")
        if not url.startswith(("postgres://", "postgresql://")):
            raise ConfigError("--database-url", "must start with postgres:// or postgresql://")
        return asyncio.run(migrate.COMMANDS[options.command](options, url))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_USAGE
    except ConfigError as error:
        return _fail(str(error), EXIT_USAGE)
    except DatabaseUnavailableError as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except RiverError as error:
        return _fail(str(error), EXIT_FAILED)


def script() -> None:
    """The console script."""
    raise SystemExit(main())


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"Error: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="riverengine",
        description="River's migrations, in Python.",
        epilog="Exit codes: 0 done, 1 failed or not migrated, 2 wrong usage, 3 database not "
        "reachable. Example: riverengine migrate-up --database-url postgres://localhost/app",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    up = commands.add_parser("migrate-up", help="apply migrations, all by default")
    down = commands.add_parser("migrate-down", help="take migrations back, one by default")
    for command in (up, down):
        _add_database(command)
        command.add_argument("--max-steps", type=int, metavar="N", help="at most this many")
        command.add_argument(
            "--target-version", type=int, metavar="N", help="up to it; down to it (0 for all)"
        )
        command.add_argument("--dry-run", action="store_true", help="print, change nothing")
        command.add_argument("--show-sql", action="store_true", help="print each migration's SQL")
    _add_database(commands.add_parser("migrate-list", help="list migrations, * the newest applied"))
    _add_database(commands.add_parser("validate", help="exit with 1 unless fully migrated"))
    get = commands.add_parser("migrate-get", help="print migrations' SQL; needs no database")
    which = get.add_mutually_exclusive_group(required=True)
    which.add_argument("--version", metavar="N[,N]", help="these versions")
    which.add_argument("--all", action="store_true", help="every version")
    way = get.add_mutually_exclusive_group(required=True)
    way.add_argument("--up", action="store_true")
    way.add_argument("--down", action="store_true")
    get.add_argument("--exclude-version", metavar="N[,N]", default="", help="but not these")
    get.add_argument("--schema", help="put the objects into this schema")
    _add_line(get)
    commands.add_parser("version", help="print the versions of package and protocol")
    return parser


def _add_database(command: argparse.ArgumentParser) -> None:
    command.add_argument("--database-url", metavar="URL", help="default: DATABASE_URL")
    command.add_argument("--schema", help="River's schema; default: the search path's first")
    _add_line(command)


def _add_line(command: argparse.ArgumentParser) -> None:
    command.add_argument("--line", default="main", choices=bundled_lines(), help="migration line")
