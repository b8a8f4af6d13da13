"""Turns the results of runs into the table of docs/conformance.md."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tests.conformance.registry import SCENARIOS, TIERS, Scenario


class ResultJson(TypedDict):
    """One finished test, as the runner's conftest notes it."""

    test: str
    direction: str
    outcome: str
    when: str
    seconds: float
    measured: list[tuple[str, object]]


@dataclass
class Played:
    """How a scenario went, over all rounds."""

    outcomes: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    measured: dict[str, list[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it was played and never failed."""
        return bool(self.outcomes) and all(all(each) for each in self.outcomes.values())

    @property
    def directions(self) -> str:
        """The directions it was played in."""
        return ", ".join(sorted(self.outcomes)) or "-"

    @property
    def result(self) -> str:
        """In words."""
        if not self.outcomes:
            return "not run"
        runs = [outcome for each in self.outcomes.values() for outcome in each]
        if all(runs):
            return "passed" if len(runs) == len(self.outcomes) else f"passed {len(runs)} times"
        return f"FAILED {runs.count(False)} of {len(runs)}"


def read(paths: Iterable[Path]) -> dict[str, Played]:
    """Results by scenario; each path is one round."""
    played: dict[str, Played] = defaultdict(Played)
    for path in paths:
        round_outcomes: dict[tuple[str, str], bool] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            result: ResultJson = json.loads(line)
            name = result["test"].removeprefix("test_")
            key = name, _direction(name, result["direction"])
            good = result["outcome"] == "passed"
            round_outcomes[key] = round_outcomes.get(key, True) and good
            if result["measured"]:
                played[name].measured[key[1]] = [
                    f"{what}: {value}" for what, value in result["measured"]
                ]
        for (name, direction), good in round_outcomes.items():
            played[name].outcomes[direction].append(good)
    return played


_ROLES = (
    "go+python+python-2",
    "python->python-2",
    "python-2->python",
    "go->python",
    "python->go",
)


def _direction(scenario: str, parameters: str) -> str:
    """The roles of a test; its other parameters are cases of the same direction."""
    for roles in _ROLES:
        if roles in parameters:
            return roles
    if parameters:
        return parameters
    if scenario.startswith(("candidate_", "custom_schema_candidate")):
        return "python->go"
    if scenario.startswith(("reference_", "custom_schema_reference")):
        return "go->python"
    if scenario.startswith(("ignored_", "process_kill")):
        return "python"
    return "go+python"


def table(scenarios: Sequence[Scenario], played: dict[str, Played]) -> list[str]:
    """Rows of Markdown."""
    lines = [
        "| Scenario | Asserts | Directions | Result | Note |",
        "| --- | --- | --- | --- | --- |",
    ]
    for scenario in scenarios:
        result = played.get(scenario.name, Played())
        notes = [scenario.note, *itertools.chain(*result.measured.values())]
        cells = [
            f"`{scenario.name}`",
            scenario.asserts.replace("|", "\\|"),
            result.directions,
            result.result,
            "; ".join(note for note in notes if note),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def document(played: dict[str, Played], facts: Sequence[str]) -> str:
    """The whole page."""
    passed = sum(played.get(scenario.name, Played()).passed for scenario in SCENARIOS)
    lines = [
        "# Conformance with River",
        "",
        "River's repository describes a conformance suite of 103 scenarios. Our own runner",
        "(`tests/conformance`) plays each of them under the same name with the same assertions,",
        "with an adapter on Go River's released modules and one on `riverengine`, on one database.",
        "`go->python` means that Go has the first role (writer, inserter, leader as the scenario",
        "says) and Python the second; `go` or `python` alone that the engine is checked by itself;",
        "`go+python` that both work at once or are compared; `python-2` is a second Python process",
        "beside Go. Where River v0.51.1 behaves otherwise than the suite's age, v0.51.1",
        "wins, and the note says so.",
        "",
        "`make interop` plays the tiers codec to chaos; `make conformance` plays all. This page is",
        "written by `make conformance ARGS=--report` from what a run did.",
        "",
        *(f"- {fact}" for fact in facts),
        f"- {passed} of {len(SCENARIOS)} scenarios passed.",
    ]
    for tier in TIERS:
        scenarios = [scenario for scenario in SCENARIOS if scenario.tier == tier]
        lines += ["", f"## {tier.capitalize()} ({len(scenarios)})", "", *table(scenarios, played)]
    return "\n".join(lines) + "\n"
