"""``riverengine bench``: its lines, and what it does not delete."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from riverengine import Client, Migrator
from riverengine.testing import require_inserted
from tests.integration.riverengine.working import NoteArgs

ITERATION = re.compile(
    r"bench: jobs worked \[ {1,10}\d+ \], inserted \[ {1,10}\d+ \], "
    r"job/sec \[ +[\d.]+ \] \[(0s|2s|[\d.]+ms|1(\.\d+)?s)\]"
)
TOTAL = re.compile(
    r"bench: total jobs worked \[ +(\d+) \], total jobs inserted \[ +(\d+) \], "
    r"overall job/sec \[ +[\d.]+ \], running [\d.ms]+"
)
LIMIT = 90.0


@asynccontextmanager
async def benching(url: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process of its own, which gets the signals."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "riverengine", "bench", "--database-url", url, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=settings,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finished(process: asyncio.subprocess.Process) -> tuple[int | None, list[str], str]:
    """Exit code, lines and errors."""
    async with asyncio.timeout(LIMIT):
        out, errors = await process.communicate()
    return process.returncode, out.decode().splitlines(), errors.decode()


async def test_a_number_of_jobs_is_inserted_and_worked(
    pool: asyncpg.Pool, database_url: str
) -> None:
    async with benching(database_url, "-n", "6000") as process:
        code, lines, errors = await finished(process)
    assert (code, errors.splitlines()[0][:26]) == (0, "bench: DELETING EVERY JOB ")
    assert len(errors.splitlines()) == 1
    total = TOTAL.fullmatch(lines.pop())
    assert total is not None
    assert total.groups() == ("6000", "6000")
    assert lines
    for line in lines:
        assert ITERATION.fullmatch(line), line
    assert lines[0].endswith("[0s]")
    states = await pool.fetch("SELECT state::text, count(*) FROM river_job GROUP BY state")
    assert [tuple(row) for row in states] == [("completed", 6000)]


async def test_a_duration_ends_the_run(pool: asyncpg.Pool, database_url: str) -> None:
    async with benching(database_url, "--duration", "1s") as process:
        code, lines, errors = await finished(process)
    assert code == 0, errors
    total = TOTAL.fullmatch(lines[-1])
    assert total is not None
    worked, inserted = map(int, total.groups())
    assert 0 < worked <= inserted
    assert inserted >= 75_000
    assert await pool.fetchval("SELECT count(*) FROM river_job WHERE state = 'running'") == 0


async def test_a_signal_ends_the_run_with_its_total(database_url: str) -> None:
    async with benching(database_url) as process:
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT):
            first = await process.stdout.readline()
        assert ITERATION.fullmatch(first.decode().rstrip("\n"))
        process.send_signal(signal.SIGINT)
        code, lines, errors = await finished(process)
    assert code == 0, errors
    assert TOTAL.fullmatch(lines[-1])


async def test_jobs_of_others_are_not_deleted_unless_told_to(
    pool: asyncpg.Pool, database_url: str
) -> None:
    await Client(pool).insert(NoteArgs(text="precious"))
    async with benching(database_url, "-n", "1") as process:
        code, lines, errors = await finished(process)
    assert (code, lines) == (2, [])
    assert "--truncate" in errors
    assert "river_job of database" in errors
    assert "(note)" in errors
    await require_inserted(pool, NoteArgs)
    async with benching(database_url, "-n", "1", "--truncate") as process:
        code, lines, errors = await finished(process)
    assert code == 0, errors
    kinds = await pool.fetch("SELECT kind FROM river_job")
    assert [row["kind"] for row in kinds] == ["benchmark"]


async def test_a_schema_is_benched_alone(pool: asyncpg.Pool, database_url: str) -> None:
    await Client(pool).insert(NoteArgs())
    async with pool.acquire() as connection:
        await connection.execute('CREATE SCHEMA "Bench_2"')
        try:
            await Migrator(connection, schema="Bench_2").migrate_up()
            async with benching(database_url, "-n", "10", "--schema", "Bench_2") as process:
                code, _, errors = await finished(process)
            assert code == 0, errors
            assert "Bench_2.river_job" in errors
            number = await connection.fetchval('SELECT count(*) FROM "Bench_2".river_job')
        finally:
            await connection.execute('DROP SCHEMA "Bench_2" CASCADE')
    assert number == 10
    await require_inserted(pool, NoteArgs)


async def test_a_database_without_river_s_tables_is_told(empty_database: str) -> None:
    async with benching(empty_database, "-n", "1") as process:
        code, lines, errors = await finished(process)
    assert (code, lines) == (1, [])
    assert errors == 'Error: ERROR: relation "river_job" does not exist (SQLSTATE 42P01)\n'
    assert "Traceback" not in errors


async def test_a_failing_insert_ends_the_run(database_url: str, pool: asyncpg.Pool) -> None:
    await pool.execute("ALTER TABLE river_job ADD CONSTRAINT none CHECK (kind <> 'benchmark')")
    try:
        async with benching(database_url, "-n", "1") as process:
            code, _, errors = await finished(process)
    finally:
        await pool.execute("ALTER TABLE river_job DROP CONSTRAINT none")
    assert code == 1
    assert "(SQLSTATE 23514)" in errors
    assert "Traceback" not in errors
