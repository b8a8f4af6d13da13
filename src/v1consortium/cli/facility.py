"""``v1consortium facility``: the collection sites orders choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v1consortium.cli.session import EXIT_USAGE, fail, opened, run
from v1consortium.facility_file import FacilityFileError, read_facilities
from v1consortium.queries.facility import facility_count, facility_upsert_many

app = typer.Typer(no_args_is_help=True, help="Keep the collection sites orders choose from.")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="CSV", help="a file with a header line")],
) -> None:
    """Add sites from a CSV file, replacing those with the same code; all of them or none.

    Columns: site_code,name,latitude,longitude,time_zone and, as wanted, tier (own, preferred,
    third_party), hours ("M-F 8:00 am-5:00 pm"), turnaround_hours, and yes or no for active,
    open_to_public, open_24_7, appointment_needed, dot_urine, non_dot_urine, observed, hair,
    oral_fluid, breath_alcohol, electronic_ccf.
    """

    async def command() -> None:
        try:
            facilities = read_facilities(file)
        except FacilityFileError as error:
            raise fail(str(error), EXIT_USAGE) from None
        async with opened() as session:
            await facility_upsert_many(session.manager.pool, facilities=facilities)
            number = await facility_count(session.manager.pool)
        typer.echo(f"{len(facilities)} site(s) imported; {number} known")

    run(command)
