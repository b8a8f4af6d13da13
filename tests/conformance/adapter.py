"""Drives one conformance adapter: a process that speaks JSON-RPC, one object per line."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from tests.sessions import sessions

ERROR_CODES: Mapping[str, int] = {
    "parse_error": -32700,
    "invalid_request": -32600,
    "method_not_found": -32601,
    "invalid_params": -32602,
    "internal": -32000,
    "not_found": -32001,
    "rejected": -32002,
    "database_error": -32003,
    "unsupported": -32004,
}
"""The contract's names of failures."""

TUNING = ("elect_interval_ms", "rescuer_interval_ms", "scheduler_interval_ms")
"""Options of ``start`` that an implementation may leave out."""

ANSWER_WITHIN = 60.0
"""Seconds until a request without an answer fails its scenario."""

_LINE_LIMIT = 64 * 1024 * 1024
_NAMES = {code: name for name, code in ERROR_CODES.items()}
_numbers = itertools.count(1)


class AttemptErrorJson(TypedDict):
    """One failed attempt."""

    at: str
    attempt: int
    error: str
    trace: str


class JobJson(TypedDict):
    """A job as adapters print it."""

    args: dict[str, Any]
    attempt: int
    attempted_at: str | None
    attempted_by: list[str]
    created_at: str
    errors: list[AttemptErrorJson]
    finalized_at: str | None
    id: int
    kind: str
    max_attempts: int
    metadata: dict[str, Any]
    priority: int
    queue: str
    scheduled_at: str
    state: str
    tags: list[str]
    unique_key: str | None
    unique_states: list[str] | None


class QueueJson(TypedDict):
    """A queue as adapters print it."""

    created_at: str
    metadata: dict[str, Any]
    name: str
    paused_at: str | None
    updated_at: str


class StatsJson(TypedDict):
    """What a worker saw while it was instrumented."""

    cancelled_at_start: int
    error_handler_calls: int
    events: list[str]
    periodic_starts: int
    resumable_first_runs: int
    resumable_second_runs: int
    stuck_jobs: int
    trace: list[str]


class InsertResultJson(TypedDict):
    """One result of a batch."""

    job: JobJson
    unique_skipped_as_duplicate: bool


class InsertJson(TypedDict):
    """One job of a batch to insert."""

    message: str
    behavior: NotRequired[str]
    duration_ms: NotRequired[int]
    opts: NotRequired[dict[str, Any]]


@dataclass(frozen=True)
class RawJson:
    """JSON text sent as it is, where an encoder would change its bytes."""

    text: str


class AdapterError(Exception):
    """The adapter answered with an error."""

    def __init__(self, adapter: str, method: str, code: int, message: str) -> None:
        self.code = code
        self.reason = _NAMES.get(code, f"code {code} outside the contract")
        super().__init__(f"{adapter}: {method} failed, {self.reason}: {message}")


class AdapterGoneError(Exception):
    """The adapter's process ended, or a request got no answer in time."""


@dataclass(frozen=True)
class Program:
    """An implementation's adapter: how to start it and which tuning of ``start`` it offers."""

    implementation: str
    command: Sequence[str]
    version: str
    tuning: frozenset[str] = frozenset()


