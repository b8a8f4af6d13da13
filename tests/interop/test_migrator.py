"""Our migrator chooses and refuses what Go River's does, from every version, with every option."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from riverengine import MigrationError, Migrator
from riverengine.schema import bundled_migrations
from tests.interop.go_programs import build

pytestmark = pytest.mark.interop

NEWEST = 8
NAMES = {migration.version: migration.name for migration in bundled_migrations()}


@dataclass(frozen=True)
class GoMigrator:
    """A process of ``cmd/migrator``."""

    process: asyncio.subprocess.Process

    async def call(self, method: str, **options: object) -> dict[str, Any]:
        """One answer; ``error`` is Go's text, or empty."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"method": method, **options}).encode() + b"\n")
        async with asyncio.timeout(20):
            answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return answer


@asynccontextmanager
async def started(program: Path, url: str) -> AsyncIterator[GoMigrator]:
    process = await asyncio.create_subprocess_exec(
        *(str(program), url), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield GoMigrator(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(20):
            await process.wait()


@pytest.fixture
async def go(empty_database: str) -> AsyncIterator[GoMigrator]:
    """Go's migrator on the test's database."""
    async with started(build("migrator"), empty_database) as migrator:
        yield migrator


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Our connection to the same database."""
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


async def ours(
    connection: asyncpg.Connection, direction: str, target: int, steps: int
) -> list[int] | None:
    """The versions our migrator would apply for Go's options; None for a refusal."""
    migrator = Migrator(connection)
    apply = migrator.migrate_up if direction == "up" else migrator.migrate_down
    try:
        applied = await apply(target_version=target or None, max_steps=steps or None, dry_run=True)
    except MigrationError:
        return None
    return [migration.version for migration in applied]


async def test_every_option_chooses_the_same_versions(
    go: GoMigrator, connection: asyncpg.Connection
) -> None:
    differing = []
    for version in range(NEWEST + 1):
        if version:
            await Migrator(connection).migrate_up(target_version=version)
        for direction in ("up", "down"):
            for target in range(-1 if direction == "down" else 0, NEWEST + 2):
                for steps in (-1, 0, 1, 3, 20):
                    theirs = await go.call(
                        direction, target_version=target, max_steps=steps, dry_run=True
                    )
                    wanted = None if theirs["error"] else theirs["versions"]
                    found = await ours(connection, direction, target, steps)
                    if found != wanted:
                        differing.append((version, direction, target, steps, found, wanted))
    assert differing == []


async def test_go_applies_what_we_reverted_and_the_reverse(
    go: GoMigrator, connection: asyncpg.Connection
) -> None:
    migrator = Migrator(connection)
    applied = await go.call("up", target_version=6)
    assert applied["names"] == [NAMES[version] for version in range(1, 7)]
    assert await migrator.existing_versions() == applied["versions"]
    await migrator.migrate_down(max_steps=2)
    assert (await go.call("existing"))["versions"] == [1, 2, 3, 4]
    assert (await go.call("up", max_steps=3))["versions"] == [5, 6, 7]
    await migrator.migrate_up()
    assert (await go.call("validate"))["messages"] == []
    assert (await go.call("down", target_version=-1))["versions"] == list(range(NEWEST, 0, -1))
    assert await migrator.existing_versions() == []


@pytest.mark.parametrize("applied", [0, 3, NEWEST])
async def test_what_is_missing_is_told_in_go_s_words(
    go: GoMigrator, connection: asyncpg.Connection, applied: int
) -> None:
    migrator = Migrator(connection)
    if applied:
        await migrator.migrate_up(target_version=applied)
    assert await migrator.validate() == (await go.call("validate"))["messages"]
    for target in range(1, NEWEST + 1):
        theirs = await go.call("validate", target_version=target)
        assert await migrator.validate(target_version=target) == theirs["messages"]


async def test_refusals_have_go_s_words(go: GoMigrator, connection: asyncpg.Connection) -> None:
    migrator = Migrator(connection)
    for line in ("mian", "man", "pro"):
        with pytest.raises(MigrationError) as refused:
            Migrator(connection, line=line)
        assert str(refused.value) == (await go.call("existing", line=line))["error"]
    with pytest.raises(MigrationError) as refused:
        migrator.get_version(44)
    assert str(refused.value) == (await go.call("get", version=44))["error"]
    with pytest.raises(MigrationError) as refused:
        await migrator.migrate_up(target_version=44)
    assert str(refused.value) == (await go.call("up", target_version=44))["error"]
    with pytest.raises(MigrationError) as refused:
        await migrator.migrate_down(target_version=4)
    assert str(refused.value) == (await go.call("down", target_version=4))["error"]
    with pytest.raises(MigrationError) as refused:
        await migrator.validate(target_version=44)
    assert str(refused.value) == (await go.call("validate", target_version=44))["error"]


async def test_go_leaves_rows_of_our_line_alone(
    go: GoMigrator, connection: asyncpg.Connection
) -> None:
    await Migrator(connection).migrate_up()
    own = Migrator(connection, line="riverengine")
    await own.migrate_up()
    before = await own.existing_versions()
    assert (await go.call("down", target_version=6))["versions"] == [8, 7]
    assert (await go.call("up"))["versions"] == [7, 8]
    assert await own.existing_versions() == before
    assert (await go.call("validate"))["messages"] == []
