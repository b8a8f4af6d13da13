"""Runs the benchmarks, every contender in every round, and prints one table.

``make bench`` runs it. Contenders take turns within a round, so that a machine that slows down
slows all of them; ratios are taken round by round. ``--write`` puts the table into
``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg

from benchmarks.report import Measurement, markdown, page
from benchmarks.scenarios import GO_PROGRAM, Contender, Scenario, scenarios
from riverengine import Migrator
from riverengine.embedded import start_postgres

ROOT = Path(__file__).parents[1]
FILL = """
    INSERT INTO river_job (kind, args, max_attempts)
    SELECT 'bench', jsonb_build_object('number', n), 25
    FROM generate_series(1, $1::integer) AS n
"""


async def prepare(url: str, scenario: Scenario, contender: Contender) -> None:
    """Fresh tables; for a drain with the jobs in them, of whatever River works them."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        if contender.uses_river:
            await Migrator(connection).migrate_up()
            if scenario.kind == "drain":
                await connection.execute(FILL, contender.jobs, timeout=120)
            if scenario.analyzed:
                await connection.execute("VACUUM ANALYZE", timeout=120)
        await connection.execute("CHECKPOINT", timeout=120)
    finally:
        await connection.close()


def measure(url: str, scenario: Scenario, contender: Contender) -> Measurement:
    """One run of one contender."""
    asyncio.run(prepare(url, scenario, contender))
    done = subprocess.run(
        contender.command(scenario.kind, url), cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{contender.name} failed:\n{done.stderr}")
    return Measurement.of(json.loads(done.stdout), contender.jobs)


def best_batch(url: str) -> int:
    """The batch size with which PgQueuer drains quickest here."""
    found = {}
    for batch in (10, 100, 500, 1_000):
        contender = Contender("PgQueuer", 10_000, ("--batch", str(batch)))
        scenario = Scenario("calibration", "", "drain", (contender,))
        found[batch] = measure(url, scenario, contender).value
    return max(found, key=lambda batch: found[batch])


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", metavar="SCENARIO", help="drain, latency, insert ...")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    subprocess.run(
        ["go", "build", "-o", str(GO_PROGRAM), "./cmd/bench"],
        cwd=ROOT / "tests" / "interop" / "go",
        check=True,
    )
    folder = tempfile.TemporaryDirectory(prefix="riverjobs-bench-")
    Path(folder.name).chmod(0o755)
    server = start_postgres(Path(folder.name, "data"), durable=True)
    try:
        batch = best_batch(server.url)
        chosen = [each for each in scenarios(batch) if not options.only or each.key in options.only]
        results: dict[str, dict[str, list[Measurement]]] = {
            each.key: {contender.name: [] for contender in each.contenders} for each in chosen
        }
        for number in range(options.rounds):
            for scenario in chosen:
                order = scenario.contenders[:: 1 if number % 2 == 0 else -1]
                for contender in order:
                    found = measure(server.url, scenario, contender)
                    results[scenario.key][contender.name].append(found)
                    line = f"round {number + 1} {scenario.key}: {contender.name} {found}"
                    print(line, file=sys.stderr, flush=True)
        version = asyncio.run(_server_version(server.url))
    finally:
        server.stop()
        folder.cleanup()
    table = markdown(chosen, results)
    print(table)
    if options.write:
        if {each.key for each in chosen} != {each.key for each in scenarios(batch)}:
            raise SystemExit("--write needs all scenarios")
        text = page(table, rounds=options.rounds, cores=os.cpu_count() or 0, server=version)
        (ROOT / "docs" / "performance.md").write_text(text, encoding="utf-8")
    return 0


async def _server_version(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        version: str = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return version


if __name__ == "__main__":
    sys.exit(main())
