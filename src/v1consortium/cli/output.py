"""Prints what commands found: tables for people, JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from riverengine import JobRow, Json
from riverjobs import WorkflowExecution, WorkflowStep


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A table, or the sentence that says there is nothing to show."""
    if not rows:
        sys.stdout.write(empty + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    width = None if sys.stdout.isatty() else 200
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def execution_json(execution: WorkflowExecution) -> dict[str, Json]:
    """An execution for machines; the context is the workflow's own data and is included."""
    return dataclasses.asdict(execution)


def step_json(step: WorkflowStep) -> dict[str, Json]:
    """A step for machines, without its input, which is the context of then."""
    found = dataclasses.asdict(step)
    del found["input_data"]
    return found


def job_json(job: JobRow) -> dict[str, Json]:
    """A job for machines."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "args": job.args,
        "metadata": dict(job.metadata),
        "tags": list(job.tags),
        "created_at": job.created_at,
        "scheduled_at": job.scheduled_at,
        "attempted_at": job.attempted_at,
        "finalized_at": job.finalized_at,
        "attempted_by": list(job.attempted_by),
        "errors": [dataclasses.asdict(error) for error in job.errors],
    }


def short_time(at: datetime | None) -> str:
    """An instant to the second, in UTC."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def short_duration(duration: timedelta | None) -> str:
    """A duration to the tenth of a second."""
    return "" if duration is None else f"{duration.total_seconds():.1f} s"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return short_time(value) if isinstance(value, datetime) else str(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)
