"""Every page of the engine's guide runs as it stands and prints what it says it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "engine").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    """The page's code blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_the_page_s_program_prints_what_the_page_says(
    page: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "\n".join(blocks(page, "python"))
    names: dict[str, object] = {"__name__": page.stem.replace("-", "_")}
    exec(compile(code, page.name, "exec", dont_inherit=True), names)  # noqa: S102 - our own text
    main = names["main"]
    assert callable(main)
    await main(database_url)
    assert capsys.readouterr().out == "".join(blocks(page, "text"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_has_a_program_and_its_output(page: Path) -> None:
    assert blocks(page, "python")
    assert blocks(page, "text")


def test_the_guide_lists_every_page_once() -> None:
    text = (PAGES[0].parents[1] / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\(engine/([\w-]+)\.md\)", text)
    assert sorted(listed) == [page.stem for page in PAGES]