class Adapter:
    """One process; requests are sent without awaiting earlier answers."""

    def __init__(self, program: Program, name: str) -> None:
        """name: begins the ids of the clients that the scenarios start in it."""
        self.program = program
        self.name = name
        self.application_name = (
            f"river-conformance-{program.implementation}-{os.getpid()}-{next(_numbers)}"
        )
        self.diagnostics: deque[str] = deque(maxlen=400)
        self._requests = itertools.count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._database_url = ""
        self._readers: list[asyncio.Task[None]] = []
        self._started = False
        self._killed = False
        self._output_ended = False
        self._handles: set[str] = set()

    @property
    def implementation(self) -> str:
        """The language's name."""
        return self.program.implementation

    @property
    def alive(self) -> bool:
        """Whether the process runs and owes no answer."""
        return (
            self._process is not None
            and self._process.returncode is None
            and not self._output_ended
            and not self._waiting
        )

    @property
    def cpu_seconds(self) -> float:
        """Processor time the process has used, which a busy machine does not change much."""
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def open(self, database_url: str) -> None:
        """Start the process."""
        self._database_url = database_url
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "RIVER_CONFORMANCE_"))
        }
        environment |= {
            "RIVER_CONFORMANCE_DATABASE_URL": database_url,
            "RIVER_CONFORMANCE_DATABASE_KIND": "postgres",
            "RIVER_CONFORMANCE_APPLICATION_NAME": self.application_name,
        }
        self._process = await asyncio.create_subprocess_exec(
            *self.program.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=_LINE_LIMIT,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read_answers(self._process.stdout)),
            asyncio.create_task(self._read_diagnostics(self._process.stderr)),
        ]

    async def call(self, method: str, **params: Any) -> Any:
        """One request; raises ``AdapterError`` if refused, ``AdapterGoneError`` unanswered."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._requests)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (method, answer)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            self._process.stdin.write(_encoded(request))
            await self._process.stdin.drain()
            async with asyncio.timeout(ANSWER_WITHIN):
                result = await answer
        except TimeoutError:
            self.diagnostics.extend(await sessions(self._database_url))
            raise AdapterGoneError(f"{self.name}: no answer to {method} {params}") from None
        except ConnectionError as error:
            self._waiting.pop(number, None)
            raise AdapterGoneError(f"{self.name}: gone before {method}: {error}") from None
        except AdapterError:
            if method in {"tx_commit", "tx_rollback"}:
                self._handles.discard(params["handle"])
            raise
        self._remember(method, params)
        return result

    async def refused(
        self, method: str, reason: str, *or_reason: str, **params: Any
    ) -> AdapterError:
        """A request that has to fail, for one of these reasons."""
        try:
            result = await self.call(method, **params)
        except AdapterError as error:
            if error.reason not in {reason, *or_reason}:
                raise AssertionError(f"{error} instead of {reason}") from None
            return error
        raise AssertionError(f"{self.name}: {method} {params} passed: {result}")

    async def attempt(self, method: str, **params: Any) -> None:
        """A request that may fail."""
        with suppress(AdapterError):
            await self.call(method, **params)

    async def job(self, method: str, **params: Any) -> JobJson:
        """A request answered by a job."""
        return _checked(await self.call(method, **params))

    async def jobs(self, method: str, **params: Any) -> list[JobJson]:
        """A request answered by jobs."""
        return [_checked(job) for job in (await self.call(method, **params))["jobs"]]

    async def insert(
        self,
        message: str,
        *,
        behavior: str = "",
        duration_ms: int = 0,
        schema: str = "",
        **opts: Any,
    ) -> JobJson:
        """Insert one ``conformance_echo`` job."""
        params: dict[str, Any] = {"message": message, "behavior": behavior}
        if duration_ms:
            params["duration_ms"] = duration_ms
        if schema:
            params["schema"] = schema
        if opts:
            params["opts"] = opts
        return await self.job("insert", **params)

    async def insert_many(
        self, jobs: Sequence[InsertJson], *, handle: str = ""
    ) -> list[InsertResultJson]:
        """Insert a batch, in a transaction if a handle is given."""
        if handle:
            result = await self.call("tx_insert_many", handle=handle, jobs=list(jobs))
        else:
            result = await self.call("insert_many", jobs=list(jobs))
        inserted: list[InsertResultJson] = result["results"]
        for each in inserted:
            _checked(each["job"])
        return inserted

    async def get(self, job_id: int, schema: str = "") -> JobJson:
        """Read one job."""
        return await self.job("get", id=job_id, **({"schema": schema} if schema else {}))

    async def wait(self, job_id: int, *states: str) -> JobJson:
        """The job once it is in one of the states (a final one if none is given)."""
        return await self.job("wait", id=job_id, **({"states": list(states)} if states else {}))

    async def queue(self, method: str, **params: Any) -> QueueJson:
        """A request answered by a queue."""
        queue: QueueJson = await self.call(method, **params)
        assert set(queue) == set(QueueJson.__annotations__), queue
        return queue

    async def stats(self) -> StatsJson:
        """What the instrumented client saw."""
        stats: StatsJson = await self.call("runtime_stats")
        return stats

    async def start(self, client_id: str, **params: Any) -> None:
        """Start the client, with the tuning that this implementation offers."""
        usable = {
            name: value
            for name, value in params.items()
            if name not in TUNING or name in self.program.tuning
        }
        await self.call("start", client_id=client_id, **usable)

    async def stop(self) -> None:
        """Stop the client."""
        await self.call("stop")

    async def kill(self) -> None:
        """End the process as a crash does."""
        assert self._process is not None
        if self._process.returncode is None:
            self._killed = True
            self._process.kill()
        await self._process.wait()
        await self._finish()

    async def settle(self) -> None:
        """Leave nothing of a scenario behind: stop the client, roll transactions back.

        Raises ``AdapterGoneError`` if the process ended by itself.
        """
        assert self._process is not None
        if not self.alive:
            if self._output_ended:
                async with asyncio.timeout(20):
                    await self._process.wait()
            ended = self._process.returncode
            await self.kill()
            if ended is not None and not self._killed:
                raise AdapterGoneError(f"{self.name}: ended by itself with {ended}")
            return
        try:
            if self._started:
                await self.call("stop", cancel=True)
            for handle in sorted(self._handles):
                await self.call("tx_rollback", handle=handle)
        except (AdapterError, AdapterGoneError):
            await self.kill()

    async def close(self) -> None:
        """End the process by closing its input.

        Raises ``AdapterGoneError`` if it does not obey, or ends with an error.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        if self._process.returncode is None:
            self._process.stdin.close()
            try:
                async with asyncio.timeout(20):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()
                raise AdapterGoneError(
                    f"{self.name}: lives on though its input is closed"
                ) from None
        await self._finish()
        if self._process.returncode != 0 and not self._killed:
            raise AdapterGoneError(f"{self.name}: ended with {self._process.returncode}")

    async def _finish(self) -> None:
        await asyncio.gather(*self._readers)
        self._waiting.clear()

    async def _read_answers(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            try:
                answer = json.loads(line)
                method, waiting = self._waiting.pop(answer["id"])
            except (ValueError, KeyError, TypeError):
                self.diagnostics.append(f"not an answer: {line[:400]!r}")
                continue
            if waiting.done():
                continue
            if "error" in answer:
                error = answer["error"]
                waiting.set_exception(
                    AdapterError(self.name, method, error["code"], error["message"])
                )
            else:
                waiting.set_result(answer["result"])
        self._output_ended = True
        for method, waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AdapterGoneError(f"{self.name}: ended during {method}"))
        with suppress(ConnectionError):
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.close()

    async def _read_diagnostics(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self.diagnostics.append(line.decode(errors="replace").rstrip())

    def _remember(self, method: str, params: Mapping[str, Any]) -> None:
        match method:
            case "start":
                self._started = True
            case "stop":
                self._started = False
            case "tx_begin":
                self._handles.add(params["handle"])
            case "tx_commit" | "tx_rollback":
                self._handles.discard(params["handle"])


def _encoded(request: Mapping[str, Any]) -> bytes:
    raw: dict[str, str] = {}

    def placeholder(value: object) -> str:
        assert isinstance(value, RawJson), value
        name = f"raw-json-{len(raw)}-of-this-request"
        raw[f'"{name}"'] = value.text
        return name

    text = json.dumps(request, default=placeholder)
    for name, replacement in raw.items():
        text = text.replace(name, replacement)
    return text.encode() + b"\n"


def _checked(job: JobJson) -> JobJson:
    assert set(job) == set(JobJson.__annotations__), job
    assert job["errors"] is not None, job
    return job
