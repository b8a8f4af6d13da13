"""One process that speaks River's conformance contract: JSON-RPC 2.0, one object per line."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Self

from riverengine import Json

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL = -32000
NOT_FOUND = -32001
REJECTED = -32002
DATABASE_ERROR = -32003
UNSUPPORTED = -32004

_LINE_LIMIT = 64 * 1024 * 1024


class AdapterError(Exception):
    """The adapter answered with an error; ``code`` is one of the contract's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Adapter:
    """A running adapter process; requests go one after the other.

    command: program and arguments.  url: the database.  application_name: of its connections, with
    the prefix ``river-conformance-``.  environment: more variables.
    """

    def __init__(
        self,
        command: Sequence[str],
        url: str,
        *,
        application_name: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.application_name = application_name
        self._command = command
        self._environment = {
            **os.environ,
            "RIVER_CONFORMANCE_DATABASE_URL": url,
            "RIVER_CONFORMANCE_DATABASE_KIND": "postgres",
            "RIVER_CONFORMANCE_APPLICATION_NAME": application_name,
            **(environment or {}),
        }
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def call(self, method: str, seconds: float = 60.0, /, **params: Json) -> Json:
        """One request's result; raises ``AdapterError`` with the code that was answered."""
        request = {
            "jsonrpc": "2.0",
            "id": next(self._numbers),
            "method": method,
            "params": params,
        }
        answer = await self.line(json.dumps(request), seconds)
        assert answer["id"] == request["id"]
        error = answer.get("error")
        if error is not None:
            assert isinstance(error, dict)
            raise AdapterError(int(str(error["code"])), str(error["message"]))
        return answer["result"]

    async def line(self, text: str, seconds: float = 60.0) -> dict[str, Json]:
        """The answer to one line, whatever it holds."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._turn, asyncio.timeout(seconds):
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
            answer = await process.stdout.readline()
        assert answer, f"{self._command[0]} ended with {process.returncode}"
        decoded: dict[str, Json] = json.loads(answer)
        return decoded

    async def kill(self) -> None:
        """End the process at once, as a crash would."""
        process = self._running()
        process.kill()
        await process.wait()

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "enter the adapter first"
        return self._process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=_LINE_LIMIT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._running()
        if process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
