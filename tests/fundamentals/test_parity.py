"""The parity table tells the truth: names can be imported, tests and pages exist."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "parity.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip().strip("|").split(" | "))
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| Feature", "| ---"))
]


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The names of a file's tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def resolve(name: str) -> object:
    """The object of a dotted name; a name without a package is looked up in riverengine."""
    parts = name.split(".")
    if parts[0] not in {"riverengine", "riverjobs", "v1consortium"}:
        parts.insert(0, "riverengine")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            declared = getattr(found, "__dataclass_fields__", None) or vars(found).get(
                "__annotations__", {}
            )
            found = declared[attribute] if attribute in declared else getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_row_is_whole_and_true(row: tuple[str, ...]) -> None:
    assert len(row) == 4, row
    _, names, tests, page = row
    assert names
    for name in re.findall(r"`([\w.]+)`", names):
        resolve(name)
    for path, test in re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", tests):
        assert test in functions_of(ROOT / path), f"{path}::{test}"
    for link in re.findall(r"\]\(([\w/.-]+)\)", page):
        assert (TABLE.parent / link).is_file(), link
    # A feature that is not offered says why in the second column, and nothing else.
    offered = bool(re.search(r"`[\w.]+`", names))
    assert offered == ("::" in tests), row


def test_every_section_of_river_s_features_has_rows() -> None:
    sections = re.split(r"^## ", TABLE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(sections) >= 20
