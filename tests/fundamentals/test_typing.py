"""The public surface is typed as a whole, and every part of it says what it is for."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import riverengine

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_every_public_symbol_has_a_known_type(tmp_path: Path) -> None:
    arguments = ("--verifytypes", "riverengine", "--ignoreexternal")
    report = checked(tmp_path, *arguments)["typeCompleteness"]
    incomplete = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in report["symbols"]
        for diagnostic in symbol["diagnostics"]
        if symbol["isExported"] and diagnostic["severity"] == "error"
    ]
    assert incomplete == []
    assert report["completenessScore"] == 1
    assert report["exportedSymbolCounts"]["withKnownType"] > 1_000


def checked(folder: Path, *arguments: str) -> Any:
    """The type checker's report."""
    # Run from elsewhere: in the repository the checker takes the package for a script's folder.
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "VIRTUAL_ENV": sys.prefix,
    }
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", *arguments, "--outputjson"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


CALLS = """
import asyncpg, asyncpg.pool, psycopg, sqlalchemy
from datetime import timedelta
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session
from dataclasses import dataclass
from typing import ClassVar
from riverengine import (
    Client, InsertOpts, Job, JobState, SyncClient, UniqueOpts, Worker, Workers,
)

@dataclass
class Args:
    kind: ClassVar[str] = "args"
    number: int = 0

async def asynchronous(
    client: Client,
    args: object,
    direct: asyncpg.Connection,
    pooled: asyncpg.pool.PoolConnectionProxy,
    other: psycopg.AsyncConnection[tuple[object, ...]],
    session: AsyncSession,
    scoped: async_scoped_session[AsyncSession],
    connection: AsyncConnection,
    blocking: Session,
) -> None:
    await client.insert(args, tx=direct)
    await client.insert(args, tx=pooled)
    await client.insert_many([args], tx=other)
    await client.insert_many_fast([args], tx=session)
    await client.job_get(1, tx=scoped)
    await client.queue_pause("a", tx=connection)
    state: JobState = (await client.insert(args)).job.state
    await client.insert(args, tx=blocking)  # refused
    await client.insert(args, tx=5)  # refused
    await client.insert(args, InsertOpts(priority="1"))  # refused
    await client.insert(args, InsertOpts(unique_opts=UniqueOpts(by_period=60)))  # refused
    client.insert_many(args)  # refused
    text: str = (await client.insert(args)).job.id  # refused

class OnTheLoop(Worker[Args]):
    async def work(self, job: Job[Args]) -> None:
        number: int = job.args.number
        text: str = job.args.number  # refused

class InAThread(Worker[Args]):
    def work(self, job: Job[Args]) -> None: ...

class Wrong(Worker[Args]):
    def work(self, job: Job[Args]) -> int: ...  # refused

workers = Workers()

@workers.worker
async def of_the_annotation(job: Job[Args]) -> None: ...

@workers.worker(Args, process=True)
def of_the_name(job: Job[Args]) -> None: ...

def synchronous(
    client: SyncClient,
    args: object,
    session: Session,
    scoped: scoped_session[Session],
    connection: sqlalchemy.Connection,
    other: psycopg.Connection[tuple[object, ...]],
    waiting: AsyncSession,
) -> None:
    client.insert(args, tx=session)
    client.insert(args, InsertOpts(scheduled_at=None, priority=1), tx=scoped)
    client.job_cancel(1, tx=connection)
    client.job_list(tx=other)
    client.insert(args, tx="default")
    state: JobState = client.insert(args).job.state
    client.insert(args, tx=waiting)  # refused
    client.job_list(timeout=timedelta(seconds=1))  # refused
"""


def test_calls_are_checked_against_the_types(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(CALLS, encoding="utf-8")
    settings = {
        "typeCheckingMode": "basic",
        "reportUnusedCoroutine": "error",
        "reportIncompatibleMethodOverride": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    report = checked(tmp_path, "calls.py")
    refused = {
        diagnostic["range"]["start"]["line"] + 1
        for diagnostic in report["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    }
    wanted = {
        number for number, line in enumerate(CALLS.split("\n"), 1) if line.endswith("# refused")
    }
    assert refused == wanted, report["generalDiagnostics"]


def public_objects() -> Iterator[tuple[str, object]]:
    """What the packages with an ``__all__`` export, under the first name found."""
    seen: set[int] = set()
    names = [
        "riverengine",
        *(
            found.name
            for found in pkgutil.walk_packages(riverengine.__path__, "riverengine.")
            if found.ispkg
        ),
    ]
    for name in names:
        package = importlib.import_module(name)
        for exported in getattr(package, "__all__", ()):
            value = getattr(package, exported)
            if id(value) not in seen:
                seen.add(id(value))
                yield f"{name}.{exported}", value


PUBLIC = dict(public_objects())


def undocumented(name: str, value: object) -> Iterator[str]:
    """The names of an exported class or function, and of its public methods, without docstring."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    if not inspect.getdoc(value):
        yield name
    if not inspect.isclass(value) or issubclass(value, enum.Enum):
        return
    if dataclasses.is_dataclass(value) and str(value.__doc__).startswith(f"{value.__name__}("):
        # The signature that dataclasses put there tells nothing.
        yield name
    for base in value.__mro__:
        if not base.__module__.startswith("riverengine"):
            continue
        for attribute, member in vars(base).items():
            if attribute.startswith("_"):
                continue
            wrapped = getattr(member, "__func__", member)
            if isinstance(wrapped, property) or inspect.isroutine(wrapped):
                found = inspect.getdoc(getattr(value, attribute))
                if not found:
                    yield f"{name}.{attribute}"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_says_what_it_is_for(name: str) -> None:
    assert sorted(set(undocumented(name, PUBLIC[name]))) == []


def test_there_are_public_names() -> None:
    assert len(PUBLIC) > 100
