"""Adapters in roles, and a record of what every scenario did."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from riverengine.schema.migrator import Migrator
from tests.conformance.adapter import Adapter, Program
from tests.conformance.fleet import Fleet, diagnostics, go_program, python_program
from tests.conformance.observer import Observer
from tests.conftest import _database_name, _execute, with_database
from tests.interop.go_programs import build

RESULTS = "RIVERJOBS_CONFORMANCE_RESULTS"
"""Environment variable: file to which each finished test is added, one JSON object per line."""


class Pair(NamedTuple):
    """Two adapters; what the first writes the second reads, or as the scenario says."""

    first: Adapter
    second: Adapter


@pytest.fixture(scope="session")
def go_conformance() -> Program:
    """The Go adapter, built."""
    return go_program(build("conformance"))


@pytest.fixture(scope="module")
async def module_fleet(server_url: str, go_conformance: Program) -> AsyncIterator[Fleet]:
    """Adapters that live as long as the module, on a database of their own."""
    name = _database_name()
    await _execute(server_url, f"CREATE DATABASE {name}")
    url = with_database(server_url, name)
    connection = await asyncpg.connect(url)
    try:
        await Migrator(connection).migrate_up()
    finally:
        await connection.close()
    async with Observer.open(url) as observer:
        fleet = Fleet(observer, go_conformance, python_program())
        yield fleet
        await fleet.close()
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def fleet(module_fleet: Fleet) -> AsyncIterator[Fleet]:
    """The module's adapters, idle again after the test."""
    yield module_fleet
    await module_fleet.settle()


@pytest.fixture
def observer(fleet: Fleet) -> Observer:
    """The runner's own view of the database."""
    return fleet.observer


@pytest.fixture
async def go(fleet: Fleet) -> Adapter:
    """The reference."""
    return await fleet.role("go")


@pytest.fixture
async def python(fleet: Fleet) -> Adapter:
    """The candidate."""
    return await fleet.role("python")


@pytest.fixture(params=["go", "python"])
async def engine(request: pytest.FixtureRequest, fleet: Fleet) -> Adapter:
    """One engine alone, in turn."""
    return await fleet.role(request.param)


@pytest.fixture(params=["go->python", "python->go"])
async def pair(request: pytest.FixtureRequest, fleet: Fleet) -> Pair:
    """Both engines in both directions."""
    first, second = request.param.split("->")
    return Pair(await fleet.role(first), await fleet.role(second))


@pytest.fixture(params=["python->python-2", "python-2->python"])
async def candidates(request: pytest.FixtureRequest, fleet: Fleet) -> Pair:
    """Two candidates beside the reference, in both directions."""
    first, second = request.param.split("->")
    return Pair(await fleet.role(first), await fleet.role(second))


@pytest.fixture(params=["go+python+python-2"])
async def engines(request: pytest.FixtureRequest, fleet: Fleet) -> list[Adapter]:
    """Three engines on one database, the reference first."""
    return [await fleet.role(name) for name in request.param.split("+")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fleet = getattr(item, "funcargs", {}).get("fleet")
    if report.failed and isinstance(fleet, Fleet):
        report.sections += diagnostics(fleet.seen)
    _record(item, report)
    return report


def _record(item: pytest.Item, report: pytest.TestReport) -> None:
    target = os.environ.get(RESULTS)
    if not target or (report.when != "call" and report.passed):
        return
    direction = getattr(item, "callspec", None)
    result = {
        "test": getattr(item, "originalname", item.name),
        "direction": direction.id if direction is not None else "",
        "outcome": report.outcome,
        "when": report.when,
        "seconds": round(report.duration, 2),
        "measured": [list(pair) for pair in report.user_properties],
    }
    with Path(target).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(result) + "\n")
