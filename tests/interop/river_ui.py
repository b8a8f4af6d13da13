"""River UI's released program, on a database of ours."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

_STARTS = 3
"""A free port may be taken before the program opens it."""


class RiverUI:
    """One process, driven through its HTTP interface."""

    def __init__(self, program: Path, url: str, log: Path, schema: str | None = None) -> None:
        self._program = program
        self._url = url
        self._log = log
        self._schema = schema
        self._process: asyncio.subprocess.Process | None = None
        self._http: httpx.AsyncClient | None = None

    async def get(self, path: str, **query: Any) -> Any:
        """The decoded answer; a failure fails the test."""
        answer = await self.request("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer to a change, whatever its status is."""
        return await self.request(method, path, json=body)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""
        assert self._http is not None
        return await self._http.request(method, path, **options)

    async def __aenter__(self) -> RiverUI:
        for _ in range(_STARTS):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            self._http = httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False
            )
            if await self._start(port):
                return self
            await self._stop()
        raise AssertionError(self._log.read_text(encoding="utf-8"))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _start(self, port: int) -> bool:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(self._program),
                env={
                    **{name: value for name, value in os.environ.items() if name[:2] != "PG"},
                    "DATABASE_URL": self._url,
                    "PORT": str(port),
                    "RIVER_HOST": "127.0.0.1",
                    "RIVER_SCHEMA": self._schema or "",
                },
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(60):
            while self._process.returncode is None:
                try:
                    answer = await self.request("GET", "/api/health-checks/minimal")
                    return answer.status_code == 200
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        return False

    async def _stop(self) -> None:
        if self._http is not None:
            await self._http.aclose()
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(20):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
