"""Programs of ours on Go River's released modules, built once per session."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_MODULE = Path(__file__).parent / "go"
_BINARIES = Path(__file__).parents[2] / ".cache" / "interop"


@pytest.fixture(scope="session")
def go_migrate() -> Path:
    """Moves a database to a schema version with Go River's migrator."""
    return _build("migrate")


def _build(name: str) -> Path:
    if shutil.which("go") is None:
        if os.environ.get("CI"):
            pytest.fail("the interop tests need the Go toolchain")
        pytest.skip("the Go toolchain is not installed")
    target = _BINARIES / name
    subprocess.run(["go", "build", "-o", str(target), f"./cmd/{name}"], cwd=_MODULE, check=True)
    return target
