"""The command ``riverengine``: its output is the ``river`` command's."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from riverengine.cli import main
from riverengine.cli.database import find_database

Run = Callable[..., tuple[int, str, str]]
UP = """\
applied migration 001 [up] create river migration                           [T]
applied migration 002 [up] initial schema                                   [T]
applied migration 003 [up] river job tags non null                          [T]
applied migration 004 [up] pending and more                                 [T]
applied migration 005 [up] migration unique client                          [T]
applied migration 006 [up] bulk unique                                      [T]
applied migration 007 [up] notification outbox sqlite jsonb and sql cleanup [T]
applied migration 008 [up] job id autoincrement                             [T]
"""
"""What Go's command prints, built on River v0.51.1; T stands for times."""


@pytest.fixture(autouse=True)
def _no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGDATABASE", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGAPPNAME"):
        monkeypatch.delenv(name, raising=False)


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


def without_times(text: str) -> str:
    """The text with every duration as T."""
    return re.sub(r"\[[\d.]+(?:µs|ms|s)\]$", "[T]", text, flags=re.MULTILINE)


async def test_migrating_up_and_down_says_what_it_did(cli: Run) -> None:
    code, out, error = await call(cli, "migrate-up")
    assert (code, without_times(out), error) == (0, UP, "")
    assert await call(cli, "migrate-up") == (0, "no migrations to apply\n", "")
    assert await call(cli, "validate") == (0, "", "")
    code, out, _ = await call(cli, "migrate-down")
    assert (code, without_times(out)) == (
        0,
        "applied migration 008 [down] job id autoincrement [T]\n",
    )
    assert await call(cli, "validate") == (1, "", "Unapplied migrations: [8]\n")
    code, out, _ = await call(cli, "migrate-down", "--target-version", "5")
    assert [line[18:28] for line in out.splitlines()] == ["007 [down]", "006 [down]"]
    code, out, _ = await call(cli, "migrate-down", "--target-version", "0")
    assert (code, len(out.splitlines())) == (0, 5)
    assert await call(cli, "migrate-down") == (0, "no migrations to apply\n", "")


async def test_listing_marks_the_newest_applied(cli: Run, empty_database: str) -> None:
    _, out, _ = await call(cli, "migrate-list")
    assert out.splitlines()[0] == "001 create river migration"
    await call(cli, "migrate-up", "--target-version", "2")
    _, out, _ = await call(cli, "migrate-list")
    assert out.splitlines()[:3] == [
        "  001 create river migration",
        "* 002 initial schema",
        "  003 river job tags non null",
    ]
    code, out, _ = await call(cli, "migrate-list", "--json")
    listed = json.loads(out)
    assert (code, listed["line"], listed["unknown"]) == (0, "main", [])
    assert listed["migrations"][1] == {"version": 2, "name": "initial schema", "applied": True}
    assert not listed["migrations"][7]["applied"]


async def test_a_newer_release_s_versions_are_listed(cli: Run, empty_database: str) -> None:
    await call(cli, "migrate-up")
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute("INSERT INTO river_migration (line, version) VALUES ('main', 9)")
    finally:
        await connection.close()
    _, out, _ = await call(cli, "migrate-list")
    assert out.splitlines()[-2:] == [
        "  008 job id autoincrement",
        "* 009 (unknown to this release)",
    ]
    assert json.loads((await call(cli, "migrate-list", "--json"))[1])["unknown"] == [9]


async def test_validating_as_json(cli: Run) -> None:
    code, out, error = await call(cli, "validate", "--json")
    assert (code, error) == (1, "")
    assert json.loads(out) == {
        "line": "main",
        "ok": False,
        "messages": ["Unapplied migrations: [1 2 3 4 5 6 7 8]"],
    }
    await call(cli, "migrate-up")
    code, out, _ = await call(cli, "validate", "--json")
    assert (code, json.loads(out)) == (0, {"line": "main", "ok": True, "messages": []})


async def test_a_dry_run_changes_nothing(cli: Run) -> None:
    code, out, _ = await call(cli, "migrate-up", "--dry-run")
    assert code == 0
    assert out == "".join(f"migration {n:03d} [up] [DRY RUN]\n" for n in range(1, 9))
    assert (await call(cli, "validate"))[0] == 1


@pytest.mark.parametrize("line", [None, "main"])
async def test_sql_is_shown_below_a_rule_and_a_comment(cli: Run, line: str | None) -> None:
    flags = ["--line", line] if line else []
    code, out, _ = await call(cli, "migrate-up", "--dry-run", "--show-sql", *flags)
    assert code == 0
    # Go prints the line as it was given: nothing, when none was.
    head, sql = out.split("\n", 3)[:3], out.split("\n", 3)[3]
    assert head == [
        "migration 001 [up] [DRY RUN]",
        "-" * 80,
        f"-- River {line or ''} migration 001 [up]",
    ]
    assert sql.startswith("CREATE TABLE river_migration")
    assert "\n\nmigration 002 [up] [DRY RUN]\n" in sql
    assert out.endswith("\n\n")


