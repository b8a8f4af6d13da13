"""What the packages promise to export can be imported, and is listed in order."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import riverengine
import riverjobs

MODULES = [
    riverengine.__name__,
    riverjobs.__name__,
    *(
        found.name
        for found in pkgutil.walk_packages(riverengine.__path__, "riverengine.")
        if not found.name.endswith("__main__")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    exported: list[str] = getattr(module, "__all__", [])
    assert [each for each in exported if not hasattr(module, each)] == []
    assert len(set(exported)) == len(exported)
