"""``v1consortium job``: River's jobs one by one."""

from __future__ import annotations

from typing import Annotated

import typer

from riverengine import JobListParams, JobState, SortOrder
from v1consortium.cli.output import job_json, print_json, print_table, short_time
from v1consortium.cli.session import opened, run

app = typer.Typer(no_args_is_help=True, help="Look at jobs; retry, cancel and delete them.")

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="the job's id")]


@app.command("list")
def list_command(
    state: Annotated[list[JobState] | None, typer.Option()] = None,
    kind: Annotated[list[str] | None, typer.Option()] = None,
    queue: Annotated[list[str] | None, typer.Option()] = None,
    workflow: Annotated[str | None, typer.Option(help="only this workflow's")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""

    async def command() -> None:
        async with opened() as session:
            found = await session.manager.client.job_list(
                JobListParams(
                    states=state or None,
                    kinds=kind or None,
                    queues=queue or None,
                    metadata=None if workflow is None else {"workflow_id": workflow},
                    direction=SortOrder.DESC,
                    limit=limit,
                )
            )
        jobs = found.jobs
        if as_json:
            print_json([job_json(job) for job in jobs])
            return
        print_table(
            ["id", "kind", "state", "queue", "attempt", "scheduled", "last error"],
            [
                (
                    job.id,
                    job.kind,
                    job.state,
                    job.queue,
                    f"{job.attempt}/{job.max_attempts}",
                    short_time(job.scheduled_at),
                    job.errors[-1].error[:60] if job.errors else "",
                )
                for job in jobs
            ],
            empty="No job fits.",
        )

    run(command)


@app.command()
def show(job_id: Id) -> None:
    """Show a job with its errors, as JSON."""

    async def command() -> None:
        async with opened() as session:
            print_json(job_json(await session.manager.client.job_get(job_id)))

    run(command)


@app.command()
def retry(job_id: Id) -> None:
    """Run a job again at once; a workflow's job takes its workflow along."""

    async def command() -> None:
        async with opened() as session:
            job = await session.manager.client.job_retry(job_id)
        typer.echo(f"job {job.id} is {job.state}")

    run(command)


@app.command()
def cancel(job_id: Id) -> None:
    """Cancel a job; a running one is asked to stop."""

    async def command() -> None:
        async with opened() as session:
            job = await session.manager.client.job_cancel(job_id)
        told = " (its worker was told)" if job.state is JobState.RUNNING else ""
        typer.echo(f"job {job.id} is {job.state}{told}")

    run(command)


@app.command()
def delete(job_id: Id) -> None:
    """Delete a job that is not running."""

    async def command() -> None:
        async with opened() as session:
            job = await session.manager.client.job_delete(job_id)
        typer.echo(f"job {job.id} ({job.kind}, {job.state}) is deleted")

    run(command)
