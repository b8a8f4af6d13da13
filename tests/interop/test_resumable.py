"""Random workers made of resumable steps leave the same behind in Go River and here."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import asyncpg
import pytest

from riverengine import (
    Job,
    JobCancel,
    JobRow,
    JobSnooze,
    Json,
    RiverError,
    record_output,
    resumable_set_cursor,
    resumable_set_step_cursor_tx,
    resumable_set_step_tx,
    resumable_step,
    resumable_step_cursor,
    work_func,
)
from tests.interop.side_by_side import side_by_side

pytestmark = pytest.mark.interop

NAMES = ("one", "two", "three", "four")
SCRIPTS = 150


class ScriptError(RiverError):
    """An error whose text is stored as it is, as Go stores all."""


@dataclass(frozen=True)
class Step:
    """What one step does, in this order."""

    name: str
    cursor: bool = False
    set: int | None = None
    nested: str = ""
    checkpoint: str = ""
    rollback: bool = False
    fail: bool = False


@dataclass(frozen=True)
class ScriptArgs:
    """The steps of a worker, and how it ends."""

    kind: ClassVar[str] = "resumable_script"
    steps: tuple[Step, ...]
    end: str = ""


class Script:
    """The worker: steps follow each other as in Go, where a failed one raises nothing."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def work(self, job: Job[ScriptArgs]) -> None:
        """Run the steps."""
        seen: list[str] = []

        def body(step: Step):  # type: ignore[no-untyped-def]
            async def plain() -> None:
                seen.append(step.name)
                await self._run(job, step)

            async def with_cursor(cursor: int) -> None:
                seen.append(f"{step.name} {cursor}")
                await self._run(job, step)

            return with_cursor if step.cursor else plain

        for step in job.args.steps:
            with contextlib.suppress(RiverError):
                if step.cursor:
                    await resumable_step_cursor(step.name, body(step), 0)
                else:
                    await resumable_step(step.name, body(step))
        record_output(seen)
        match job.args.end:
            case "error":
                raise ScriptError("attempt failed")
            case "cancel":
                raise JobCancel("enough")
            case "snooze":
                raise JobSnooze(timedelta(hours=1))

    async def _run(self, job: Job[ScriptArgs], step: Step) -> None:
        if step.set is not None:
            resumable_set_cursor(step.set)
        if step.nested:
            with contextlib.suppress(RiverError):
                await resumable_step(step.nested, lambda: asyncio.sleep(0))
        if step.checkpoint:
            async with self.pool.acquire() as tx, tx.transaction():
                if step.checkpoint == "cursor":
                    await resumable_set_step_cursor_tx(tx, job, 99)
                else:
                    await resumable_set_step_tx(tx, job)
                if step.rollback:
                    raise ScriptError("rolled back")
        if step.fail:
            raise ScriptError("step failed")


def _script(dice: random.Random) -> tuple[ScriptArgs, Mapping[str, Json]]:
    """A worker, and the metadata that earlier attempts left, sensible or not."""
    names = dice.sample(NAMES, dice.randint(1, 4))
    if dice.random() < 0.1:
        names.append(dice.choice(names))
    steps = tuple(
        Step(
            name=name,
            cursor=dice.random() < 0.5,
            set=dice.randint(1, 9) if dice.random() < 0.4 else None,
            nested=dice.choice(NAMES) if dice.random() < 0.05 else "",
            checkpoint=dice.choice(("step", "cursor")) if dice.random() < 0.2 else "",
            rollback=dice.random() < 0.3,
            fail=dice.random() < 0.2,
        )
        for name in names
    )
    metadata: dict[str, Json] = {"mine": 1}
    if dice.random() < 0.5:
        metadata["river:resumable_step"] = dice.choice((*NAMES, "gone", "", None, 7))
    if dice.random() < 0.5:
        metadata["river:resumable_cursor"] = dice.choice(
            (
                *(None, 5, "x", {}, []),
                *({name: dice.choice((1, 2, None)) for name in dice.sample(NAMES, 2)},) * 6,
            )
        )
    return ScriptArgs(steps, dice.choice(("", "", "error", "cancel", "snooze"))), metadata


def _left(row: JobRow) -> tuple[object, ...]:
    """What can be compared: texts that Go's JSON reader words are cut off."""
    error = row.errors[0].error if row.errors else ""
    if error.startswith("river: unmarshal resumable cursors: "):
        error = "river: unmarshal resumable cursors"
    return row.state, row.attempt, row.metadata, error


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_steps_leave_the_same(
    pool: asyncpg.Pool, database_url: str, seed: int
) -> None:
    dice = random.Random(seed)
    scripts = [_script(dice) for _ in range(SCRIPTS)]
    by_go, by_python = await side_by_side(
        pool, database_url, work_func(ScriptArgs, Script(pool).work), scripts
    )
    assert len(by_go) == len(by_python) == SCRIPTS
    for (args, metadata), theirs, ours in zip(scripts, by_go, by_python, strict=True):
        assert _left(ours) == _left(theirs), (args, metadata)
    # The dice reached what they are meant to reach.
    texts = {row.errors[0].error.split('"')[0] for row in by_go if row.errors}
    assert len(texts) >= 8, texts
