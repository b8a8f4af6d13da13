"""The page of differences tells the truth: its files and tests exist, and none is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fundamentals.test_parity import functions_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "differences.md"
ROWS = [
    cells
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
    and len(cells := [cell.strip() for cell in line.strip().strip("|").split(" | ")]) == 6
    and cells[1] not in {"Go River", "---"}
]
ADMISSION = re.compile(r"deviat|beyond river|unlike go|additive to river", re.IGNORECASE)
"""Words by which a file says that it does not do what Go River does."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_a_difference_has_its_file_and_its_test(row: list[str]) -> None:
    assert all(row), "a cell is empty"
    where, test = row[4].strip("`"), row[5].strip("`")
    assert (ROOT / "src" / where).is_file()
    file, _, name = test.partition("::")
    assert name in functions_of(ROOT / file)


def test_every_file_that_admits_a_difference_is_on_the_page() -> None:
    named = {row[4].strip("`") for row in ROWS}
    admitting = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "riverengine").rglob("*.py")
        if ADMISSION.search(path.read_text(encoding="utf-8"))
    }
    assert admitting
    assert admitting <= named


def test_there_are_differences() -> None:
    assert len(ROWS) > 30
