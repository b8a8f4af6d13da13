"""Named SQL statements, loaded from ``.sql`` files when the module that uses them is imported.

A statement starts at a line ``-- name: job_get_by_id``. The marker ``/* SCHEMA */`` in front of a
table, type or function becomes the quoted schema, so that a file still pastes into psql.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Protocol, runtime_checkable

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_MARKER = "/* SCHEMA */"


class Record(Protocol):
    """A result row, read by column name."""

    def __getitem__(self, key: str, /) -> Any: ...


class Executor(Protocol):
    """What a query needs of a connection: asyncpg's pools and connections fit as they are."""

    async def fetch(
        self, query: str, *args: object, timeout: float | None = None
    ) -> Sequence[Any]: ...

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any: ...

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any: ...

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...


@runtime_checkable
class CopyExecutor(Protocol):
    """An executor that can also send rows to a ``COPY ... FROM STDIN`` statement."""

    async def copy(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Send the rows; values as PostgreSQL reads them as text."""
        ...


def quote_schema(schema: str | None) -> str:
    """The prefix for objects of ``schema``: quoted, with a dot; "" leaves it to search_path."""
    return "" if not schema else '"' + schema.replace('"', '""') + '".'


class Statement:
    """One named statement; :meth:`sql` renders it for a schema and keeps the result."""

    __slots__ = ("_rendered", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._rendered: dict[str | None, str] = {}

    def sql(self, schema: str | None) -> str:
        """The statement's text with every object in ``schema``."""
        rendered = self._rendered.get(schema)
        if rendered is None:
            rendered = self._rendered[schema] = self.text.replace(_MARKER, quote_schema(schema))
        return rendered

    def __repr__(self) -> str:
        return f"Statement({self.name})"


@cache
def load_statements(package: str, file: str) -> dict[str, Statement]:
    """All statements of one file of ``package``, by name."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    names = list(_NAME.finditer(text))
    ends = [match.start() for match in names[1:]] + [len(text)]
    found: dict[str, Statement] = {}
    for match, end in zip(names, ends, strict=True):
        name = match.group(1)
        if name in found:
            raise ValueError(f"{file}: statement {name} is defined twice")
        found[name] = Statement(name, text[match.end() : end].strip().rstrip(";"))
    return found


def statement(file: str, name: str, *, package: str = "riverengine.queries.sql") -> Statement:
    """The named statement; a missing name fails when the module is imported."""
    return load_statements(package, file)[name]
