"""Each of River's scenarios is played, by a test of its name in the file of its tier."""

from __future__ import annotations

import importlib
import inspect
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance import report
from tests.conformance.registry import CAPABILITIES, METHODS, SCENARIOS, TIERS

FILES = sorted({scenario.file for scenario in SCENARIOS})
ROLES = {"go", "python", "engine", "engines", "pair", "candidates", "fleet"}
"""Fixtures that give a scenario its adapters."""


def _tests(file: str) -> dict[str, object]:
    module = importlib.import_module(f"tests.conformance.test_{file}")
    return {
        name.removeprefix("test_"): function
        for name, function in vars(module).items()
        if name.startswith("test_")
    }


def test_the_registry_has_the_103_scenarios_once() -> None:
    names = Counter(scenario.name for scenario in SCENARIOS)
    assert [name for name, number in names.items() if number > 1] == []
    assert len(names) == 103
    assert Counter(scenario.tier for scenario in SCENARIOS) == {
        "codec": 9,
        "storage": 19,
        "runtime": 27,
        "mixed": 26,
        "chaos": 12,
        "performance": 10,
    }
    assert {scenario.tier for scenario in SCENARIOS} == set(TIERS)


@pytest.mark.parametrize("file", FILES)
def test_every_scenario_is_played_and_nothing_else(file: str) -> None:
    expected = {scenario.name for scenario in SCENARIOS if scenario.file == file}
    assert set(_tests(file)) == expected


@pytest.mark.parametrize("file", FILES)
def test_every_scenario_has_adapters(file: str) -> None:
    without = [
        name
        for name, function in _tests(file).items()
        if not callable(function) or not ROLES & set(inspect.signature(function).parameters)
    ]
    assert without == []


def test_the_contract_has_65_methods_and_25_capabilities() -> None:
    assert len(METHODS) == len(set(METHODS)) == 65
    assert len(CAPABILITIES) == 25


def test_the_table_tells_what_the_rounds_did(tmp_path: Path) -> None:
    def result(name: str, direction: str, outcome: str = "passed", when: str = "call") -> str:
        return json.dumps(
            {
                "test": f"test_{name}",
                "direction": direction,
                "outcome": outcome,
                "when": when,
                "seconds": 0.1,
                "measured": [],
            }
        )

    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text(
        "\n".join(
            [
                result("cross_language_unique_conflict", "go->python-by_args"),
                result("cross_language_unique_conflict", "go->python-by_queue", "failed"),
                result("cross_language_unique_conflict", "python->go-by_args"),
                result("unique_column_bytes", ""),
                result("panic_attempt_trace", "go->python", "failed", "teardown"),
            ]
        )
    )
    second.write_text(result("unique_column_bytes", ""))
    played = report.read([first, second])
    results = {name: (each.directions, each.result) for name, each in played.items()}
    assert results == {
        "cross_language_unique_conflict": ("go->python, python->go", "FAILED 1 of 2"),
        "unique_column_bytes": ("go+python", "passed 2 times"),
        "panic_attempt_trace": ("go->python", "FAILED 1 of 1"),
    }
    page = report.document(played, ["a fact"])
    assert "- 1 of 103 scenarios passed." in page
    assert page.count("| not run |") == 100
