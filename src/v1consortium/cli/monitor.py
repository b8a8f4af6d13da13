"""``v1consortium monitor``: the monitors, run by hand."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from riverjobs import monitor, reconcile
from v1consortium.cli.output import print_json, print_table, short_time
from v1consortium.cli.session import EXIT_FAILED, opened, parse_duration, run

app = typer.Typer(no_args_is_help=True, help="Run a monitor once; the leader runs them by itself.")

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def stuck(
    older_than: Annotated[str, typer.Option(help="e.g. 90s, 15m, 1h, 30d")] = "1h",
    as_json: AsJson = False,
) -> None:
    """List workflows that run too long; exits with 1 if there are any."""

    async def command() -> int:
        age = parse_duration(older_than)
        async with opened() as session:
            found = await monitor.stuck_workflows(session.orchestrator, older_than=age)
        rows = [(e.workflow_id, e.workflow_type, e.status, e.started_at) for e in found]
        if as_json:
            print_json([{"workflow_id": i, "type": t, "started_at": s} for i, t, _, s in rows])
        else:
            print_table(
                ["id", "type", "status", "started"],
                [(i, t, status, short_time(s)) for i, t, status, s in rows],
                empty=f"No workflow runs longer than {older_than}.",
            )
        return EXIT_FAILED if found else 0

    _exit(run(command))


@app.command()
def cleanup(
    older_than: Annotated[str, typer.Option(help="e.g. 90s, 15m, 1h, 30d")] = "30d",
) -> None:
    """Delete workflows that were completed long ago."""

    async def command() -> None:
        age = parse_duration(older_than)
        async with opened() as session:
            deleted = await monitor.cleanup(session.orchestrator, older_than=age)
        typer.echo(f"{deleted} workflow(s) completed more than {older_than} ago deleted")

    run(command)


@app.command()
def metrics() -> None:
    """Count workflows and jobs, as JSON."""

    async def command() -> None:
        async with opened() as session:
            print_json(dataclasses.asdict(await monitor.metrics(session.orchestrator)))

    run(command)


@app.command()
def health(as_json: AsJson = False) -> None:
    """Check database, schema and workflows; exits with 1 if something is wrong."""

    async def command() -> int:
        async with opened() as session:
            problems = await monitor.health(session.orchestrator)
        if as_json:
            print_json({"ok": not problems, "problems": problems})
        else:
            typer.echo("\n".join(problems) or "All is well.")
        return EXIT_FAILED if problems else 0

    _exit(run(command))


@app.command("reconcile")
def reconcile_command() -> None:
    """Tell workflows of jobs that ended behind their back."""

    async def command() -> None:
        async with opened() as session:
            ended = await reconcile(session.manager.client)
        typer.echo(f"{ended} step(s) had lost their job")

    run(command)


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
