"""The adapters of one module of scenarios, on one database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.conformance.adapter import TUNING, Adapter, AdapterGoneError, Program
from tests.conformance.observer import Observer

GO_RIVER = "0.51.1"
"""Version of River that the Go adapter is built on."""

LATEST_MIGRATION = 8
"""River's newest schema version at that release."""


def go_program(binary: Path) -> Program:
    """The adapter on Go River, which exposes none of the tuning."""
    return Program("go", [str(binary)], GO_RIVER)


def python_program() -> Program:
    """The adapter on riverengine."""
    return Program(
        "python",
        [sys.executable, "-m", "riverengine.conformance"],
        version("riverjobs"),
        tuning=frozenset(TUNING),
    )


class Fleet:
    """Adapters by role; a scenario gets them alive and idle."""

    def __init__(self, observer: Observer, go: Program, python: Program) -> None:
        self.observer = observer
        self.database_url = observer.database_url
        self.programs = {"go": go, "python": python}
        self.seen: list[Adapter] = []
        self._standing: dict[str, Adapter] = {}
        self._disposable: list[Adapter] = []

    async def role(self, name: str) -> Adapter:
        """The standing adapter of a role: ``go``, ``python`` or ``python-2``."""
        adapter = self._standing.get(name)
        if adapter is None or not adapter.alive:
            adapter = await self._open(name.split("-")[0], name, self.database_url)
            self._standing[name] = adapter
        if adapter not in self.seen:
            self.seen.append(adapter)
        return adapter

    async def disposable(
        self, implementation: str, name: str, database_url: str | None = None
    ) -> Adapter:
        """A process of its own, which the scenario may kill."""
        adapter = await self._open(implementation, name, database_url or self.database_url)
        self._disposable.append(adapter)
        self.seen.append(adapter)
        return adapter

    async def settle(self) -> None:
        """End disposable adapters, make the standing ones idle and empty River's tables.

        Raises ``ExceptionGroup`` if a standing adapter ended by itself.
        """
        for adapter in self._disposable:
            await adapter.kill()
        self._disposable.clear()
        crashed: list[AdapterGoneError] = []
        for adapter in self._standing.values():
            try:
                await adapter.settle()
            except AdapterGoneError as error:
                crashed.append(error)
        self._standing = {
            name: adapter for name, adapter in self._standing.items() if adapter.alive
        }
        self.seen.clear()
        await self.observer.execute(
            "DELETE FROM river_job; DELETE FROM river_queue; DELETE FROM river_leader;"
            "DELETE FROM river_notification"
        )
        if crashed:
            raise ExceptionGroup("adapters ended during the scenario", crashed)

    async def close(self) -> None:
        """End every process; raises ``ExceptionGroup`` if one does not end well."""
        unruly: list[AdapterGoneError] = []
        for adapter in self._standing.values():
            try:
                await adapter.close()
            except AdapterGoneError as error:
                unruly.append(error)
        self._standing.clear()
        if unruly:
            raise ExceptionGroup("adapters did not end well", unruly)

    async def _open(self, implementation: str, name: str, database_url: str) -> Adapter:
        adapter = Adapter(self.programs[implementation], name)
        await adapter.open(database_url)
        return adapter


def diagnostics(adapters: Sequence[Adapter]) -> list[tuple[str, str]]:
    """What the adapters wrote on standard error, for a failure's report."""
    return [
        (f"{adapter.name} wrote", "\n".join(adapter.diagnostics))
        for adapter in adapters
        if adapter.diagnostics
    ]
