"""The command ``riverengine``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import asyncpg
import pytest

from riverengine.cli import main

Run = Callable[..., tuple[int, str, str]]
NAMES = [
    "create river migration",
    "initial schema",
    "river job tags non null",
    "pending and more",
    "migration unique client",
    "bulk unique",
    "notification outbox sqlite jsonb and sql cleanup",
    "job id autoincrement",
]


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_database: str
) -> Run:
    """Runs the command on an empty database; returns exit code, output and errors."""
    monkeypatch.setenv("DATABASE_URL", empty_database)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


async def call(cli: Run, *arguments: str) -> tuple[int, str, str]:
    return await asyncio.to_thread(cli, *arguments)


async def test_migrating_up_and_down_says_what_it_did(cli: Run) -> None:
    code, out, _ = await call(cli, "migrate-up")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 8
    for number, (line, name) in enumerate(zip(lines, NAMES, strict=True), start=1):
        assert line.startswith(f"applied migration {number:03d} [up] {name}")
        assert line.endswith(("ms]", "s]"))
    assert await call(cli, "migrate-up") == (0, "no migrations to apply\n", "")
    assert await call(cli, "validate") == (0, "", "")
    code, out, _ = await call(cli, "migrate-down")
    assert (code, out.splitlines()[0][:27]) == (0, "applied migration 008 [down")
    code, out, error = await call(cli, "validate")
    assert (code, out, error) == (1, "", "Unapplied migrations: [8]\n")
    code, out, _ = await call(cli, "migrate-down", "--target-version", "0")
    assert (code, len(out.splitlines())) == (0, 7)


async def test_listing_marks_the_newest_applied(cli: Run) -> None:
    _, out, _ = await call(cli, "migrate-list")
    assert out.splitlines()[0] == "001 create river migration"
    await call(cli, "migrate-up", "--target-version", "2")
    _, out, _ = await call(cli, "migrate-list")
    assert out.splitlines()[:3] == [
        "  001 create river migration",
        "* 002 initial schema",
        "  003 river job tags non null",
    ]


async def test_a_dry_run_changes_nothing(cli: Run) -> None:
    code, out, _ = await call(cli, "migrate-up", "--dry-run", "--show-sql")
    assert code == 0
    assert "[DRY RUN]" in out
    assert "CREATE TABLE" in out
    assert (await call(cli, "validate"))[0] == 1


async def test_steps_and_schemas(cli: Run, empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute('CREATE SCHEMA "River_2"')
        code, out, _ = await call(cli, "migrate-up", "--schema", "River_2", "--max-steps", "3")
        assert (code, len(out.splitlines())) == (0, 3)
        code, out, _ = await call(cli, "migrate-up", "--schema", "River_2", "--max-steps", "9")
        assert out.splitlines()[-1] == "no more migrations to apply"
        assert await connection.fetchval("""SELECT to_regclass('"River_2".river_job')""")
        assert await connection.fetchval("SELECT to_regclass('public.river_job')") is None
    finally:
        await connection.close()


def test_sql_is_printed_without_a_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["migrate-get", "--all", "--down", "--exclude-version", "8,7"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("-- River")]
    assert heads == [f"-- River main migration {n:03d} [down]" for n in (6, 5, 4, 3, 2, 1)]
    assert main(["migrate-get", "--version", "2", "--up", "--schema", "x"]) == 0
    assert '"x".river_job' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["migrate-up", "--target-version", "9"], 1, "version 9 is not a valid River migration"),
        (["migrate-get", "--version", "44", "--up"], 1, "migration 44 not found"),
        (["migrate-get", "--version", "x", "--up"], 2, "--version"),
        (["migrate-get", "--up"], 2, "one of the arguments"),
        (["migrate-up", "--schema", "no-schema"], 2, "schema"),
        (["migrate-up", "--database-url", "mysql://x"], 2, "--database-url"),
        (["unknown"], 2, "unknown"),
    ],
)
async def test_mistakes_are_told(cli: Run, arguments: list[str], code: int, message: str) -> None:
    found, _, error = await call(cli, *arguments)
    assert found == code
    assert message in error


async def test_an_unreachable_database_is_exit_code_3(cli: Run, unused_tcp_port: int) -> None:
    url = f"postgres://me:hunter22@127.0.0.1:{unused_tcp_port}/none"
    code, _, error = await call(cli, "migrate-up", "--database-url", url)
    assert code == 3
    assert "hunter22" not in error


def test_the_program_runs_by_its_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "riverengine", "version"], capture_output=True, text=True, check=True
    )
    assert "River protocol v0.51.1" in done.stdout


async def test_our_own_line_is_migrated_when_asked_for(cli: Run) -> None:
    await call(cli, "migrate-up")
    assert (await call(cli, "validate", "--line", "riverengine"))[0] == 1
    code, out, _ = await call(cli, "migrate-up", "--line", "riverengine")
    assert (code, out.startswith("applied migration 001 [up] create riverengine client")) == (
        0,
        True,
    )
    assert (await call(cli, "validate", "--line", "riverengine"))[0] == 0
    code, out, _ = await call(cli, "migrate-down", "--line", "riverengine")
    assert (code, out.startswith("applied migration 001 [down]")) == (0, True)
    _, out, _ = await call(cli, "migrate-get", "--line", "riverengine", "--version", "1", "--up")
    assert out.startswith("-- River riverengine migration 001 [up]")
