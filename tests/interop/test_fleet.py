"""Two Go and two Python clients on one database, killed again and again: nothing lost or doubled.

``RIVERJOBS_FLEET_SECONDS`` (20 by default; ``make fleet`` takes 300) is how long jobs are inserted.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from riverengine import Migrator
from tests.interop.fleet.checker import FINAL, Anomaly, Change, Effect, Insert, Kill, judge
from tests.interop.fleet.processes import PYTHON, Member
from tests.interop.go_programs import build

SECONDS = float(os.environ.get("RIVERJOBS_FLEET_SECONDS", "20"))
SEED = int(os.environ.get("RIVERJOBS_FLEET_SEED", "51"))
DRAIN_WITHIN = 180.0
"""Seconds after the last insert until every job must have ended."""
ENDS_WITHIN = 40.0
"""Seconds that a process may take to finish its jobs when it is told to end."""

TABLES = Path(__file__).with_name("fleet") / "tables.sql"
REQUEST_RESIGN = '{"action":"request_resign","leader_id":""}'

pytestmark = [pytest.mark.interop, pytest.mark.timeout(SECONDS + DRAIN_WITHIN + 120)]


class Fleet:
    """The members, and the one who kills them."""

    def __init__(self, members: Sequence[Member], pool: asyncpg.Pool, url: str) -> None:
        self.members = members
        self.pool = pool
        self.kills: list[Kill] = []
        self.resigns = 0
        self.restarts = 0
        self._random = random.Random(SEED)
        self._settings: dict[str, Any] = {
            "url": url,
            "seed": SEED,
            "inserts_per_second": 10,
            "job_timeout_ms": 10_000,
            "rescue_after_ms": 12_000,
            "max_workers": 10,
            "queues": ["first", "second", "third"],
            "paused_queue": "third",
        }

    async def run(self, seconds: float) -> None:
        """Insert, work and kill for so long; then work until nothing is left."""
        until = time.monotonic() + seconds
        for member in self.members:
            await member.start(self._settings, insert_seconds=seconds)
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(self._random.uniform(2, 5), left))
            if time.monotonic() < until:
                await self._interfere(until)
        await self._drain()

    async def _interfere(self, until: float) -> None:
        draw = self._random.random()
        if draw < 0.3:
            await self._request_resign()
            return
        member = self._random.choice(self.members)
        if draw < 0.4:
            # As a deployment does it: the jobs at hand are finished, and none is to be rescued.
            self.restarts += 1
            assert await member.end(ENDS_WITHIN) == 0, f"{member.process_name} ended badly"
        else:
            leader = await self.pool.fetchval("SELECT leader_id FROM river_leader")
            leading = [each for each in self.members if each.client_id == leader]
            if leading and draw < 0.8:
                member = leading[0]
            await self._kill(member)
        # It may have ended between pausing a queue and resuming it.
        await self._resume_all()
        await asyncio.sleep(self._random.uniform(0, 1.5))
        await member.start(self._settings, insert_seconds=until - time.monotonic())

    async def _kill(self, member: Member) -> None:
        assert member.process is not None
        assert member.process.returncode is None, f"{member.process_name} ended by itself"
        await member.kill()
        at = await self.pool.fetchval("SELECT clock_timestamp()")
        self.kills.append(Kill(member.client_id, member.process_name, at))

    async def _resume_all(self) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE river_queue SET paused_at = NULL")
            await connection.execute(
                "SELECT pg_notify('public.river_control', $1)", '{"action":"resume","queue":"*"}'
            )

    async def _request_resign(self) -> None:
        self.resigns += 1
        await self.pool.execute("SELECT pg_notify('public.river_leadership', $1)", REQUEST_RESIGN)

    async def _drain(self) -> None:
        """Until every job has ended and both languages have led; each new leader rescues anew."""
        deadline = time.monotonic() + DRAIN_WITHIN
        await self._resume_all()
        while await self._unfinished():
            assert time.monotonic() < deadline, f"{await self._unfinished()} jobs have not ended"
            await asyncio.sleep(3)
            await self._request_resign()
        for language in await self.led():
            if len(await self.led()) < 2:
                await self._leave_leading_to_others(language, deadline)

    async def _leave_leading_to_others(self, language: str, deadline: float) -> None:
        """A leader asked to resign is the first to compete again: its like must be away."""
        away = [each for each in self.members if each.client_id.startswith(language)]
        self.restarts += len(away)
        for member in away:
            assert await member.end(ENDS_WITHIN) == 0, f"{member.process_name} ended badly"
        while len(await self.led()) < 2:
            assert time.monotonic() < deadline, f"nobody but {language} leads"
            await asyncio.sleep(0.5)
        for member in away:
            await member.start(self._settings, insert_seconds=0)

    async def _unfinished(self) -> int:
        count: int = await self.pool.fetchval(
            "SELECT count(*) FROM river_job WHERE state::text <> ALL ($1::text[])", list(FINAL)
        )
        return count

    async def led(self) -> Counter[str]:
        """Terms by language."""
        rows = await self.pool.fetch("SELECT leader_id FROM fleet_leader")
        return Counter(row["leader_id"].split("-")[0] for row in rows)

    async def judged(self) -> list[Anomaly]:
        """What the checker finds."""
        effects = await self.pool.fetch("SELECT * FROM fleet_effect ORDER BY id")
        changes = await self.pool.fetch("SELECT * FROM fleet_history ORDER BY id")
        inserts = await self.pool.fetch("SELECT * FROM fleet_insert ORDER BY id")
        return judge(
            [
                Effect(
                    row["job_id"],
                    row["attempted_at"],
                    row["client_id"],
                    row["process"],
                    row["phase"],
                    row["at"],
                )
                for row in effects
            ],
            [
                Change(
                    row["job_id"],
                    row["old_state"],
                    row["new_state"],
                    row["attempted_at"],
                    row["worked_by"],
                    row["at"],
                )
                for row in changes
            ],
            [Insert(row["token"], row["phase"], row["job_id"]) for row in inserts],
            self.kills,
        )


@asynccontextmanager
async def fleet_on(url: str, go_fleet: Path, logs: Path) -> AsyncIterator[Fleet]:
    """A fleet on a fresh database."""
    async with asyncpg.create_pool(url, min_size=1, max_size=3) as pool:
        async with pool.acquire() as connection:
            await Migrator(connection).migrate_up()
            await connection.execute(TABLES.read_text(encoding="utf-8"))
        members = [
            Member(f"{language}-{number}", language, command, logs / f"{language}-{number}.log")
            for number in (1, 2)
            for language, command in (("go", [str(go_fleet)]), ("python", PYTHON))
        ]
        try:
            yield Fleet(members, pool, url)
        finally:
            for member in members:
                if member.process is not None:
                    await member.kill()


async def test_a_mixed_fleet_loses_and_doubles_nothing(
    empty_database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with fleet_on(empty_database, build("fleet"), tmp_path) as fleet:
        await fleet.run(SECONDS)
        for member in fleet.members:
            assert await member.end(ENDS_WITHIN) == 0, member.log.read_text(encoding="utf-8")[
                -4000:
            ]
        table, worked = await _table(fleet)
        with capsys.disabled():
            print(f"\n{table}")
        anomalies = await fleet.judged()
        assert anomalies == []
        assert set(await fleet.led()) == {"go", "python"}
        for language in ("go", "python"):
            assert worked[language] > 0.25 * worked.total(), worked


async def _table(fleet: Fleet) -> tuple[str, Counter[str]]:
    """The figures for people, and executions by language."""
    pool = fleet.pool
    worked: Counter[str] = Counter()
    phases: dict[str, Counter[str]] = {}
    for row in await pool.fetch(
        "SELECT language, phase, count(*) AS n FROM fleet_effect GROUP BY 1, 2"
    ):
        phases.setdefault(row["language"], Counter())[row["phase"]] = row["n"]
        if row["phase"] != "begin":
            worked[row["language"]] += row["n"]
    inserted = Counter(
        {
            row["language"]: row["n"]
            for row in await pool.fetch(
                "SELECT language, count(*) AS n FROM fleet_insert WHERE phase = 'ok' GROUP BY 1"
            )
        }
    )
    led = await fleet.led()
    killed = Counter(kill.client_id.split("-")[0] for kill in fleet.kills)
    states = await pool.fetch("SELECT state, count(*) AS n FROM river_job GROUP BY 1 ORDER BY 1")
    rescued = await pool.fetchval(
        "SELECT count(*) FROM river_job WHERE metadata ? 'river:rescue_count'"
    )
    columns = ("inserted", "begun", "ok", "error", "cancel", "snooze", "terms led", "killed")
    lines = [f"{'':8}" + "".join(f"{column:>11}" for column in columns)]
    for language in ("go", "python"):
        ended = phases.get(language, Counter())
        figures = (
            inserted[language],
            *(ended[phase] for phase in ("begin", "ok", "error", "cancel", "snooze")),
            led[language],
            killed[language],
        )
        lines.append(f"{language:8}" + "".join(f"{figure:>11}" for figure in figures))
    lines.append(
        f"{SECONDS:g} s of inserts, {fleet.resigns} requests to resign, {fleet.restarts} restarts, "
        f"{rescued} jobs rescued; " + ", ".join(f"{row['n']} {row['state']}" for row in states)
    )
    return "\n".join(lines), worked
