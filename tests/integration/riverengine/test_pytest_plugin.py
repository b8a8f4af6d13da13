"""The pytest plugin in projects of users, run as they run theirs."""

from __future__ import annotations

import asyncpg
import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.timeout(300)

APP = """
    from dataclasses import dataclass
    from typing import ClassVar
    from riverengine import Client, Job, Worker, record_output


    @dataclass(frozen=True)
    class EmailArgs:
        kind: ClassVar[str] = "email"
        to: str = ""


    class EmailWorker(Worker[EmailArgs]):
        async def work(self, job: Job[EmailArgs]) -> None:
            record_output(f"sent to {job.args.to}")


    async def sign_up(client: Client, tx, email: str) -> None:
        await client.insert(EmailArgs(to=email), tx=tx)
"""

TESTS = """
    from app import EmailArgs, EmailWorker, sign_up
    from riverengine import EventKind, JobState
    from riverengine.testing import WorkerTester, require_inserted, require_not_inserted
    {mark}

    {decorator}
    async def test_signing_up_sends_an_email(river_client, river_tx):
        await require_not_inserted(river_tx, EmailArgs)
        await sign_up(river_client, river_tx, "ann@example.com")
        job = await require_inserted(river_tx, EmailArgs)
        assert (job.args.to, job.row.id) == ("ann@example.com", 1)


    {decorator}
    async def test_the_database_is_empty_again(river_client, river_tx, river_pool):
        await require_not_inserted(river_pool, EmailArgs)
        await sign_up(river_client, None, "committed@example.com")
        assert (await require_inserted(river_pool, EmailArgs)).row.id == 1


    {decorator}
    async def test_and_again(river_pool, river_schema):
        await require_not_inserted(river_pool, EmailArgs)
        assert await river_pool.fetchval("SELECT current_schema()") == river_schema
        versions = "SELECT count(DISTINCT line) FROM river_migration"
        assert await river_pool.fetchval(versions) == {lines}


    {decorator}
    async def test_the_worker_sends(river_tx):
        result = await WorkerTester(EmailWorker()).work(river_tx, EmailArgs(to="ann@example.com"))
        assert result.event_kind is EventKind.JOB_COMPLETED
        assert result.job.output == "sent to ann@example.com"


    {decorator}
    async def test_a_started_client_works(river_start):
        client = await river_start(EmailWorker())
        async with client.subscribe() as events:
            await client.insert(EmailArgs(to="bob@example.com"))
            event = await events.next(timeout=30)
        assert event.job.output == "sent to bob@example.com"


    def test_the_schema_serves_code_without_event_loop(river_database_url, river_schema):
        assert river_database_url.startswith("postgres")
        assert river_schema.startswith("riverengine_test_")
"""


def project(
    pytester: pytest.Pytester, settings: str, *, mark: str = "", decorator: str = "", lines: int = 2
) -> None:
    """A user's project with six tests."""
    pytester.makepyfile(app=APP)
    pytester.makepyfile(test_app=TESTS.format(mark=mark, decorator=decorator, lines=lines))
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{settings}")


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, empty_database: str) -> None:
    monkeypatch.setenv("RIVER_TEST_DATABASE_URL", empty_database)


ASYNCIO = "asyncio_default_fixture_loop_scope = function"


@pytest.mark.parametrize(
    ("settings", "mark", "decorator"),
    [
        pytest.param(f"asyncio_mode = auto\n{ASYNCIO}", "", "", id="auto"),
        pytest.param(
            f"asyncio_mode = strict\n{ASYNCIO}",
            "import pytest",
            "@pytest.mark.asyncio",
            id="strict",
        ),
        pytest.param(
            "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = session\n"
            "asyncio_default_test_loop_scope = session",
            *("", ""),
            id="one loop for all",
        ),
    ],
)
def test_the_fixtures_work_with_pytest_asyncio(
    pytester: pytest.Pytester, settings: str, mark: str, decorator: str
) -> None:
    project(pytester, settings, mark=mark, decorator=decorator)
    pytester.runpytest_subprocess().assert_outcomes(passed=6)


def test_the_fixtures_work_with_anyio(pytester: pytest.Pytester) -> None:
    project(pytester, "", mark="import pytest", decorator="@pytest.mark.anyio")
    pytester.makeconftest(
        "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    # What anyio's users see: pytest-asyncio is not installed.
    pytester.makepyfile(pytest_asyncio="raise ModuleNotFoundError(__name__)")
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=6)


async def test_no_schema_is_left_behind(pytester: pytest.Pytester, empty_database: str) -> None:
    project(pytester, f"asyncio_mode = auto\n{ASYNCIO}\nriver_lines = main", lines=1)
    connection = await asyncpg.connect(empty_database)
    try:
        expired = "riverengine_test_20200101t000000_abcdef_1"
        kept = ["riverengine_test_0ld_of_mine", "riverengine_test_99990101t000000_abcdef_1"]
        for name in (expired, *kept):
            await connection.execute(f"CREATE SCHEMA {name}")
        pytester.runpytest_subprocess("-n", "2").assert_outcomes(passed=6)
        names = await connection.fetch(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'riverengine%' ORDER BY 1"
        )
    finally:
        await connection.close()
    assert [name["nspname"] for name in names] == kept


def test_an_embedded_server_is_started_when_no_database_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RIVER_TEST_DATABASE_URL")
    project(pytester, f"asyncio_mode = auto\n{ASYNCIO}")
    pytester.runpytest_subprocess("-k", "worker_sends").assert_outcomes(passed=1, deselected=5)


@pytest.mark.parametrize("way", ["option", "setting"])
def test_a_database_is_named_by_option_or_setting(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, empty_database: str, way: str
) -> None:
    monkeypatch.delenv("RIVER_TEST_DATABASE_URL")
    project(pytester, f"asyncio_mode = auto\n{ASYNCIO}")
    pytester.makepyfile(
        test_url=f"def test_url(river_database_url):\n"
        f"    assert river_database_url == {empty_database!r}\n"
    )
    arguments = ["--river-database-url", empty_database]
    if way == "setting":
        settings = f"river_database_url = {empty_database}"
        pytester.makeini(f"[pytest]\nasyncio_mode = auto\n{ASYNCIO}\n{settings}")
        arguments = []
    pytester.runpytest_subprocess("test_url.py", *arguments).assert_outcomes(passed=1)


def test_failures_say_what_was_found(pytester: pytest.Pytester) -> None:
    project(pytester, f"asyncio_mode = auto\n{ASYNCIO}")
    pytester.makepyfile(
        test_failing="""
        from app import EmailArgs, sign_up
        from riverengine.testing import RequireInsertedOpts, require_inserted

        async def test_priority(river_client, river_tx):
            await sign_up(river_client, river_tx, "ann@example.com")
            await require_inserted(river_tx, EmailArgs, RequireInsertedOpts(priority=2))
        """
    )
    result = pytester.runpytest_subprocess("test_failing.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*AssertionError: the job of kind 'email' is not as expected: priority is 1, expected 2"]
    )


def test_the_options_are_in_pytest_s_help(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help")
    result.stdout.fnmatch_lines(["*--river-database-url=URL*", "*river_lines*"])
