"""The command's flags and help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from riverengine.cli.durations import parse_duration
from riverengine.schema import MAIN_LINE

T = TypeVar("T")

_ROOT = """\
The counterpart of the `river` command: migrations of River's tables, and a benchmark.

The database is named by --database-url, or by libpq's variables PGHOST, PGPORT, PGDATABASE,
PGUSER, PGPASSWORD, PGSSLMODE and so on. If PGDATABASE is set they count, and the flag does not.
DATABASE_URL is taken when neither is given.
"""

_EXIT_CODES = """\
exit codes:
  0  done
  1  failed, or not fully migrated
  2  wrong usage
  3  the database cannot be reached
"""

_ROOT_EXAMPLES = """\
examples:
  riverengine migrate-up --database-url postgres://localhost/app
  riverengine validate --database-url postgres://localhost/app && ./start-workers

"""

_MIGRATE_EXAMPLES = """\
examples:
  riverengine {command} --database-url postgres://localhost/app
  riverengine {command} --schema jobs --max-steps 1
  riverengine {command} --dry-run --show-sql     # look first
  riverengine {command} --target-version {target}
  riverengine {command} --line riverengine       # the tables that are ours, not River's
"""

_GET_EXAMPLES = """\
examples:
  riverengine migrate-get --version 3 --up > river3.up.sql
  riverengine migrate-get --version 1,2,3 --up > river.up.sql
  riverengine migrate-get --version 3,2,1 --down > river.down.sql
  riverengine migrate-get --all --exclude-version 1 --up > river_all.up.sql

Version 1 holds the table of River's own migration framework, which is not needed by another.
"""

_LIST_EXAMPLES = """\
examples:
  riverengine migrate-list --database-url postgres://localhost/app
  riverengine migrate-list --json
"""

_VALIDATE_EXAMPLES = """\
examples:
  riverengine validate --database-url postgres://localhost/app || riverengine migrate-up
  riverengine validate --json
"""

_BENCH = """\
Insert and work jobs for as long as asked, and print how many were worked.

Without --duration and --num-total-jobs it goes on until SIGINT (Ctrl-C). EVERY JOB IN THE TABLE
river_job IS DELETED FIRST: use a database for development only. If the table holds jobs of other
kinds than the benchmark's, the command refuses to run without --truncate.
"""

_BENCH_EXAMPLES = """\
examples:
  riverengine bench --database-url postgres://localhost/bench --duration 1m
  riverengine bench --database-url postgres://localhost/bench -n 1000000
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands."""
    parser = argparse.ArgumentParser(
        prog="riverengine",
        description=_ROOT,
        epilog=_ROOT_EXAMPLES + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_global(parser, is_root=True)
    parser.add_argument("--version", action="store_true", help="print version information")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str, examples: str, about: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=about or f"{text[0].upper()}{text[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_global(command, is_root=False)
        return command

    bench = add("bench", "run a benchmark; deletes all jobs", _BENCH_EXAMPLES, _BENCH)
    _add_database(bench)
    bench.add_argument(
        "--duration",
        type=_checked(_positive_duration),
        metavar="D",
        help="stop after this time: 1m, 5m30s",
    )
    bench.add_argument(
        "-n",
        "--num-total-jobs",
        type=_checked(_natural),
        metavar="N",
        help="insert so many jobs first, and stop when all are worked",
    )
    bench.add_argument(
        "--truncate", action="store_true", help="delete all jobs even if other kinds are there"
    )
    down = add(
        "migrate-down",
        "take migrations back, one by default",
        _MIGRATE_EXAMPLES.format(command="migrate-down", target=5),
    )
    _add_migrate(down, "down to this version, which stays; 0 takes everything back, also the jobs")
    _add_get(add("migrate-get", "print migrations' SQL; needs no database", _GET_EXAMPLES))
    migrate_list = add("migrate-list", "list migrations, * the newest applied", _LIST_EXAMPLES)
    _add_database(migrate_list)
    _add_line(migrate_list)
    _add_json(migrate_list)
    up = add(
        "migrate-up",
        "apply migrations, all by default",
        _MIGRATE_EXAMPLES.format(command="migrate-up", target=7),
    )
    _add_migrate(up, "up to this version, itself included")
    validate = add("validate", "exit with 1 unless fully migrated", _VALIDATE_EXAMPLES)
    _add_database(validate)
    _add_line(validate)
    _add_json(validate)
    add("version", "print version information", "")
    return parser


def _add_global(parser: argparse.ArgumentParser, *, is_root: bool) -> None:
    # Flags of the root may stand behind the subcommand as well; there they must not reset it.
    default = None if is_root else argparse.SUPPRESS
    group = parser.add_argument_group("global flags") if not is_root else parser
    level = group.add_mutually_exclusive_group()
    level.add_argument("--debug", action="store_true", default=default, help="log everything")
    level.add_argument(
        "-v", "--verbose", action="store_true", default=default, help="log what is done"
    )
    group.add_argument(
        "--statement-timeout",
        type=_checked(parse_duration),
        default=default,
        metavar="D",
        help="longest time of a statement: 30s, 5m (default: the URL's, or 10s)",
    )


def _add_migrate(command: argparse.ArgumentParser, target: str) -> None:
    _add_database(command)
    _add_line(command)
    command.add_argument("--max-steps", type=int, default=0, metavar="N", help="at most so many")
    command.add_argument("--target-version", type=int, metavar="N", help=target)
    command.add_argument("--dry-run", action="store_true", help="print, change nothing")
    command.add_argument("--show-sql", action="store_true", help="print each migration's SQL")


def _add_get(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--version",
        dest="versions",
        action="extend",
        type=_checked(_numbers),
        metavar="N[,N]",
        help="these versions, in this order",
    )
    which.add_argument("--all", action="store_true", help="every version; down from the newest")
    way = command.add_mutually_exclusive_group(required=True)
    way.add_argument("--down", action="store_true", help="the way back")
    way.add_argument("--up", action="store_true", help="the way forward")
    command.add_argument(
        "--exclude-version",
        action="extend",
        type=_checked(_numbers),
        default=[],
        metavar="N[,N]",
        help="but not these",
    )
    _add_database(command, "taken as by Go's, without effect")
    _add_line(command)


def _add_database(command: argparse.ArgumentParser, about_url: str = "like postgres://...") -> None:
    command.add_argument("--database-url", metavar="URL", help=about_url)
    command.add_argument("--schema", help="River's schema (default: the search path's first)")


def _add_line(command: argparse.ArgumentParser) -> None:
    # "" tells that none was given: --show-sql prints the line as given, as Go's does.
    command.add_argument("--line", default="", help=f"migration line (default: {MAIN_LINE})")


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of a flag's text whose ``ValueError`` argparse tells in its own words."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _numbers(text: str) -> Sequence[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"invalid versions {text!r}: expected numbers with commas") from None


def _natural(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise ValueError(f"invalid number {text!r}: expected 1 or more")
    return number


def _positive_duration(text: str) -> timedelta:
    duration = parse_duration(text)
    if duration <= timedelta(0):
        raise ValueError(f"invalid duration {text!r}: expected more than 0")
    return duration
