"""River_worker as a process of its own, for tests that stop and kill it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from riverengine import Json

DONOR: dict[str, Json] = {
    "employee_id": "E-1",
    "first_name": "Dana",
    "last_name": "Driver",
    "phone": "+12125550123",
    "email": "dana@example.com",
    "latitude": 40.71,
    "longitude": -74.0,
    "sms_consent": True,
}
ORDER: dict[str, Json] = {
    "donor": DONOR,
    "supervisor": {"email": "supervisor@example.com"},
    "reason": "pre_employment",
    "unit_codes": ["65304N"],
}
SIGNUP: dict[str, Json] = {
    "email": "ann@example.com",
    "organization_name": "Acme",
    "payment_method": "pm_card_visa",
}


class WorkerProcess:
    """``v1consortium river_worker``; killed at the end if it still runs."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *arguments: str,
        program: Sequence[str] = ("-m", "v1consortium"),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="riverjobs-worker-")
        self.log = Path(self._folder.name, "log")
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *program, "river_worker", "--log-format", "json", *arguments],
                env={**os.environ, **environment},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def lines(self) -> list[dict[str, Json]]:
        """What it logged so far."""
        text = self.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    async def started(self) -> None:
        """Return when it works its queues."""
        async with asyncio.timeout(60):
            while True:
                if "river_worker started" in self.log.read_text(encoding="utf-8"):
                    return
                assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
                await asyncio.sleep(0.02)

    async def ended(self, *, within: float = 60.0) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(within):
            while True:
                code = self.process.poll()
                if code is not None:
                    return code
                await asyncio.sleep(0.02)

    async def frozen(self) -> None:
        """Return when it has stopped itself, to go on where somebody lets it."""
        async with asyncio.timeout(60):
            while True:
                stopped = os.waitid(  # noqa: ASYNC222 - it does not wait
                    os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG
                )
                if stopped is not None:
                    return
                assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
                await asyncio.sleep(0.02)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Kill it if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()

    async def __aenter__(self) -> WorkerProcess:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # pytest shows it with the failure.
            sys.stderr.write(self.log.read_text(encoding="utf-8")[-20_000:])
        self.close()
