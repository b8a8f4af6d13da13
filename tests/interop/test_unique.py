"""A job that Go holds unique, Python skips, and the reverse: same keys, same states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from riverengine import Client, InsertOpts, JobState, UniqueOpts
from tests.interop.peer import InteropArgs, Peer

pytestmark = pytest.mark.interop

ARGS: dict[str, Any] = {"behavior": "", "text": 'é<&> "q" \\ \u2028 ☃', "number": 2**60}
REQUIRED = [JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED]
OPTIONS: list[tuple[dict[str, Any], UniqueOpts]] = [
    ({"by_args": True}, UniqueOpts(by_args=True)),
    ({"by_queue": True}, UniqueOpts(by_queue=True)),
    ({"by_args": True, "by_queue": True}, UniqueOpts(by_args=True, by_queue=True)),
    ({"by_args": True, "exclude_kind": True}, UniqueOpts(by_args=True, exclude_kind=True)),
    ({"by_state": REQUIRED}, UniqueOpts(by_state=REQUIRED)),
    (
        {"by_args": True, "by_state": [*REQUIRED, JobState.DISCARDED]},
        UniqueOpts(by_args=True, by_state=[*REQUIRED, JobState.DISCARDED]),
    ),
]


@pytest.mark.parametrize(("for_go", "for_python"), OPTIONS)
@pytest.mark.parametrize("first", ["go", "python"])
async def test_the_second_insert_is_skipped(
    go: Peer,
    python: Client,
    pool: asyncpg.Pool,
    for_go: dict[str, Any],
    for_python: UniqueOpts,
    first: str,
) -> None:
    opts = InsertOpts(unique_opts=for_python)
    args = InteropArgs(**ARGS)
    if first == "go":
        held = await go.call("insert", args=ARGS, **for_go)
        second = await python.insert(args, opts)
        assert second.unique_skipped_as_duplicate
        assert second.job.id == held["job"]["id"]
        row = second.job
    else:
        row = (await python.insert(args, opts)).job
        second_go = await go.call("insert", args=ARGS, **for_go)
        assert second_go["skipped"]
        assert second_go["job"]["id"] == row.id
        assert second_go["job"]["unique_key"] == (row.unique_key or b"").hex()
        assert set(second_go["job"]["unique_states"]) == set(row.unique_states or ())
    assert await pool.fetchval("SELECT count(*) FROM river_job") == 1


async def test_other_args_are_not_skipped(go: Peer, python: Client) -> None:
    await go.call("insert", args=ARGS, by_args=True)
    other = await python.insert(
        InteropArgs(text="other"), InsertOpts(unique_opts=UniqueOpts(by_args=True))
    )
    assert not other.unique_skipped_as_duplicate


async def test_a_period_is_the_same_for_both(go: Peer, python: Client) -> None:
    # A week: Go counts from the year 1, so that it starts on a Monday.
    held = await go.call("insert", args=ARGS, by_period_s=7 * 24 * 3600)
    second = await python.insert(
        InteropArgs(), InsertOpts(unique_opts=UniqueOpts(by_period=timedelta(days=7)))
    )
    assert second.job.id == held["job"]["id"]
