"""Builds our programs on Go River's released modules, and River UI's own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).parent / "go"
_RIVER_UI = Path(__file__).parent / "go-riverui"
_BINARIES = Path(__file__).parents[2] / ".cache" / "interop"


def build(name: str) -> Path:
    """The program ``cmd/NAME``; without a Go toolchain the test is skipped, or failed in CI."""
    return _build(name, f"./cmd/{name}", MODULE)


def build_river_ui() -> Path:
    """River UI's released program; skipped or failed as :func:`build`."""
    return _build("riverui", "riverqueue.com/riverui/cmd/riverui", _RIVER_UI)


def river_source() -> Path:
    """The folder of River's released source; skipped or failed as :func:`build`."""
    _require_go()
    module = ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/riverqueue/river"]
    subprocess.run(["go", "mod", "download"], cwd=MODULE, check=True)
    done = subprocess.run(module, cwd=MODULE, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def _require_go() -> None:
    if shutil.which("go") is None:
        if os.environ.get("CI"):
            pytest.fail("the interop tests need the Go toolchain")
        pytest.skip("the Go toolchain is not installed")


def _build(name: str, package: str, module: Path) -> Path:
    _require_go()
    target = _BINARIES / name
    _BINARIES.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes: one builds, and the others find the program up to date.
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["go", "build", "-o", str(target), package], cwd=module, check=True)
    return target


def main() -> None:
    """Build all, so that no test's time limit counts it; without Go the tests say what they do."""
    if shutil.which("go") is not None:
        for folder in sorted((MODULE / "cmd").iterdir()):
            build(folder.name)
        build_river_ui()


if __name__ == "__main__":
    main()
