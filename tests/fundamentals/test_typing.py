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

import pytest

import riverengine

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_every_public_symbol_has_a_known_type(tmp_path: Path) -> None:
    # Run from elsewhere: in the repository the checker takes the package for a script's folder.
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "VIRTUAL_ENV": sys.prefix,
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "basedpyright"),
            *("--verifytypes", "riverengine", "--ignoreexternal", "--outputjson"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    incomplete = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in report["symbols"]
        for diagnostic in symbol["diagnostics"]
        if symbol["isExported"] and diagnostic["severity"] == "error"
    ]
    assert incomplete == []
    assert report["completenessScore"] == 1
    assert report["exportedSymbolCounts"]["withKnownType"] > 1_000


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