async def test_steps_and_schemas(cli: Run, empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute('CREATE SCHEMA "River_2"; CREATE SCHEMA jobs')
        code, out, _ = await call(cli, "migrate-up", "--schema", "River_2", "--max-steps", "3")
        assert (code, len(out.splitlines())) == (0, 3)
        assert (await call(cli, "migrate-up", "--schema", "jobs"))[0] == 0
        assert (await call(cli, "validate", "--schema", "jobs"))[0] == 0
        assert (await call(cli, "validate", "--schema", "River_2"))[0] == 1
        assert (await call(cli, "migrate-up", "--schema", "River_2", "--max-steps", "-1"))[1] == (
            "no migrations to apply\n"
        )
        code, out, _ = await call(cli, "migrate-up", "--schema", "River_2", "--max-steps", "9")
        assert out.splitlines()[-1] == "no more migrations to apply"
        assert await connection.fetchval("""SELECT to_regclass('"River_2".river_job')""")
        assert await connection.fetchval("SELECT to_regclass('jobs.river_job')")
        assert await connection.fetchval("SELECT to_regclass('public.river_job')") is None
    finally:
        await connection.close()


async def test_numbers_go_takes_for_nothing_ask_for_nothing(cli: Run) -> None:
    none = ["--max-steps", "0", "--target-version", "0"]
    _, out, _ = await call(cli, "migrate-up", *none)
    assert without_times(out) == UP


async def test_our_own_line_comes_after_river_s(cli: Run) -> None:
    code, _, error = await call(cli, "migrate-up", "--line", "riverengine")
    assert code == 1
    assert "line main first" in error
    await call(cli, "migrate-up")
    assert (await call(cli, "migrate-up", "--line", "riverengine"))[0] == 0
    assert (await call(cli, "validate", "--line", "riverengine"))[0] == 0
    assert (await call(cli, "migrate-down", "--line", "riverengine", "--target-version", "0"))[
        0
    ] == 0
    assert (await call(cli, "validate"))[0] == 0


def test_sql_is_printed_without_a_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["migrate-get", "--all", "--down", "--exclude-version", "8,7"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("-- River")]
    assert heads == [f"-- River main migration {n:03d} [down]" for n in (6, 5, 4, 3, 2, 1)]
    assert main(["migrate-get", "--version", "3,2", "--version", "1", "--up"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("-- River main migration 003 [up]\n")
    assert re.findall(r"(?<=\n\n)-- River main migration (\d+)", out) == ["002", "001"]
    assert not out.endswith("\n\n")


@pytest.mark.parametrize(("schema", "prefix"), [("jobs_1", "jobs_1."), ("River_2", '"River_2".')])
def test_a_printed_schema_is_quoted_where_it_must_be(
    capsys: pytest.CaptureFixture[str], schema: str, prefix: str
) -> None:
    assert main(["migrate-get", "--version", "2", "--up", "--schema", schema]) == 0
    assert f"CREATE TABLE {prefix}river_job (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["migrate-up", "--target-version", "9"],
            1,
            "Error: version 9 is not a valid River migration version\n",
        ),
        (
            ["migrate-get", "--version", "44", "--up"],
            1,
            "Error: migration 44 not found (available versions: [1 2 3 4 5 6 7 8])\n",
        ),
        (
            ["migrate-up", "--line", "mian"],
            1,
            "Error: migration line does not exist: mian (did you mean `main`?)\n",
        ),
        (["migrate-down", "--target-version", "-3"], 2, "--target-version"),
        (["migrate-get", "--version", "x", "--up"], 2, "--version"),
        (["migrate-get", "--up"], 2, "one of the arguments"),
        (["migrate-get", "--all"], 2, "one of the arguments"),
        (["migrate-get", "--all", "--version", "1", "--up"], 2, "not allowed with"),
        (["migrate-up", "--schema", "no-schema"], 2, "schema"),
        (["migrate-up", "--debug", "--verbose"], 2, "not allowed with"),
        (["migrate-up", "--statement-timeout", "10"], 2, "invalid duration '10'"),
        (["migrate-up", "--statement-timeout", "1ms"], 2, "must be greater than 1ms when set"),
        (["migrate-up", "--max", "1"], 2, "unrecognized"),
        (["bench", "-n", "0"], 2, "expected 1 or more"),
        (["bench", "--duration", "0s"], 2, "expected more than 0"),
        (["unknown"], 2, "unknown"),
    ],
)
async def test_mistakes_are_told(cli: Run, arguments: list[str], code: int, message: str) -> None:
    found, out, error = await call(cli, *arguments)
    assert (found, out) == (code, "")
    assert message in error


async def test_a_refused_statement_is_told(cli: Run) -> None:
    code, _, error = await call(cli, "migrate-up", "--schema", "missing")
    assert code == 1
    assert error == (
        'Error: error applying version 001 [UP]: ERROR: schema "missing" does not exist '
        "(SQLSTATE 3F000)\n"
    )


# The database


