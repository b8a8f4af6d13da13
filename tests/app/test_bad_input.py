"""Whatever is wrong: one clear message, exit code 2 or 3, and nothing half written."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from riverjobs.schema import WORKFLOW_MIGRATIONS, apply_migrations, bundled_migrations
from tests.app.processes import DONOR, ORDER, SIGNUP
from v1consortium.cli import main
from v1consortium.settings import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], app_url: str) -> Run:
    """Runs the command on the tests' database; returns exit code, output and errors."""
    for name in [*Settings.model_fields, "stripe_price_standard"]:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", app_url)

    def run(*arguments: str) -> tuple[int, str, str]:
        if arguments[0] == "river_worker":
            # It listens for signals and sets logging up: not in the tests' own process.
            done = subprocess.run(
                [sys.executable, "-m", "v1consortium", *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            return done.returncode, done.stdout, done.stderr
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


async def written(pool: asyncpg.Pool) -> int:
    """Rows of workflows and jobs."""
    number: int = await pool.fetchval(
        "SELECT (SELECT count(*) FROM workflow_executions) + (SELECT count(*) FROM river_job)"
    )
    return number


@pytest.mark.parametrize(
    ("workflow", "given", "named"),
    [
        ("user_signup", "{}", "email"),
        ("user_signup", "{}", "organization_name"),
        ("user_signup", "", "--input is not JSON"),
        ("user_signup", "{", "--input is not JSON"),
        ("user_signup", "[1]", "--input must be a JSON object"),
        ("user_signup", "null", "--input must be a JSON object"),
        ("user_signup", '{"a": NaN}', "NaN"),
        ("user_signup", '{"a": Infinity}', "Infinity"),
        ("user_signup", "[" * 100_000, "--input is nested too deeply"),
        ("user_signup", "@/nonexistent/file.json", "cannot be read"),
        ("user_signup", json.dumps(SIGNUP | {"email": "nobody"}), "email"),
        ("user_signup", json.dumps(SIGNUP | {"email": 5}), "email"),
        ("user_signup", json.dumps(SIGNUP | {"organization_name": "a\x00b"}), "organization_name"),
        ("user_signup", json.dumps(SIGNUP | {"organization_name": ""}), "organization_name"),
        ("user_signup", json.dumps(SIGNUP | {"organization_name": "x" * 101}), "organization_name"),
        ("user_signup", json.dumps(SIGNUP | {"unknown": 1}), "unknown"),
        ("user_signup", json.dumps(SIGNUP | {"password": "hunter22"}), "password"),
        ("user_signup", json.dumps(SIGNUP | {"full_name": "4242 4242 4242 4242"}), "full_name"),
        ("user_signup", json.dumps(SIGNUP | {"payment_method": "4242"}), "payment_method"),
        ("user_signup", json.dumps(SIGNUP | {"trial_days": "14"}), "trial_days"),
        ("user_signup", json.dumps(SIGNUP | {"time_zone": "Mars/Olympus"}), "time_zone"),
        ("user_signup", json.dumps(SIGNUP | {"organization_name": "\ud800"}), "input"),
        ("drug_test_order", json.dumps(ORDER | {"reason": "curiosity"}), "reason"),
        ("drug_test_order", json.dumps(ORDER | {"unit_codes": []}), "unit_codes"),
        ("drug_test_order", json.dumps(ORDER | {"dot": True}), "testing_authority"),
        ("drug_test_order", json.dumps(ORDER | {"dot": "yes"}), "dot"),
        ("drug_test_order", json.dumps(ORDER | {"supervisor": {}}), "supervisor.email"),
        (
            "drug_test_order",
            json.dumps(ORDER | {"donor": DONOR | {"latitude": 91}}),
            "donor.latitude",
        ),
        (
            "drug_test_order",
            json.dumps(ORDER | {"donor": DONOR | {"employee_id": "123-45-6789"}}),
            "employee_id",
        ),
        ("unknown_type", "{}", "unknown workflow type 'unknown_type'"),
    ],
)
async def test_a_start_with_bad_input_is_refused(
    cli: Run, app_pool: asyncpg.Pool, workflow: str, given: str, named: str
) -> None:
    code, out, error = await asyncio.to_thread(cli, "workflow", "start", workflow, "--input", given)
    assert code == 2
    assert out == ""
    assert named in error
    assert error.startswith("error: ")
    for private in ("hunter22", "4242", "123-45-6789", "nobody"):
        assert private not in error
    assert await written(app_pool) == 0


@pytest.mark.parametrize(("size", "message"), [(20_000_000, "larger than"), (2_000_000, "limit")])
async def test_a_huge_input_is_refused(
    cli: Run, app_pool: asyncpg.Pool, tmp_path: Path, size: int, message: str
) -> None:
    file = tmp_path / "input.json"
    file.write_text(json.dumps(SIGNUP | {"organization_name": "x" * size}), encoding="utf-8")
    code, _, error = await asyncio.to_thread(
        cli, "workflow", "start", "user_signup", "--input", f"@{file}"
    )
    assert code == 2
    assert message in error or "organization_name" in error
    assert len(error) < 500
    assert await written(app_pool) == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["workflow", "start", "user_signup"], "--input"),
        (["workflow", "start"], "TYPE"),
        (["workflow", "unknown"], "unknown"),
        (["unknown"], "unknown"),
        (["job", "show", "x"], "ID"),
        (["job", "show", "0"], "ID"),
        (["job", "show", str(2**63)], "ID"),
        (["workflow", "show", "\udcff"], "not UTF-8"),
        (["workflow", "list", "--limit", "0"], "--limit"),
        (["workflow", "list", "--status", "lost"], "--status"),
        (["migrate", "sideways"], "sideways"),
        (["queue", "pause"], "NAME"),
        (["river_worker", "--queue", "default=" + "9" * 5000], "between 1 and 10000"),
        (["monitor", "cleanup", "--older-than", "nan"], "nan"),
        (["monitor", "cleanup", "--older-than", "-1d"], "-1d"),
        (["job", "list", "--state", "lost"], "--state"),
        (["monitor", "stuck", "--older-than", "soon"], "soon"),
        (["river_worker", "--queue", "Bad Queue=1"], "queue name"),
        (["river_worker", "--queue", "default"], "NAME=N"),
        (["river_worker", "--queue", "default=0"], "between 1 and 10000"),
        (["river_worker", "--queue", "default=many"], "NAME=N"),
        (["river_worker", "--queue", "a=1", "--queue", "a=2"], "twice"),
        (["river_worker", "--log-level", "loud"], "--log-level"),
        (["river_worker", "--log-format", "xml"], "--log-format"),
        (["workflow", "start", "user_signup", "--input", "{}", "--queue", "Bad!"], "queue name"),
        (["facility", "import", "/nonexistent.csv"], "cannot be read"),
        (["order", "confirm", "no-uuid"], "ORDER"),
    ],
)
async def test_wrong_usage_is_told(cli: Run, arguments: list[str], named: str) -> None:
    code, _, error = await asyncio.to_thread(cli, *arguments)
    assert code == 2
    assert named in error


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": ""}, ["DATABASE_URL", "DB_HOST", "--embedded"]),
        ({"DATABASE_URL": "", "DB_HOST": "localhost"}, ["DB_USER", "DB_NAME"]),
        ({"DATABASE_URL": "mysql://localhost/x"}, ["DATABASE_URL"]),
        ({"LOG_LEVEL": "loud"}, ["LOG_LEVEL"]),
        ({"WORKER_GRACE": "nan"}, ["WORKER_GRACE"]),
        ({"SUPABASE_URL": "http://localhost"}, ["SUPABASE_SERVICE_ROLE_KEY"]),
        ({"RIVER_SCHEMA": "no-schema"}, ["RIVER_SCHEMA"]),
        ({"DB_PORT": "0", "WORKER_GRACE": "x"}, ["DB_PORT", "WORKER_GRACE"]),
    ],
)
@pytest.mark.parametrize("command", [["workflow", "list"], ["river_worker"], ["migrate"]])
async def test_bad_settings_are_all_told_at_once(
    cli: Run,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    named: list[str],
    command: list[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, _, error = await asyncio.to_thread(cli, *command)
    assert code == 2
    assert all(name in error for name in named)


@pytest.mark.parametrize(
    "command", [["workflow", "list"], ["river_worker"], ["migrate"], ["doctor"], ["job", "list"]]
)
async def test_an_unreachable_database_is_exit_code_3(
    cli: Run, monkeypatch: pytest.MonkeyPatch, refusing_port: int, command: list[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgres://me:hunter22@127.0.0.1:{refusing_port}/none")
    code, out, error = await asyncio.to_thread(cli, *command)
    assert code == 3
    assert "cannot be reached" in out + error
    assert "hunter22" not in out + error


@pytest.mark.parametrize(
    "command",
    [["workflow", "start", "user_signup", "--input", json.dumps(SIGNUP)], ["river_worker"]],
)
async def test_an_unmigrated_database_is_told_what_to_run(
    cli: Run, monkeypatch: pytest.MonkeyPatch, empty_database: str, command: list[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    code, _, error = await asyncio.to_thread(cli, *command)
    assert code == 2
    assert "migrate" in error


@pytest.mark.parametrize("command", [["workflow", "list"], ["river_worker"]])
async def test_a_missing_file_of_the_application_is_named(
    cli: Run, monkeypatch: pytest.MonkeyPatch, database_url: str, command: list[str]
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await apply_migrations(connection, bundled_migrations(WORKFLOW_MIGRATIONS))
        monkeypatch.setenv("DATABASE_URL", database_url)
        code, _, error = await asyncio.to_thread(cli, *command)
    finally:
        for table in ("signals", "events", "steps", "executions"):
            await connection.execute(f"DROP TABLE IF EXISTS workflow_{table} CASCADE")
        await connection.execute("DROP SCHEMA supabase_migrations CASCADE")
        await connection.close()
    assert code == 2
    assert "organizations.sql" in error
    assert "v1consortium migrate" in error


async def test_a_database_that_may_only_be_read_is_told(
    cli: Run, monkeypatch: pytest.MonkeyPatch, app_url: str, app_pool: asyncpg.Pool
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{app_url}?default_transaction_read_only=on")
    code, _, error = await asyncio.to_thread(
        cli, "workflow", "start", "user_signup", "--input", json.dumps(SIGNUP)
    )
    assert code == 1
    assert error == "error: the database refused: ReadOnlySQLTransactionError (25006)\n"
    assert await written(app_pool) == 0


async def test_waiting_too_long_is_exit_code_1(cli: Run) -> None:
    arguments = ("workflow", "start", "user_signup", "--input", json.dumps(SIGNUP), "--wait")
    code, _, error = await asyncio.to_thread(cli, *arguments, "--timeout", "0.3")
    assert code == 1
    workflow_id = error.split()[2]
    assert "has not ended within 0.3; it goes on" in error
    code, out, error = await asyncio.to_thread(
        cli, "workflow", "watch", workflow_id, "--timeout", "0.1"
    )
    assert (code, "workflow_started" in out) == (1, True)
    assert "has not ended within 0.1" in error


async def test_input_that_is_not_utf8_is_refused(environment: dict[str, str]) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "v1consortium", "workflow", "start", "user_signup", "--input", "-"],
        input=b'{"email": "\xff"}',
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == b"error: --input is not UTF-8 text\n"


async def test_a_newer_schema_is_told(cli: Run, app_pool: asyncpg.Pool) -> None:
    await app_pool.execute("INSERT INTO river_migration (line, version) VALUES ('main', 99)")
    try:
        code, _, error = await asyncio.to_thread(cli, "workflow", "list")
    finally:
        await app_pool.execute("DELETE FROM river_migration WHERE version = 99")
    assert code == 2
    assert "99" in error
    assert "upgrade" in error


@pytest.mark.parametrize(
    "command",
    [
        ["workflow", "show", "unknown"],
        ["workflow", "retry", "unknown"],
        ["workflow", "cancel", "unknown"],
        ["job", "show", "4711"],
        ["job", "retry", "4711"],
        ["queue", "pause", "nowhere"],
        ["order", "reopen", "00000000-0000-0000-0000-000000000000"],
    ],
)
async def test_what_does_not_exist_is_exit_code_1(cli: Run, command: list[str]) -> None:
    code, _, error = await asyncio.to_thread(cli, *command)
    assert code == 1
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("site_code,name\nA,B\n", "column latitude is missing"),
        ("site_code,name,latitude,longitude,time_zone,what\n", "column what is unknown"),
        ("site_code,name,latitude,longitude,time_zone\nA,B,91,0,UTC\n", "line 2, latitude"),
        ("site_code,name,latitude,longitude,time_zone\nA,B,x,0,UTC\n", "line 2, latitude"),
        ("site_code,name,latitude,longitude,time_zone\nA,B,1\n", "line 2"),
        ("site_code,name,latitude,longitude,time_zone\nTOOLONG,B,1,1,UTC\n", "line 2, site_code"),
        (
            "site_code,name,latitude,longitude,time_zone\nA,B,1,1,UTC\nA,B,1,1,UTC\n",
            "line 3, site_code",
        ),
        (
            "site_code,name,latitude,longitude,time_zone,observed\nA,B,1,1,UTC,maybe\n",
            "line 2, observed",
        ),
    ],
)
async def test_a_bad_file_of_sites_imports_nothing(
    cli: Run, app_pool: asyncpg.Pool, tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "sites.csv"
    file.write_text(text, encoding="utf-8")
    code, _, error = await asyncio.to_thread(cli, "facility", "import", str(file))
    assert code == 2
    assert named in error
    assert await app_pool.fetchval("SELECT count(*) FROM facilities") == 0
