"""How much memory the workers on this machine use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """A worker process and its resident memory, in bytes."""

    pid: int
    resident: int


def worker_memory(proc: Path = Path("/proc")) -> list[WorkerMemory]:
    """The ``river_worker`` processes this user may look at; none where there is no ``/proc``."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for folder in sorted(proc.glob("[0-9]*")):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            if b"river_worker" not in arguments:
                continue
            pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            # The process has ended meanwhile, or belongs to somebody else.
            continue
        found.append(WorkerMemory(int(folder.name), pages * page))
    return found
