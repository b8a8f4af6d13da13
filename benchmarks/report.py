"""Turns measurements into a table: medians, spreads, and ratios taken round by round."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.scenarios import RIVERENGINE, Scenario


@dataclass(frozen=True)
class Measurement:
    """One run. value: jobs a second, or the median wait in milliseconds.

    worst: the 95th percentile of waits.  cpu: microseconds of the client's processor a job.
    """

    value: float
    is_wait: bool
    worst: float | None = None
    cpu: float | None = None

    @classmethod
    def of(cls, result: Mapping[str, Any], jobs: int) -> Measurement:
        """From what a program printed."""
        waits = result.get("milliseconds")
        if waits is not None:
            ordered = sorted(waits)
            return cls(
                statistics.median(ordered),
                is_wait=True,
                worst=ordered[int(len(ordered) * 0.95) - 1],
            )
        return cls(
            jobs / result["seconds"],
            is_wait=False,
            cpu=result["cpu_seconds"] / jobs * 1e6,
        )

    def __str__(self) -> str:
        return f"{self.value:.1f} ms" if self.is_wait else f"{self.value:,.0f}/s"


_PAGE = Path(__file__).with_name("performance.md.txt")

Results = Mapping[str, Mapping[str, Sequence[Measurement]]]


def markdown(scenarios: Sequence[Scenario], results: Results) -> str:
    """The whole table, a section a scenario."""
    parts = []
    for scenario in scenarios:
        of_scenario = results[scenario.key]
        ours = of_scenario[RIVERENGINE]
        lines = [f"### {scenario.title}", ""]
        if scenario.goals:
            lines += [f"Aim: {', '.join(scenario.goals)}.", ""]
        last = "95th percentile" if ours[0].is_wait else "client CPU a job"
        lines += [
            f"| | median | min - max | {last} | riverengine : it (median, min - max) |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [_row(name, found, ours) for name, found in of_scenario.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _row(name: str, found: Sequence[Measurement], ours: Sequence[Measurement]) -> str:
    values = [each.value for each in found]
    if found[0].is_wait:
        middle = f"{statistics.median(values):.1f} ms"
        spread = f"{min(values):.1f} - {max(values):.1f}"
        last = f"{statistics.median(each.worst or 0 for each in found):.1f} ms"
    else:
        middle = f"{statistics.median(values):,.0f}/s"
        spread = f"{min(values):,.0f} - {max(values):,.0f}"
        last = f"{statistics.median(each.cpu or 0 for each in found):.0f} us"
    if name == RIVERENGINE:
        ratio = ""
    else:
        ratios = [mine.value / other.value for mine, other in zip(ours, found, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
    return f"| {name} | {middle} | {spread} | {last} | {ratio} |"


def page(table: str, *, rounds: int, cores: int, server: str) -> str:
    """The text of ``docs/performance.md``."""
    return _PAGE.read_text(encoding="utf-8").format(
        rounds=rounds,
        cores=cores,
        server=server,
        python=platform.python_version(),
        pgqueuer=version("pgqueuer"),
        table=table,
    )
