"""Rules about the repository itself: file sizes, file names, what a commit may hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE_BUDGET = 400
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}

OVER_BUDGET: dict[str, int] = {}
"""Source files allowed to be longer than the budget, at today's length: they may only shrink."""


def tracked(pattern: str) -> list[Path]:
    """Files git tracks, below the repository's root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_source_files_stay_within_the_line_budget() -> None:
    too_long = {}
    for path in tracked("src/*.py"):
        name = str(path.relative_to(ROOT))
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > OVER_BUDGET.get(name, LINE_BUDGET):
            too_long[name] = lines
    assert too_long == {}


def test_no_file_has_a_name_that_tells_nothing() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for path in tracked("src/*")
        if VAGUE_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert vague == []


@pytest.mark.parametrize(
    "forbidden",
    [
        pytest.param(re.compile(r"(?<![\w.])/(?:work|root|home)/\w"), id="machine path"),
        pytest.param(
            re.compile(r"sk_live_|AKIA[0-9A-Z]{16}|-----BEGIN \w+ PRIVATE"), id="credential"
        ),
        pytest.param(
            re.compile(r"https?://(?:pypi\.org|files\.pythonhosted|proxy\.golang)"), id="host"
        ),
    ],
)
def test_no_commit_holds_a_machine_path_credential_or_registry_host(
    forbidden: re.Pattern[str],
) -> None:
    found = []
    for path in tracked("."):
        if path == Path(__file__) or path.suffix in {".png"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [
            f"{path.relative_to(ROOT)}: {match.group()}" for match in forbidden.finditer(text)
        ]
    assert found == []


def test_tests_look_at_the_sessions_of_their_own_database_only() -> None:
    """Those of other tests are on the same server, at the same time."""
    of_the_server = re.compile(r"\bpg_(?:stat_activity|stat_progress_\w+|locks)\b")
    of_the_database = re.compile(r"datname = current_database\(\)|\bpid = \$1")
    found = []
    for path in tracked("tests/*.py"):
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.relative_to(ROOT)}: {text.count(chr(10), 0, match.start()) + 1}"
            for match in of_the_server.finditer(text)
            if path != Path(__file__)
            and not of_the_database.search(text, match.start(), match.end() + 200)
        ]
    assert found == []


def test_statements_are_never_built_from_strings() -> None:
    """SQL lives in .sql files; f-strings that look like statements are refused in the engine."""
    looks_like_sql = re.compile(r"""f["']{1,3}\s*(SELECT|INSERT|UPDATE|DELETE)\b""", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked("src/*.py")
        for match in looks_like_sql.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
