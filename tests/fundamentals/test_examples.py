"""Every example runs as a program and prints what its docstring says."""

from __future__ import annotations

import ast
import asyncio
import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))

SCENARIOS = [
    "batch_insert",
    "client_from_context",
    "complete_job_within_tx",
    "cron_job",
    "custom_insert_opts",
    "error_handler",
    "global_hooks",
    "global_middleware",
    "graceful_shutdown",
    "graceful_shutdown_stop_and_cancel",
    "hook_metric_emit",
    "insert_and_work",
    "job_args_hooks",
    "job_cancel",
    "job_cancel_from_client",
    "job_snooze",
    "job_stuck_handler",
    "job_stuck_handler_task_dump",
    "migrate",
    "periodic_job",
    "queue_pause",
    "riverlog_new_middleware",
    "riverlog_new_middleware_custom_context",
    "require_inserted",
    "require_many_inserted",
    "resumable_cursor_job",
    "resumable_job",
    "resumable_set_step_tx",
    "scheduled_job",
    "subscription",
    "unique_job",
    "work_func",
]
"""The programs that River's own examples correspond to, one each."""


def promised(example: Path) -> str:
    """What the docstring says the example prints."""
    text = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8")))
    assert text is not None, f"{example.name} has no docstring"
    if "Prints nothing." in text:
        return ""
    _, found, behind = text.partition("Prints::\n\n")
    assert found, f"{example.name} does not say what it prints"
    lines = []
    for line in behind.splitlines():
        if line and not line.startswith("    "):
            break
        lines.append(line)
    return dedent("\n".join(lines)).strip() + "\n"


async def printed(example: Path, *arguments: str) -> str:
    """What the example prints when it is run."""
    settings = {**os.environ, "PYTHONPATH": str(FOLDER.parent / "src"), "PYTHONWARNINGS": "error"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(example), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=settings,
    )
    try:
        async with asyncio.timeout(90):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    return out.decode()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
async def test_the_example_prints_what_it_promises(example: Path, empty_database: str) -> None:
    assert await printed(example, "--database-url", empty_database) == promised(example)


async def test_without_a_url_an_example_starts_its_own_database() -> None:
    example = FOLDER / "insert_and_work.py"
    assert await printed(example) == promised(example)


async def test_an_example_says_what_it_shows() -> None:
    assert "--database-url" in await printed(FOLDER / "insert_and_work.py", "--help")


def test_every_scenario_of_river_s_has_its_example() -> None:
    assert [name for name in SCENARIOS if not (FOLDER / f"{name}.py").is_file()] == []
