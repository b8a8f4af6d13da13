"""Builds our programs on Go River's released modules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).parent / "go"
_BINARIES = Path(__file__).parents[2] / ".cache" / "interop"


def build(name: str) -> Path:
    """The program ``cmd/NAME``; without a Go toolchain the test is skipped, or failed in CI."""
    if shutil.which("go") is None:
        if os.environ.get("CI"):
            pytest.fail("the interop tests need the Go toolchain")
        pytest.skip("the Go toolchain is not installed")
    target = _BINARIES / name
    subprocess.run(["go", "build", "-o", str(target), f"./cmd/{name}"], cwd=MODULE, check=True)
    return target
