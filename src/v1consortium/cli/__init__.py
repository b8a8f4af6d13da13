"""The command ``v1consortium``.

Exit codes: 0 done; 1 what was asked for failed; 2 wrong usage, bad input or settings; 3 the
database does not answer.
"""

from __future__ import annotations

import sys

import typer

from v1consortium.cli import demo, doctor, facility, job, migrate, monitor, order, queue, worker
from v1consortium.cli import workflow as workflows
from v1consortium.cli.session import EXIT_USAGE

app = typer.Typer(
    name="v1consortium",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="V1 Consortium's workflows: user_signup and drug_test_order.\n\n"
    "Settings come from the environment: DATABASE_URL, or DB_HOST DB_PORT DB_USER DB_PASS DB_NAME; "
    "the providers' settings are listed by `v1consortium doctor`.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 database not reachable.",
)
app.command("river_worker")(worker.river_worker)
app.command("migrate")(migrate.migrate_command)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.add_typer(workflows.app, name="workflow")
app.add_typer(job.app, name="job")
app.add_typer(queue.app, name="queue")
app.add_typer(monitor.app, name="monitor")
app.add_typer(facility.app, name="facility")
app.add_typer(order.app, name="order")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        for argument in given:
            argument.encode()
    except UnicodeEncodeError:
        sys.stderr.write("error: an argument is not UTF-8 text\n")
        return EXIT_USAGE
    try:
        app(args=given, prog_name="v1consortium")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def script() -> None:
    """The console script."""
    raise SystemExit(main())
