"""``v1consortium demo`` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

COMMAND = [sys.executable, "-m", "v1consortium"]


def command_lines() -> Iterator[str]:
    """The command lines of all processes."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the demo that PostgreSQL's own account may enter."""
    return tmp_path / "demo"


def left_running(folder: Path) -> list[str]:
    """Servers on the demo's database, and workers and simulators of the demo's session."""
    return [line for line in command_lines() if str(folder) in line and "postgres" in line]


def worker_pids(parent: int) -> list[int]:
    """Processes whose parent is ``parent``."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def test_the_demo_ends_as_it_must_and_can_be_looked_at_afterwards(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 ended as they must" in done.stdout
    for title in ("good sign-up", "declined card", "rush order (critical)", "invalid input"):
        assert title in done.stdout
    assert left_running(folder) == []
    (hint,) = [line.split() for line in done.stdout.splitlines() if "workflow show" in line]
    name, _, value = hint[0].partition("=")
    shown = subprocess.run(
        [*COMMAND, *hint[2:]],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    assert "workflow_completed" in shown.stdout
    assert left_running(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_broken_off_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    folder.mkdir()
    errors = folder / "errors"
    with errors.open("wb") as file:
        demo = subprocess.Popen(
            [*COMMAND, "demo", "--folder", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    try:
        log = folder / "river_worker.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and b"job started" in log.read_bytes()):
            assert demo.poll() is None, "the demo ended before it was broken off"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = worker_pids(demo.pid)
        demo.send_signal(number)
        demo.wait(60)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 130
    assert b"Traceback" not in errors.read_bytes()
    assert len(children) >= 3
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert left_running(folder) == []
