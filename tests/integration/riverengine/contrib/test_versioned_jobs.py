"""Jobs inserted by older releases are worked by workers that know the newest form only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg

from riverengine import Job, JobState, Json, work_func
from riverengine.contrib.versioned_jobs import VersionedJobs
from tests.integration.riverengine.working import ended, started, stored


@dataclass(frozen=True)
class GreetArgs:
    """The newest form: once it had ``name``, later ``first`` and ``last``."""

    kind: ClassVar[str] = "greet"
    full_name: str
    version: int = 3


def upgrade(args: dict[str, Json]) -> dict[str, Json]:
    """From any version to the newest."""
    if args.get("version", 1) == 1:
        first, _, last = args.pop("name").partition(" ")
        args |= {"first": first, "last": last, "version": 2}
    if args["version"] == 2:
        args |= {"full_name": f"{args.pop('first')} {args.pop('last')}", "version": 3}
    return args


async def test_old_args_are_brought_up_to_date(pool: asyncpg.Pool) -> None:
    seen: list[GreetArgs] = []

    async def greet(job: Job[GreetArgs]) -> None:
        seen.append(job.args)
        assert job.row.args["full_name"] == job.args.full_name

    worker: Any = work_func(GreetArgs, greet)
    hook = VersionedJobs({"greet": upgrade, "other": lambda args: {}})
    async with started(pool, worker, hooks=[hook]) as client, client.subscribe() as events:
        for args in ('{"name": "Ann Lee"}', '{"first": "Bo", "last": "Li", "version": 2}'):
            await pool.execute("INSERT INTO river_job (kind, args) VALUES ('greet', $1)", args)
            await ended(events)
        await client.insert(GreetArgs(full_name="Cy Ng"))
        await ended(events)
    assert [args.full_name for args in seen] == ["Ann Lee", "Bo Li", "Cy Ng"]
    row = await pool.fetchrow("SELECT id, args FROM river_job ORDER BY id LIMIT 1")
    assert row["args"] == '{"name": "Ann Lee"}'
    assert (await stored(pool, row["id"])).state is JobState.COMPLETED


async def test_a_transform_that_fails_fails_the_attempt(pool: asyncpg.Pool) -> None:
    async def greet(job: Job[GreetArgs]) -> None:
        raise AssertionError("not reached")

    worker: Any = work_func(GreetArgs, greet)
    hook = VersionedJobs({"greet": upgrade})
    async with started(pool, worker, hooks=[hook]) as client, client.subscribe() as events:
        await pool.execute(
            "INSERT INTO river_job (kind, args, max_attempts) VALUES ('greet', '{}', 1)"
        )
        event = (await ended(events))[0]
    assert event.job is not None
    assert event.job.errors[0].error == "KeyError: 'name'"
