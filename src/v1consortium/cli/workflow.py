"""``v1consortium workflow``: start workflows and follow them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from riverengine import InsertOpts, Json
from riverjobs import WorkflowExecution, WorkflowStatus, WorkflowSummary
from v1consortium.cli.output import (
    execution_json,
    print_json,
    print_table,
    short_duration,
    short_time,
    step_json,
)
from v1consortium.cli.session import (
    EXIT_FAILED,
    EXIT_USAGE,
    NotEndedError,
    UsageError,
    fail,
    opened,
    parse_duration,
    run,
)
from v1consortium.wiring import DEFINITIONS
from v1consortium.workflow_skeleton import write_skeleton

app = typer.Typer(no_args_is_help=True, help="Start workflows and follow them.")

MAX_INPUT_BYTES = 16 * 1024 * 1024
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Id = Annotated[str, typer.Argument(metavar="ID", help="the workflow's id")]


@app.command()
def types(as_json: AsJson = False) -> None:
    """List the types of workflow and their steps."""
    found = [(d.type, d.version, [step.name for step in d.steps]) for d in DEFINITIONS]
    if as_json:
        print_json([{"type": t, "version": v, "steps": steps} for t, v, steps in found])
        return
    print_table(
        ["type", "version", "steps"],
        [(t, v, " -> ".join(steps)) for t, v, steps in found],
        empty="No workflow is defined.",
    )


@app.command()
def start(
    workflow_type: Annotated[str, typer.Argument(metavar="TYPE", help="see `workflow types`")],
    given: Annotated[
        str, typer.Option("--input", metavar="JSON|@FILE|-", help="the input, a JSON object")
    ],
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="a second start with it changes nothing"),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="run all its jobs on this queue")] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=4, help="1 is first")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="until it ends; 1 unless completed")] = False,
    timeout: Annotated[str, typer.Option(help="for --wait, e.g. 90s, 15m")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Start a workflow and print its id.

    Example: v1consortium workflow start user_signup --input '{"email": "ann@example.com",
    "organization_name": "Acme"}' --wait
    """

    async def command() -> int:
        context = read_input(given)
        limit = parse_duration(timeout)
        async with opened() as session:
            workflow_id = await session.orchestrator.start_workflow(
                workflow_type,
                context,
                idempotency_key=idempotency_key,
                insert_opts=InsertOpts(queue=_queue(queue), priority=priority),
            )
            if not wait:
                print_json({"workflow_id": workflow_id}) if as_json else typer.echo(workflow_id)
                return 0
            try:
                execution = await session.orchestrator.wait(workflow_id, timeout=limit)
            except TimeoutError:
                raise NotEndedError(
                    f"workflow {workflow_id} has not ended within {timeout}; it goes on"
                ) from None
            if as_json:
                print_json(execution_json(execution))
            else:
                typer.echo(f"{workflow_id} {execution.status}{_reason(execution)}")
            return 0 if execution.status is WorkflowStatus.COMPLETED else EXIT_FAILED

    _exit(run(command))