async def test_libpq_s_variables_come_before_the_flag(
    cli: Run, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(empty_database)
    monkeypatch.setenv("PGHOST", parts.hostname or "")
    monkeypatch.setenv("PGPORT", str(parts.port or 5432))
    monkeypatch.setenv("PGUSER", parts.username or "")
    if parts.password:
        monkeypatch.setenv("PGPASSWORD", parts.password)
    monkeypatch.setenv("PGDATABASE", parts.path.lstrip("/"))
    monkeypatch.delenv("DATABASE_URL")
    code, out, error = await call(cli, "migrate-up", "--database-url", "postgres://localhost/other")
    assert (code, without_times(out)) == (0, UP)
    assert error == "PGDATABASE is set, so --database-url is not used\n"


async def test_a_flag_comes_before_database_url(
    cli: Run, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://localhost:1/other")
    code, *_ = await call(cli, "migrate-up", "--database-url", empty_database, "--max-steps", "1")
    assert code == 0


async def test_no_database_at_all_is_told(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    for command in ("migrate-up", "migrate-down", "migrate-list", "validate", "bench"):
        code, _, error = await call(cli, command)
        assert code == 2
        assert error == "Error: either PG* env vars or --database-url must be set\n"


@pytest.mark.parametrize("url", ["mysql://me:hunter22@h/x", "me:hunter22@h", "host=h user=me"])
async def test_an_unsupported_url_is_told_without_its_password(cli: Run, url: str) -> None:
    code, _, error = await call(cli, "validate", "--database-url", url)
    assert code == 2
    assert "try one with a `postgres://` or `postgresql://` scheme/prefix" in error
    assert "hunter22" not in error


@pytest.mark.parametrize("url", ["postgres://me:hunter22@h:x/n", "postgresql://me:hunter22@[h/n"])
async def test_a_url_that_cannot_be_read_is_told_without_its_password(cli: Run, url: str) -> None:
    code, _, error = await call(cli, "validate", "--database-url", url)
    assert code == 2
    assert error.startswith("Error: error parsing database URL: ")
    assert "hunter22" not in error


async def test_an_unreachable_database_is_exit_code_3(cli: Run, refusing_port: int) -> None:
    url = f"postgres://me:hunter22@127.0.0.1:{refusing_port}/none"
    code, _, error = await call(cli, "migrate-up", "--database-url", url)
    assert code == 3
    assert "hunter22" not in error


SETTINGS = "SELECT current_setting($1)"


@pytest.mark.parametrize(
    ("query", "flag", "expected"),
    [
        ("", None, ("riverengine CLI", "11s", "10s")),
        ("?statement_timeout=7000&application_name=me", None, ("me", "11s", "7s")),
        ("?statement_timeout=7000", "2m", ("riverengine CLI", "11s", "2min")),
        (
            "?pool_max_conns=4&channel_binding=prefer&idle_in_transaction_session_timeout=5s",
            None,
            ("riverengine CLI", "5s", "10s"),
        ),
    ],
)
async def test_connections_have_river_s_settings(
    empty_database: str, query: str, flag: str | None, expected: tuple[str, str, str]
) -> None:
    from riverengine.cli.durations import parse_duration

    database = find_database(
        empty_database + query, statement_timeout=parse_duration(flag) if flag else None
    )
    assert "postgres" not in repr(database)
    names = ("application_name", "idle_in_transaction_session_timeout", "statement_timeout")
    async with database.connect() as connection:
        found = tuple([await connection.fetchval(SETTINGS, name) for name in names])
    assert found == expected


async def test_the_application_s_name_comes_from_libpq_s_variable(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGAPPNAME", "deployment")
    async with find_database(empty_database, statement_timeout=None).connect() as connection:
        assert await connection.fetchval(SETTINGS, "application_name") == "deployment"


async def test_a_statement_that_takes_too_long_is_ended(cli: Run, empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        await call(cli, "migrate-up", "--target-version", "5")
        async with connection.transaction():
            await connection.execute("LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")
            code, _, error = await call(cli, "migrate-up", "--statement-timeout", "300ms")
    finally:
        await connection.close()
    assert code == 1
    assert "ERROR: canceling statement due to statement timeout (SQLSTATE 57014)" in error


# Logs, help, version


async def test_more_is_logged_when_asked(cli: Run) -> None:
    _, out, _ = await call(cli, "-v", "migrate-up", "--max-steps", "1")
    first, second = out.splitlines()
    assert " INFO applied migration: line=main version=1" in first
    assert second.startswith("applied migration 001 [up]")
    _, out, _ = await call(cli, "validate", "--debug")
    assert out.endswith(" INFO Unapplied migrations: [2 3 4 5 6 7 8]\n")
    _, out, _ = await call(cli, "migrate-up")
    assert " INFO " not in out


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "exit codes:" in capsys.readouterr().out
    for command in ("bench", "migrate-down", "migrate-get", "migrate-list", "migrate-up"):
        assert main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert f"riverengine {command}" in out.partition("examples:")[2]
        assert "--statement-timeout" in out


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    pattern = r"riverengine version [\d.]+\nRiver protocol v0\.51\.1\nRunning on Python 3\.[\d.]+\n"
    assert re.fullmatch(pattern, capsys.readouterr().out)


def test_the_program_runs_by_its_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "riverengine", "version"], capture_output=True, text=True, check=True
    )
    assert "River protocol v0.51.1" in done.stdout
