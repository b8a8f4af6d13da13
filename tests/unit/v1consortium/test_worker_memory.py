"""Worker processes are found by their command and measured."""

from __future__ import annotations

import os
from pathlib import Path

from v1consortium.worker_memory import WorkerMemory, worker_memory

PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: int, command: bytes, pages: str) -> None:
    """One process as the kernel shows it."""
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(command)
    (folder / "statm").write_text(pages, encoding="ascii")


def test_workers_are_found_and_measured(tmp_path: Path) -> None:
    process(tmp_path, 7, b"python\0-m\0v1consortium\0river_worker\0", "900 300 20 1 0 1 0\n")
    process(tmp_path, 8, b"vim\0river_worker.py\0", "900 300 20 1 0 1 0\n")
    process(tmp_path, 9, b"v1consortium\0river_worker\0", "")
    (tmp_path / "10").mkdir()
    (tmp_path / "self").mkdir()
    assert worker_memory(tmp_path) == [WorkerMemory(7, 300 * PAGE)]


def test_a_machine_without_proc_has_none(tmp_path: Path) -> None:
    assert worker_memory(tmp_path / "nothing") == []
