"""Drives an adapter process as the suite's harness does."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from riverengine import Json

COMMAND = (sys.executable, "-m", "riverengine.conformance")
LINE_LIMIT = 4 * 1024 * 1024
"""The longest answer the harness reads."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_FOUND, REJECTED, DATABASE_ERROR, UNSUPPORTED = -32001, -32002, -32003, -32004


class RefusedError(Exception):
    """The adapter answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Adapter:
    """One process, asked one thing at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._numbers = itertools.count(1)

    async def call(self, method: str, /, **params: Json) -> Json:
        """One request; raises :class:`RefusedError`."""
        number = next(self._numbers)
        answer = await self.ask(
            json.dumps({"id": number, "jsonrpc": "2.0", "method": method, "params": params})
        )
        assert answer["id"] == number
        if "error" in answer:
            raise RefusedError(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    async def ask(self, line: str | bytes) -> Json:
        """The answer to any line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        data = line.encode() if isinstance(line, str) else line
        self.process.stdin.write(data + b"\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(60):
            answer = await self.process.stdout.readline()
        assert 0 < len(answer) <= LINE_LIMIT
        return json.loads(answer)

    async def code(self, method: str, /, **params: Json) -> int:
        """The code of a request that must be refused."""
        try:
            result = await self.call(method, **params)
        except RefusedError as refused:
            return refused.code
        raise AssertionError(f"{method} succeeded: {result}")

    async def wait_for_state(self, job_id: int, *states: str) -> Json:
        """The job once it is in one of the states."""
        return await self.call("wait", id=job_id, states=list(states))

    async def wait_for(self, method: str, result: Json) -> None:
        """Ask again and again until this is the result."""
        async with asyncio.timeout(20):
            while True:
                if await self.call(method) == result:
                    return
                await asyncio.sleep(0.01)

    async def end(self) -> int:
        """Close stdin and return the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def running_adapter(
    url: str, command: Sequence[str] = COMMAND, **environment: str
) -> AsyncIterator[Adapter]:
    """An adapter on a database, ended at the end, with its exit code checked."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "RIVER_CONFORMANCE_DATABASE_URL": url, **environment},
        limit=2 * LINE_LIMIT,
    )
    adapter = Adapter(process)
    try:
        yield adapter
        if process.returncode is None:
            assert await adapter.end() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
