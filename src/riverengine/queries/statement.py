"""Named SQL statements, loaded from ``.sql`` files when the module that uses them is imported.

A statement starts at a line ``-- name: job_get_by_id``. The marker ``/* SCHEMA */`` in front of a
table, type or function becomes the quoted schema, so that a file still pastes into psql.

Lines that several statements of a file share start at ``-- fragment: job_filters`` and stand where
``/* FRAGMENT job_filters */`` does. A line ending in ``-- if: ids`` is an option: :mod:`job_filter`
leaves it out where it is not chosen; the text as loaded has them all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Protocol, runtime_checkable

_NAME = re.compile(r"^-- (name|fragment): (\w+)\s*$", re.MULTILINE)
_FRAGMENT = re.compile(r"/\* FRAGMENT (\w+) \*/")
_MARKER = "/* SCHEMA */"


class Record(Protocol):
    """A result row, read by column name."""

    def __getitem__(self, key: str, /) -> Any: ...


class Executor(Protocol):
    """What a query needs of a connection: asyncpg's pools and connections fit as they are.

    timeout: seconds, then ``TimeoutError``; None for the connection's own rule.
    """

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> Sequence[Any]:
        """All rows of a statement."""
        ...

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """The first row of a statement; None when there is none."""
        ...

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:
        """The first value of a statement's first row; None when there is no row."""
        ...

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run a statement whose rows do not matter; the result is the server's tag, or empty."""
        ...


@runtime_checkable
class CopyExecutor(Protocol):
    """An executor that can also send rows to a ``COPY ... FROM STDIN`` statement."""

    async def copy(self, sql: str, data: bytes) -> None:
        """Send rows in the text form of COPY."""
        ...


def quote_schema(schema: str | None) -> str:
    """The prefix for objects of ``schema``: quoted, with a dot; "" leaves it to search_path."""
    return "" if not schema else '"' + schema.replace('"', '""') + '".'


class Statement:
    """One named statement; :meth:`sql` renders it for a schema and keeps the result."""

    __slots__ = ("_rendered", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name: str = name
        self.text: str = text
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
    headings = list(_NAME.finditer(text))
    ends = [match.start() for match in headings[1:]] + [len(text)]
    bodies: dict[str, tuple[bool, str]] = {}
    for match, end in zip(headings, ends, strict=True):
        sort, name = match.groups()
        if name in bodies:
            raise ValueError(f"{file}: statement {name} is defined twice")
        bodies[name] = (sort == "fragment", text[match.end() : end].strip().rstrip(";"))
    found: dict[str, Statement] = {}
    for name, (is_fragment, body) in bodies.items():
        if not is_fragment:
            found[name] = Statement(name, _FRAGMENT.sub(lambda match: bodies[match[1]][1], body))
    return found


def statement(file: str, name: str, *, package: str = "riverengine.queries.sql") -> Statement:
    """The named statement; a missing name fails when the module is imported."""
    return load_statements(package, file)[name]
