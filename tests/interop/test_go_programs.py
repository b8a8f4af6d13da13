"""Our Go programs are formatted, free of vet's findings, and generated from what generates them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.go_programs import MODULE, build

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


def test_go_sources_are_formatted_and_vetted(go_conformance: Path) -> None:
    assert go_conformance.is_file()
    unformatted = subprocess.run(
        ["gofmt", "-l", "."], cwd=MODULE, check=True, capture_output=True, text=True
    ).stdout
    assert unformatted == ""
    vetted = subprocess.run(
        ["go", "vet", "./..."], cwd=MODULE, check=False, capture_output=True, text=True
    )
    assert vetted.returncode == 0, vetted.stderr


def test_selected_types_are_what_their_generator_writes(tmp_path: Path) -> None:
    generator = build("selectedtypes")
    subprocess.run([generator], cwd=tmp_path, check=True, timeout=60)
    name = "types_generated.go"
    generated = (tmp_path / name).read_text(encoding="utf-8")
    assert generated == (MODULE / "uniquekey" / name).read_text(encoding="utf-8")
