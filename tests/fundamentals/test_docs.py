"""Every page of the engine's guide runs as it stands and prints what it says it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "engine").glob("*.md"))
RUN = "import asyncio, sys; from page import main; asyncio.run(main(sys.argv[1]))"


def blocks(page: Path, language: str) -> list[str]:
    """The page's code blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_s_program_prints_what_the_page_says(
    page: Path, database_url: str, tmp_path: Path
) -> None:
    # In a process of its own, like a reader's: libraries keep settings for a whole process.
    (tmp_path / "page.py").write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, database_url],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert program.returncode == 0, program.stderr
    assert "Exception ignored" not in program.stderr  # a leak, noticed too late to raise
    assert program.stdout == "".join(blocks(page, "text"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_has_a_program_and_its_output(page: Path) -> None:
    assert blocks(page, "python")
    assert blocks(page, "text")


def test_the_guide_lists_every_page_once() -> None:
    text = (PAGES[0].parents[1] / "README.md").read_text(encoding="utf-8")
    contents = text.partition("\n## In Go's words")[0]
    listed = re.findall(r"\]\(engine/([\w-]+)\.md\)", contents)
    assert sorted(listed) == [page.stem for page in PAGES]
