"""``make conformance``: plays the tiers, as often as asked, and prints or writes the table."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.conformance.conftest import RESULTS
from tests.conformance.fleet import GO_RIVER
from tests.conformance.registry import SCENARIOS, TIERS
from tests.conformance.report import Played, document, read, table

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "conformance.md"
FILES = ("codec", "storage", "runtime", "mixed", "chaos", "performance", "soak")


def main() -> int:
    """Exit code 1 if a scenario failed."""
    parser = argparse.ArgumentParser(prog="make conformance ARGS=...", description=__doc__)
    parser.add_argument("--tiers", default=",".join(FILES), help="names with commas between")
    parser.add_argument("--rounds", type=int, default=1, help="play everything so many times")
    parser.add_argument("--report", action="store_true", help="write docs/conformance.md")
    parser.add_argument(
        "--results", type=Path, help="folder that keeps results: earlier runs there count too"
    )
    parser.add_argument("--soak-seconds", type=float, default=60.0, help="length of each soak")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of a performance run")
    parser.add_argument("rest", nargs="*", help="given to pytest; put -- before them")
    options = parser.parse_args()
    files = [
        ROOT / "tests" / "conformance" / f"test_{name}.py" for name in options.tiers.split(",")
    ]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        parser.error(f"no such tier; choose from {', '.join(FILES)}")

    failed = False
    with tempfile.TemporaryDirectory() as passing:
        folder = (options.results or Path(passing)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, options.rounds + 1):
            results = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{number}.jsonl"
            results.touch()
            environment = os.environ | {
                RESULTS: str(results),
                "RIVERJOBS_CONFORMANCE_SOAK_SECONDS": str(options.soak_seconds),
                "RIVERJOBS_CONFORMANCE_JOBS": str(options.jobs),
            }
            print(f"Round {number} of {options.rounds}", flush=True)
            command = [sys.executable, "-m", "pytest", "-q", *map(str, files), *options.rest]
            failed |= (
                subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
            )
        played = read(sorted(folder.glob("*.jsonl")))
    show(played)
    if options.report:
        REPORT.write_text(document(played, facts()), encoding="utf-8")
        print(f"wrote {REPORT.relative_to(ROOT)}")
    return int(failed)


def facts() -> list[str]:
    """What ran, and on what."""
    return [
        (
            f"River {GO_RIVER}; riverjobs {version('riverjobs')} on Python"
            f" {platform.python_version()}; {os.cpu_count()} cores."
        ),
        (
            "The codec to chaos tiers were played as often as the results say, per direction and"
            " round; the machine was shared, which the figures of the performance tier show."
        ),
    ]


def show(played: dict[str, Played]) -> None:
    """Print what was played."""
    for tier in TIERS:
        scenarios = [
            scenario for scenario in SCENARIOS if scenario.tier == tier and scenario.name in played
        ]
        if scenarios:
            print(f"\n{tier}\n" + "\n".join(table(scenarios, played)))


if __name__ == "__main__":
    sys.exit(main())
