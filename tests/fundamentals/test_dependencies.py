"""Each part runs with the packages its extra installs, and no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata

import pytest

PARTS = {
    "": (
        "riverengine",
        "riverengine.testing",
        "riverengine.cli",
        "riverengine.conformance.__main__",
        "riverengine.compat.riverqueue",
        "riverengine.contrib.versioned_jobs",
        "riverengine.riverlog",
        "riverengine.embedded",
        "riverjobs",
    ),
    "psycopg": ("riverengine.drivers.psycopg_driver",),
    "sqlalchemy": (
        "riverengine.drivers.sqlalchemy_driver",
        "riverengine.drivers.sqlalchemy_async_driver",
        "riverengine.compat.riverqueue.driver.riversqlalchemy",
    ),
    "django": ("riverengine.drivers.django_driver",),
    "opentelemetry": ("riverengine.contrib.opentelemetry",),
    "app": ("v1consortium.cli",),
}

PROGRAM = """
import importlib, json, sys
missing = set(json.loads(sys.argv[1]))

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def installed(name: str, extras: frozenset[str]) -> set[str]:
    """The distributions that ``pip install name[extras]`` brings, itself included."""
    found, todo = set(), [(name, extras)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            requirements = metadata.requires(one[0]) or []
        except metadata.PackageNotFoundError:  # of another platform, or optional
            continue
        found.add(canonical(one[0]))
        for text in requirements:
            wanted_by = re.search(r"extra == ['\"]([\w-]+)['\"]", text)
            if wanted_by is None or wanted_by[1] in one[1]:
                match = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", text)
                assert match is not None
                todo.append((match[1], frozenset((match[2] or "").split(","))))
    return found


def canonical(name: str) -> str:
    """A distribution's name as packages compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("extra", PARTS, ids=lambda extra: extra or "no extra")
def test_a_part_needs_what_its_extra_installs(extra: str) -> None:
    distributions = installed("riverjobs", frozenset({extra}))
    missing = [
        module
        for module, names in metadata.packages_distributions().items()
        if not distributions & {canonical(name) for name in names}
    ]
    assert "mypy" in missing
    arguments = [json.dumps(missing), *PARTS[""], *PARTS[extra]]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_application_without_its_extra_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None; import v1consortium.__main__ as m; m.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: typer is missing: pip install 'riverjobs[app]'\n"
