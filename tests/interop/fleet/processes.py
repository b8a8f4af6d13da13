"""Starts, kills and ends the clients of a fleet."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PYTHON = [sys.executable, "-m", "tests.interop.fleet.client"]


@dataclass
class Member:
    """One client id and the process that has it now; a restarted one has the id of the last."""

    client_id: str
    language: str
    command: Sequence[str]
    log: Path
    generation: int = 0
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def process_name(self) -> str:
        """Tells this process from those before it."""
        return f"{self.client_id}.{self.generation}"

    async def start(self, settings: Mapping[str, Any], *, insert_seconds: float) -> None:
        """Start a process that inserts for so long and works until it is told to end."""
        self.generation += 1
        given = {
            **settings,
            "client_id": self.client_id,
            "process": self.process_name,
            "seed": hash((settings["seed"], self.client_id, self.generation)) % 2**32,
            "insert_seconds": max(insert_seconds, 0.0),
        }
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "FLEET_SETTINGS": json.dumps(given)},
            )

    async def kill(self) -> None:
        """End the process as a crash does."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def end(self, within: float) -> int:
        """Let the process finish its jobs; its exit code."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(within):
            return await self.process.wait()
