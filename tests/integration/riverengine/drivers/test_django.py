"""Django's ways: atomic blocks, on_commit, execute wrappers, settings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest

from riverengine import (
    DuplicateInBatchError,
    InsertManyParams,
    InsertOpts,
    SyncClient,
    UniqueOpts,
    UnsupportedDriverError,
)
from tests.integration.riverengine.drivers.libraries import configure_django
from tests.integration.riverengine.working import NoteArgs, stored

BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))


@pytest.fixture(autouse=True)
def _django(database_url: str) -> None:
    configure_django(database_url)


async def in_django(run: Callable[[], Any]) -> Any:
    """Run synchronous code in a thread of its own, and close its connections."""

    def call() -> Any:
        from django.db import connections

        try:
            return run()
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)


async def count(pool: asyncpg.Pool) -> int:
    number: int = await pool.fetchval("SELECT count(*) FROM river_job")
    return number


class RollBackError(Exception):
    """Ends a block."""


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("given", ["nothing", "alias", "connection"])
async def test_an_atomic_block_decides(pool: asyncpg.Pool, given: str, commit: bool) -> None:
    def run() -> None:
        from django.db import connection, connections, transaction

        client = SyncClient("default") if given == "nothing" else SyncClient()
        tx = {"nothing": None, "alias": "default", "connection": connection}[given]
        told: list[str] = []
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: told.append("committed"))
                client.insert(NoteArgs(), tx=tx)
                client.insert_many_fast([NoteArgs()], tx=tx)
                with transaction.atomic():
                    client.insert(NoteArgs(text="in a savepoint of Django's"), tx=tx)
                assert told == []
                if not commit:
                    raise RollBackError
        except RollBackError:
            pass
        assert told == (["committed"] if commit else [])
        with transaction.atomic():
            assert client.insert(NoteArgs(), tx=connections["default"]).job.id > 0

    await in_django(run)
    assert await count(pool) == (4 if commit else 1)


async def test_a_savepoint_of_the_caller_s_is_undone_alone(pool: asyncpg.Pool) -> None:
    def run() -> None:
        from django.db import transaction

        client = SyncClient("default")
        with transaction.atomic():
            client.insert(NoteArgs(text="stays"))
            try:
                with transaction.atomic():
                    client.insert_many([InsertManyParams(NoteArgs(), BY_ARGS)] * 2)
            except DuplicateInBatchError:
                client.insert(NoteArgs(text="after"))

    await in_django(run)
    rows = await pool.fetch("SELECT args ->> 'text' AS text FROM river_job ORDER BY id")
    assert [row["text"] for row in rows] == ["stays", "after"]


async def test_an_error_in_the_caller_s_block_aborts_it(pool: asyncpg.Pool) -> None:
    def run() -> None:
        from django.db import transaction
        from django.db.transaction import TransactionManagementError

        client = SyncClient("default")
        with transaction.atomic():
            with pytest.raises(DuplicateInBatchError):
                client.insert_many([InsertManyParams(NoteArgs(), BY_ARGS)] * 2)
            with pytest.raises(TransactionManagementError):
                client.insert(NoteArgs())

    await in_django(run)
    assert await count(pool) == 0


async def test_execute_wrappers_and_the_query_log_see_the_statements(pool: asyncpg.Pool) -> None:
    def run() -> None:
        from django.db import connection

        seen: list[str] = []

        def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            seen.append(sql)
            return execute(sql, params, many, context)

        connection.force_debug_cursor = True
        with connection.execute_wrapper(watch):
            SyncClient("default").insert(NoteArgs())
            SyncClient("default").insert_many_fast([NoteArgs()])
        # COPY is no execute of Django's; its announcement is.
        told = [("INSERT INTO" in sql, "pg_notify" in sql) for sql in seen]
        assert [each for each in told if any(each)] == [(True, True), (False, True)]
        logged = [query["sql"] for query in connection.queries]
        assert any("COPY" in sql for sql in logged)
        connection.force_debug_cursor = False

    await in_django(run)


@pytest.fixture
def time_zone() -> Iterator[None]:
    """Changing Django's zone changes the process's, and other tests' with it."""
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("time_zone")
async def test_times_are_utc_in_a_project_without_zones(pool: asyncpg.Pool) -> None:
    def run() -> Any:
        from django.test.utils import override_settings

        with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kathmandu"):
            return SyncClient("default").insert(NoteArgs()).job

    row = await in_django(run)
    assert repr(row) == repr(await stored(pool, row.id))


@pytest.fixture
def sqlite() -> Iterator[str]:
    from django.db import connections

    connections.settings["other"] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
    }
    yield "other"
    del connections.settings["other"]


async def test_another_database_engine_is_refused(sqlite: str) -> None:
    def run() -> None:
        with pytest.raises(UnsupportedDriverError, match="sqlite"):
            SyncClient().insert(NoteArgs(), tx=sqlite)
        with pytest.raises(UnsupportedDriverError, match="sqlite"):
            SyncClient(sqlite).insert(NoteArgs())

    await in_django(run)
