"""``v1consortium migrate``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from v1consortium.cli.session import EXIT_FAILED, UsageError, database_url, run
from v1consortium.migrations import migrate, pending, take_back
from v1consortium.settings import masked_url, read_settings


class Direction(StrEnum):
    """What to do."""

    UP = "up"
    DOWN = "down"
    STATUS = "status"


def migrate_command(
    direction: Annotated[Direction, typer.Argument(help="up, down or status")] = Direction.UP,
    yes: Annotated[
        bool, typer.Option("--yes", help="needed by down, which may delete data")
    ] = False,
) -> None:
    """Bring the database up to date: River's tables, the engine's, the workflow tables, ours.

    Each step is a transaction of its own; running it again, or from several places at once, is
    safe. `status` changes nothing, and exits with 1 while something is missing. `down` takes back
    the engine's tables, then the newest step of River's; the other tables only go forward, as
    Supabase's do.
    """

    async def command() -> None:
        settings = read_settings()
        if direction is Direction.DOWN and not yes:
            raise UsageError("migrate down may delete jobs: stop all workers, then add --yes")
        with database_url(settings) as url:
            if direction is Direction.STATUS:
                await _tell_status(url, settings.river_schema)
            elif direction is Direction.DOWN:
                await _take_back(url, settings.river_schema)
            else:
                await _migrate(url, settings.river_schema)

    run(command)


async def _tell_status(url: str, schema: str | None) -> None:
    missing = await pending(url, schema=schema)
    names = [*missing.steps, *(file.file_name for file in missing.files)]
    for name in names:
        typer.echo(f"missing  {name}")
    if names:
        typer.echo("Next: v1consortium migrate")
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"{masked_url(url)} is up to date.")


async def _migrate(url: str, schema: str | None) -> None:
    applied = await migrate(url, schema=schema)
    for name in applied:
        typer.echo(f"applied  {name}")
    typer.echo(f"{masked_url(url)} is up to date ({len(applied)} applied).")


async def _take_back(url: str, schema: str | None) -> None:
    name = await take_back(url, schema=schema)
    if name is None:
        typer.echo(f"{masked_url(url)} has none of River's tables.")
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"reverted {name}")