@app.command("list")
def list_command(
    workflow_type: Annotated[str | None, typer.Option("--type")] = None,
    status: Annotated[WorkflowStatus | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List workflows, the newest first."""

    async def command() -> None:
        async with opened() as session:
            found = await session.orchestrator.workflow_manager.list_workflow_executions(
                workflow_type=workflow_type, status=status, limit=limit
            )
        if as_json:
            print_json([_without_context(execution) for execution in found])
            return
        print_table(
            ["id", "type", "status", "created", "took", "error"],
            [
                (
                    e.workflow_id,
                    e.workflow_type,
                    e.status,
                    short_time(e.created_at),
                    short_duration(_took(e)),
                    (e.error or {}).get("type"),
                )
                for e in found
            ],
            empty="No workflow fits.",
        )

    run(command)


@app.command()
def show(workflow_id: Id, as_json: AsJson = False) -> None:
    """Show a workflow, its steps and its history."""

    async def command() -> None:
        async with opened() as session:
            summary = await session.orchestrator.get_workflow_summary(workflow_id)
            events = await session.orchestrator.workflow_manager.get_events(workflow_id)
        if as_json:
            print_json(
                {
                    "execution": execution_json(summary.execution),
                    "steps": [step_json(step) for step in summary.steps],
                    "events": [
                        {"at": e.at, "kind": e.kind, "step": e.step_name, "detail": e.detail}
                        for e in events
                    ],
                }
            )
            return
        print_summary(summary)
        typer.echo("")
        print_table(
            ["at", "event", "step", "attempt", "detail"],
            [
                (short_time(e.at), e.kind, e.step_name, e.attempt, e.detail.get("error") or "")
                for e in events
            ],
            empty="No history.",
        )

    run(command)


@app.command()
def watch(workflow_id: Id, timeout: Annotated[str, typer.Option()] = "1h") -> None:
    """Follow a workflow's history until it ends; exits with 1 unless it was completed."""

    async def command() -> int:
        limit = parse_duration(timeout).total_seconds()
        async with opened() as session:
            seen = 0
            deadline = time.monotonic() + limit
            while True:
                execution = await session.orchestrator.workflow_manager.get_workflow_execution(
                    workflow_id
                )
                events = await session.orchestrator.workflow_manager.get_events(workflow_id)
                for event in events[seen:]:
                    typer.echo(f"{short_time(event.at)} {event.kind} {event.step_name or ''}")
                seen = len(events)
                if execution.status.is_final:
                    typer.echo(f"{execution.status}{_reason(execution)}")
                    return 0 if execution.status is WorkflowStatus.COMPLETED else EXIT_FAILED
                if time.monotonic() > deadline:
                    raise NotEndedError(f"workflow {workflow_id} has not ended within {timeout}")
                await asyncio.sleep(0.5)

    _exit(run(command))


@app.command()
def retry(workflow_id: Id) -> None:
    """Go on from the failed steps of a failed or cancelled workflow."""

    async def command() -> None:
        async with opened() as session:
            steps = await session.orchestrator.retry_workflow(workflow_id)
        typer.echo(f"{workflow_id} goes on with: {', '.join(steps)}")

    run(command)


@app.command()
def cancel(workflow_id: Id, reason: Annotated[str, typer.Option()] = "") -> None:
    """Cancel a workflow and its jobs."""

    async def command() -> None:
        async with opened() as session:
            await session.orchestrator.cancel_workflow(workflow_id, reason)
        typer.echo(f"{workflow_id} is cancelled; `workflow retry` would go on with it")

    run(command)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="such as tax_report")],
    folder: Annotated[Path, typer.Option(help="where to write NAME.py")] = Path(),
) -> None:
    """Write the module of a new workflow, to be filled in."""
    try:
        path = write_skeleton(name, folder)
    except ValueError as error:
        raise fail(f"{name!r}: {error}", EXIT_USAGE) from None
    except FileExistsError:
        raise fail(f"{folder / name}.py exists already", EXIT_USAGE) from None
    typer.echo(f"written  {path}")
    typer.echo(f"Next: fill in its step, then add {name.upper()} and its worker to wiring.py")
    typer.echo("(docs/adding-a-workflow.md shows a whole one)")


def read_input(given: str) -> Mapping[str, Json]:
    """The JSON object of ``--input``: given, in ``@FILE``, or on standard input (``-``).

    Raises ``UsageError`` that names ``--input``.
    """
    try:
        if given == "-":
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        elif given.startswith("@"):
            with Path(given[1:]).open("rb") as file:
                data = file.read(MAX_INPUT_BYTES + 1)
        else:
            data = given.encode()
    except (OSError, ValueError) as error:
        raise UsageError(f"--input {given}: cannot be read ({type(error).__name__})") from None
    if len(data) > MAX_INPUT_BYTES:
        raise UsageError(f"--input is larger than {MAX_INPUT_BYTES // 1024 // 1024} MiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError("--input is not UTF-8 text") from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise UsageError("--input is nested too deeply") from None
    except ValueError as error:
        reason = (
            f"{error.msg} (line {error.lineno}, column {error.colno})"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise UsageError(f"--input is not JSON: {reason}") from None
    if not isinstance(value, dict):
        raise UsageError('--input must be a JSON object, such as \'{"email": "..."}\'')
    return value


def print_summary(summary: WorkflowSummary) -> None:
    """An execution and its steps, for people."""
    execution = summary.execution
    typer.echo(f"workflow  {execution.workflow_id}")
    typer.echo(f"type      {execution.workflow_type} (version {execution.definition_version})")
    typer.echo(f"status    {execution.status}{_reason(execution)}")
    typer.echo(f"created   {short_time(execution.created_at)}")
    if execution.completed_at is not None:
        typer.echo(f"ended     {short_time(execution.completed_at)}")
    typer.echo("")
    print_table(
        ["step", "status", "attempt", "job", "started", "ended", "next attempt", "error"],
        [
            (
                s.step_name,
                s.status,
                s.attempt or "",
                s.job_id,
                s.started_at,
                s.completed_at,
                s.next_attempt_at,
                s.error_message,
            )
            for s in summary.steps
        ],
        empty="No steps.",
    )


def _without_context(execution: WorkflowExecution) -> dict[str, Json]:
    found = execution_json(execution)
    del found["context"]
    return found


def _took(execution: WorkflowExecution) -> timedelta | None:
    if execution.completed_at is None or execution.started_at is None:
        return None
    return execution.completed_at - execution.started_at


def _reason(execution: WorkflowExecution) -> str:
    if execution.error is None:
        return ""
    step = execution.error.get("step")
    return f": {execution.error.get('message')}" + (f" (step {step})" if step else "")


def _queue(name: str | None) -> str | None:
    from v1consortium.cli.worker import parse_queues

    return None if name is None else next(iter(parse_queues([f"{name}=1"])))


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
