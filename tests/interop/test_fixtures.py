"""The committed fixtures are what Go River computes today."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.go_programs import MODULE, build

pytestmark = pytest.mark.interop

FIXTURES = Path(__file__).parents[1] / "conformance" / "fixtures"


def test_fixtures_are_what_go_computes(empty_database: str, tmp_path: Path) -> None:
    program = build("fixtures")
    subprocess.run([program, tmp_path, empty_database], cwd=MODULE, check=True, timeout=120)
    computed = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text(encoding="utf-8") for path in FIXTURES.glob("*.json")}
    assert computed == committed
