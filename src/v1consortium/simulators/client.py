"""Starts the simulators as a process of their own, and talks to their switchboards."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx

from riverengine.types.job import Json
from v1consortium.simulators.parent import end_with_parent

_START_TIMEOUT = 60.0


class Simulators:
    """A running simulator process.

    urls: by provider.  env: the application's settings that lead it there.
    """

    def __init__(self) -> None:
        """Start the process; raises ``RuntimeError`` when it does not come up."""
        self._folder = tempfile.TemporaryDirectory(prefix="riverjobs-simulators-")
        ports = Path(self._folder.name, "ports.json")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "v1consortium.simulators", "--ports-file", str(ports)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        told = self._wait_for(ports)
        self.urls: Mapping[str, str] = told["urls"]
        self.env: Mapping[str, str] = told["env"]
        self._http = httpx.Client(timeout=10.0, trust_env=False)

    def arm(self, provider: str, fault: str, **options: Json) -> None:
        """Arm a fault of :mod:`.faults`, e.g. ``arm("stripe", "status", status=503, times=2)``."""
        answer = self._http.post(self._control(provider), json={"fault": fault, **options})
        if answer.status_code != 204:
            raise ValueError(f"{provider} refuses the fault: {answer.text}")

    def effects(self, provider: str) -> dict[str, dict[str, int]]:
        """How often each effect was accepted, by business key."""
        return dict(self._state(provider)["effects"])

    def count(self, provider: str, effect: str) -> int:
        """How often an effect was accepted in all."""
        return sum(self.effects(provider).get(effect, {}).values())

    def records(self, provider: str, table: str) -> list[dict[str, Json]]:
        """What the provider holds."""
        return list(self._state(provider)["records"][table])

    def armed(self, provider: str) -> list[Json]:
        """Faults not yet taken by a request."""
        return list(self._state(provider)["faults"])

    def held(self, provider: str) -> int:
        """How many requests wait for :meth:`release`."""
        return int(self._state(provider)["held"])

    def release(self, provider: str) -> None:
        """Let the requests go on that a ``hold`` fault keeps waiting."""
        answer = self._http.post(self._control(provider), json={"action": "release"})
        answer.raise_for_status()

    def reset(self) -> None:
        """Forget everything, at every provider."""
        for provider in self.urls:
            self._http.delete(self._control(provider)).raise_for_status()

    def stop(self) -> None:
        """End the process; safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._http.close()
        self._folder.cleanup()

    def __enter__(self) -> Simulators:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _control(self, provider: str) -> str:
        return f"{self.urls[provider]}/_control"

    def _state(self, provider: str) -> dict[str, Json]:
        state: dict[str, Json] = self._http.get(self._control(provider)).raise_for_status().json()
        return state

    def _wait_for(self, ports: Path) -> dict[str, Json]:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if ports.exists():
                told: dict[str, Json] = json.loads(ports.read_text(encoding="utf-8"))
                return told
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        raise RuntimeError("the simulators did not start")
