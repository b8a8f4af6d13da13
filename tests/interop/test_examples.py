"""Our examples promise the lines that Go River's own examples print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fundamentals.test_examples import FOLDER, SCENARIOS, promised
from tests.interop.go_programs import river_source

pytestmark = pytest.mark.interop

DIFFERING = {
    # Go prints a log record of its client's, we the error stored with the job.
    "job_cancel_from_client": "JobCancelError: job cancelled remotely\n",
}
RENAMED = {"job_stuck_handler_task_dump": "job_stuck_handler_goroutine_dump"}
ELSEWHERE = {
    "migrate": "rivermigrate/example_migrate_test.go",
    "require_inserted": "rivertest/example_require_inserted_test.go",
    "require_many_inserted": "rivertest/example_require_many_inserted_test.go",
    "riverlog_new_middleware": "riverlog/example_new_middleware_test.go",
    "riverlog_new_middleware_custom_context": (
        "riverlog/example_new_middleware_custom_context_test.go"
    ),
}


@pytest.fixture(scope="session")
def river() -> Path:
    """The folder of River's released source."""
    return river_source()


def printed_by_go(source: str) -> str:
    """The lines of an example's comment on its output, which Go's own tests hold it to."""
    _, found, behind = source.rpartition("// Output:")
    assert found
    lines = re.findall(r"^\s*// ?(.*)$", behind.partition("\n}")[0], re.MULTILINE)
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_lines_are_go_s(name: str, river: Path) -> None:
    path = ELSEWHERE.get(name, f"example_{RENAMED.get(name, name)}_test.go")
    theirs = printed_by_go((river / path).read_text(encoding="utf-8"))
    ours = promised(FOLDER / f"{name}.py")
    assert ours == DIFFERING.get(name, theirs)


def test_every_example_of_go_s_has_ours(river: Path) -> None:
    ours = {f"example_{RENAMED.get(name, name)}_test.go" for name in SCENARIOS}
    theirs = {path.name for path in river.glob("example_*_test.go")}
    assert len(theirs) == 27
    assert theirs - ours == set()
