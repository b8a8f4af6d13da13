"""What a simulator has accepted: its tables and its counters, journalled so that they survive."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from riverengine.types.job import Json

Record = dict[str, Json]


class Journal:
    """An append-only file of JSON lines; without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def entries(self) -> Iterator[Record]:
        """What was written by earlier processes; a line torn by a kill ends the reading."""
        if self._path is None or not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                return
            yield entry

    def append(self, entry: Record) -> None:
        """Write one entry through to the operating system."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Store:
    """One simulator's tables (``records``) and counters of accepted effects."""

    def __init__(self, provider: str, journal: Journal) -> None:
        self._provider = provider
        self._journal = journal
        self._tables: dict[str, dict[str, Record]] = {}
        self._effects: dict[str, Counter[str]] = {}
        for entry in journal.entries():
            if entry.get("provider") == provider:
                self._apply(entry)

    def records(self, table: str) -> dict[str, Record]:
        """The table's records by id, oldest first. Change them through :meth:`put` only."""
        return self._tables.setdefault(table, {})

    def put(self, table: str, key: str, record: Record) -> None:
        """Insert or replace a record."""
        self._write({"op": "put", "table": table, "key": key, "record": record})

    def delete(self, table: str, key: str) -> None:
        """Remove a record that is there."""
        self._write({"op": "delete", "table": table, "key": key})

    def clear(self, table: str) -> None:
        """Empty a table."""
        self._write({"op": "clear", "table": table})

    def accept(self, effect: str, key: str) -> None:
        """Count one accepted effect under its business key."""
        self._write({"op": "accept", "effect": effect, "key": key})

    def effects(self) -> dict[str, dict[str, int]]:
        """How often each effect was accepted, by business key."""
        return {effect: dict(counter) for effect, counter in self._effects.items()}

    def reset(self) -> None:
        """Forget everything."""
        self._write({"op": "reset"})

    def _write(self, entry: Record) -> None:
        entry = {"provider": self._provider, **entry}
        self._journal.append(entry)
        self._apply(entry)

    def _apply(self, entry: Record) -> None:
        match entry["op"]:
            case "put":
                self.records(entry["table"])[entry["key"]] = entry["record"]
            case "delete":
                self.records(entry["table"]).pop(entry["key"], None)
            case "clear":
                self.records(entry["table"]).clear()
            case "accept":
                self._effects.setdefault(entry["effect"], Counter())[entry["key"]] += 1
            case "reset":
                self._tables.clear()
                self._effects.clear()
