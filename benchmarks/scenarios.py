"""What is measured, and how each contender is told to do it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GO_PROGRAM = Path(__file__).parents[1] / ".cache" / "interop" / "bench"

RIVERENGINE = "riverengine"
GO_RIVER = "Go River"
PGQUEUER = "PgQueuer"


@dataclass(frozen=True)
class Contender:
    """One program in one scenario. jobs: how many it does, so that a round takes seconds."""

    name: str
    jobs: int
    options: Sequence[str] = ()

    @property
    def uses_river(self) -> bool:
        """Whether it works on River's tables."""
        return self.name != PGQUEUER

    def command(self, scenario: str, url: str) -> list[str]:
        """The command line that does the scenario once."""
        if self.name == GO_RIVER:
            dashed = [option.replace("--", "-") for option in self.options]
            return [str(GO_PROGRAM), "-url", url, "-jobs", str(self.jobs), *dashed, scenario]
        module = "riverengine_peer" if self.name == RIVERENGINE else "pgqueuer_peer"
        return [
            *(sys.executable, "-m", f"benchmarks.{module}", scenario),
            *("--url", url, "--jobs", str(self.jobs), *self.options),
        ]


@dataclass(frozen=True)
class Scenario:
    """One row group of the table. kind: what the programs call it."""

    key: str
    title: str
    kind: str
    contenders: Sequence[Contender]
    analyzed: bool = True
    goals: Sequence[str] = ()


def scenarios(pgqueuer_batch: int) -> list[Scenario]:
    """All scenarios. pgqueuer_batch: the batch size with which PgQueuer is quickest here."""
    best = Contender(PGQUEUER, 30_000, ("--batch", str(pgqueuer_batch)))
    tuned = ("--workers", "2000", "--cooldown", "2")
    go_tuned = ("--workers", "2000", "--cooldown", "2ms")
    return [
        Scenario(
            "drain",
            "Draining a backlog of no-op jobs, each at its defaults with 100 workers "
            f"(PgQueuer at its best: batches of {pgqueuer_batch})",
            "drain",
            (Contender(RIVERENGINE, 30_000), Contender(GO_RIVER, 3_000), best),
            goals=("10 x Go River at its defaults", "1 x PgQueuer at its best"),
        ),
        Scenario(
            "drain-tuned",
            "Draining with 2,000 workers and a cooldown of 2 ms",
            "drain",
            (Contender(RIVERENGINE, 40_000, tuned), Contender(GO_RIVER, 40_000, go_tuned)),
            goals=("0.8 x Go River",),
        ),
        Scenario(
            "drain-unanalyzed",
            "Draining a table that was never analyzed, 100 workers",
            "drain",
            (Contender(RIVERENGINE, 30_000), Contender(GO_RIVER, 3_000)),
            analyzed=False,
        ),
        Scenario(
            "latency",
            "From the insert of one job to the start of its work, on an idle client, at defaults "
            "(a job every 150 ms)",
            "latency",
            (
                Contender(RIVERENGINE, 40, ("--pause", "150")),
                Contender(GO_RIVER, 40, ("--pause", "150ms")),
                Contender(PGQUEUER, 40, ("--pause", "150")),
            ),
            goals=("a median of at most 5 ms",),
        ),
        Scenario(
            "insert",
            "Inserting one job at a time, each in a transaction of its own",
            "insert",
            (Contender(RIVERENGINE, 3_000), Contender(GO_RIVER, 3_000), Contender(PGQUEUER, 3_000)),
            goals=("0.8 x Go River",),
        ),
    ]
