"""``v1consortium queue``: pause and resume queues."""

from __future__ import annotations

from typing import Annotated

import typer

from riverjobs.queries.queue_depth import queue_depths
from v1consortium.cli.output import print_json, print_table, short_time
from v1consortium.cli.session import opened, run

app = typer.Typer(no_args_is_help=True, help="Look at queues; pause and resume them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="a queue, or * for all")]


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List queues with their unfinished jobs."""

    async def command() -> None:
        async with opened() as session:
            queues = await session.manager.client.queue_list(limit=10_000)
            depths = await queue_depths(session.manager.pool, schema=session.settings.river_schema)
        counts: dict[str, dict[str, int]] = {queue.name: {} for queue in queues}
        waits: dict[str, float] = {}
        for name, state, number, wait in depths:
            counts.setdefault(name, {})[state] = number
            waits[name] = max(waits.get(name, 0.0), wait)
        paused = {queue.name: queue.paused_at for queue in queues}
        if as_json:
            print_json(
                [
                    {"name": name, "paused_at": paused.get(name), "jobs": jobs}
                    for name, jobs in sorted(counts.items())
                ]
            )
            return
        print_table(
            ["queue", "available", "running", "scheduled", "retryable", "oldest waits", "paused"],
            [
                (
                    name,
                    *(jobs.get(s, 0) for s in ("available", "running", "scheduled")),
                    jobs.get("retryable", 0),
                    f"{waits.get(name, 0):.0f} s",
                    short_time(paused.get(name)),
                )
                for name, jobs in sorted(counts.items())
            ],
            empty="No queue has been worked yet.",
        )

    run(command)


@app.command()
def pause(name: Name) -> None:
    """Stop fetching jobs of a queue; running jobs go on."""

    async def command() -> None:
        async with opened() as session:
            await session.manager.client.queue_pause(name)
        typer.echo(f"queue {name} is paused; go on with: v1consortium queue resume '{name}'")

    run(command)


@app.command()
def resume(name: Name) -> None:
    """Fetch jobs of a queue again."""

    async def command() -> None:
        async with opened() as session:
            await session.manager.client.queue_resume(name)
        typer.echo(f"queue {name} is worked again")

    run(command)
