"""Every named statement of the engine is valid on a migrated database, and used."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import asyncpg
import pytest

import riverengine.queries
from riverengine.queries.statement import Statement, load_statements

PACKAGE = "riverengine.queries.sql"
STATEMENTS = [
    found
    for entry in sorted(resources.files(PACKAGE).iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".sql")
    for found in load_statements(PACKAGE, entry.name).values()
]


@pytest.mark.parametrize("named", STATEMENTS, ids=lambda named: named.name)
@pytest.mark.parametrize("schema", [None, "public"])
async def test_statement_can_be_prepared(
    named: Statement, schema: str | None, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection:
        prepared = await connection.prepare(named.sql(schema))
        parameters = prepared.get_parameters()
    numbers = {int(number) for number in re.findall(r"\$(\d+)", named.text)}
    assert len(parameters) == max(numbers, default=0)
    assert numbers == set(range(1, len(numbers) + 1))


@pytest.mark.parametrize("named", STATEMENTS, ids=lambda named: named.name)
def test_statement_is_used(named: Statement) -> None:
    folder = Path(next(iter(riverengine.queries.__path__)))
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert f'"{named.name}"' in code


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 20


@pytest.mark.parametrize("named", STATEMENTS, ids=lambda named: named.name)
async def test_json_travels_as_text(named: Statement, pool: asyncpg.Pool) -> None:
    """A caller's connection may have JSON codecs of its own, which must not touch our JSON."""
    async with pool.acquire() as connection:
        prepared = await connection.prepare(named.sql(None))
        types = [
            *((f"${number}", found) for number, found in enumerate(prepared.get_parameters(), 1)),
            *((attribute.name, attribute.type) for attribute in prepared.get_attributes() or ()),
        ]
    assert [(name, found.name) for name, found in types if "json" in found.name] == []
