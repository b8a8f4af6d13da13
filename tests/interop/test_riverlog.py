"""Logs kept with jobs are the same, byte by byte, whether Go River or ours keeps them."""

from __future__ import annotations

import json
import random
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar, TextIO

import asyncpg
import pytest

from riverengine import Job, Json, riverlog, work_func
from tests.interop.side_by_side import side_by_side

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class LogArgs:
    """What to log."""

    kind: ClassVar[str] = "log_script"
    text: str


def _earlier(dice: random.Random) -> Json:
    """What earlier attempts left under the key, sensible or not."""
    if dice.random() < 0.1:
        return dice.choice(({"an": "object"}, "text", 7))
    return [
        dice.choice(
            ({"attempt": number, "log": _text(dice)}, {"other": 1.50}, "text", 3, None, [1, 2])
        )
        for number in range(dice.randint(0, 6))
    ]


def _text(dice: random.Random) -> str:
    alphabet = 'abc <>&"\\\n\t\u00e9\u2028\U0001f600'
    return "".join(dice.choice(alphabet) for _ in range(dice.choice((0, 1, 30, 90, 99, 140))))


async def test_logs_are_kept_as_go_keeps_them(pool: asyncpg.Pool, database_url: str) -> None:
    dice = random.Random(1)
    jobs: list[tuple[object, dict[str, Json]]] = []
    for _ in range(150):
        text = _text(dice)
        if len(text.encode()) > 100:
            # Where Go cuts a character in two, ours leaves it out.
            text = text.encode("ascii", "replace").decode()
        metadata = {"river:log": _earlier(dice)} if dice.random() < 0.8 else {}
        jobs.append((LogArgs(text=text), metadata))
    stream: ContextVar[TextIO] = ContextVar("stream")

    async def work(job: Job[LogArgs]) -> None:
        stream.get().write(job.args.text)

    by_go, by_python = await side_by_side(
        pool,
        database_url,
        work_func(LogArgs, work),
        jobs,
        middleware=[
            riverlog.Middleware.custom(stream.set, max_size_bytes=100, max_total_bytes=300)
        ],
    )
    assert len(by_go) == len(by_python) == len(jobs)
    for (args, metadata), theirs, ours in zip(jobs, by_go, by_python, strict=True):
        assert ours.metadata_json == theirs.metadata_json, (args, json.dumps(metadata))
    logs = [row.metadata.get("river:log") for row in by_go]
    assert len({len(log) for log in logs if isinstance(log, list)}) > 3
