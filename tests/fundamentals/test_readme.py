"""The README's and ARCHITECTURE's promises: the example runs, the files are where they are said."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


async def test_the_example_runs(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own README
    main = names["main"]
    assert callable(main)
    await main(database_url)
    assert capsys.readouterr().out == "Hello, Ann!\njob_completed\n"


def test_every_make_target_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("## Where is it") :]
    named = re.findall(r"`((?:riverengine|riverjobs|v1consortium)/[\w/.]*)`", table)
    assert len(named) > 40
    missing = [path for path in named if not (ROOT / "src" / path).exists()]
    assert missing == []


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "check", "interop", "coverage"):
        assert target in done.stdout
