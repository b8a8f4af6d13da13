"""Each of River's scenarios is played, by a test of its name in the file of its tier."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter

import pytest

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
