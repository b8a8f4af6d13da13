"""The fleet's checker finds each planted fault, and nothing in good histories."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.interop.fleet.checker import Change, Effect, Insert, Kill, judge

START = datetime(2026, 1, 2, tzinfo=UTC)


class Story:
    """What happened to one job, told step by step with a clock that moves on."""

    def __init__(self, job_id: int = 1) -> None:
        self.job_id = job_id
        self.effects: list[Effect] = []
        self.changes: list[Change] = []
        self.inserts: list[Insert] = []
        self.kills: list[Kill] = []
        self.state: str | None = None
        self.client = ""
        self.attempted_at: datetime | None = None
        self._now = START

    def _tick(self) -> datetime:
        self._now += timedelta(milliseconds=10)
        return self._now

    def to(self, state: str | None) -> Story:
        self.changes.append(
            Change(self.job_id, self.state, state, self.attempted_at, self.client, self._tick())
        )
        self.state = state
        return self

    def insert(self, state: str = "available") -> Story:
        token = f"t{self.job_id}"
        self.inserts += [Insert(token, "try", None), Insert(token, "ok", self.job_id)]
        return self.to(state)

    def claim(self, client: str = "go-1") -> Story:
        self.client, self.attempted_at = client, self._tick()
        return self.to("running")

    def log(self, phase: str) -> Story:
        assert self.attempted_at is not None
        self.effects.append(
            Effect(
                self.job_id, self.attempted_at, self.client, f"{self.client}.1", phase, self._tick()
            )
        )
        return self

    def run(self, phase: str, state: str, client: str = "go-1") -> Story:
        return self.claim(client).log("begin").log(phase).to(state)

    def kill(self) -> Story:
        self.kills.append(Kill(self.client, f"{self.client}.1", self._tick()))
        return self

    def anomalies(self) -> set[str]:
        return {each.name for each in judge(self.effects, self.changes, self.inserts, self.kills)}


def good(source: random.Random, job_id: int) -> Story:
    """A history as River makes them."""
    story = Story(job_id).insert()
    for _ in range(source.randrange(4)):
        client = source.choice(["go-1", "python-1"])
        match source.randrange(4):
            case 0:
                story.run("error", "available", client)
            case 1:
                story.run("snooze", "available", client)
            case 2:
                story.run("error", "retryable", client).to("available")
            case _:
                story.claim(client).log("begin")
                if source.random() < 0.3:
                    story.log(source.choice(["ok", "error"]))
                story.kill().to("retryable").to("available")
                break
    if source.random() < 0.2:
        return story.to("cancelled")
    client = source.choice(["go-2", "python-2"])
    phase, state = source.choice(
        [("ok", "completed"), ("cancel", "cancelled"), ("error", "discarded")]
    )
    return story.run(phase, state, client)


def test_good_histories_are_let_pass() -> None:
    source = random.Random(51)
    for number in range(1, 10_001):
        story = good(source, number)
        assert story.anomalies() == set(), story.__dict__


FAULTS: Sequence[tuple[str, Callable[[], Story]]] = [
    ("lost: not finished", lambda: Story().insert()),
    ("lost: not finished", lambda: Story().insert().claim().log("begin").kill()),
    ("lost: never there", lambda: _without_rows(Story().insert().run("ok", "completed"))),
    ("rolled back, but there", lambda: _rolled_back(Story().insert().run("ok", "completed"))),
    ("finished twice", lambda: Story().insert().run("ok", "completed").run("ok", "completed")),
    (
        "resurrected",
        lambda: Story().insert().run("ok", "completed").to("available").run("ok", "completed"),
    ),
    ("illegal change", lambda: Story().insert("scheduled").run("ok", "completed")),
    ("phantom", lambda: _without_insert(Story().insert().run("ok", "completed"))),
    ("claimed twice", lambda: Story().insert().claim().log("begin").log("begin").log("ok")),
    ("run without a claim", lambda: _without_claim(Story().insert().run("ok", "completed"))),
    ("run after the end", lambda: Story().insert().run("ok", "completed").log("begin").log("ok")),
    (
        "overlap",
        lambda: (
            Story().insert().claim().log("begin").to("available").run("ok", "completed", "go-2")
        ),
    ),
    ("begun, not ended", lambda: Story().insert().claim().log("begin").to("completed")),
    (
        "repeated without a reason",
        lambda: Story().insert().run("ok", "available").run("ok", "completed", "python-1"),
    ),
    ("ended otherwise", lambda: Story().insert().run("error", "completed")),
    ("ended otherwise", lambda: Story().insert().run("ok", "discarded")),
]


@pytest.mark.parametrize(("name", "story"), FAULTS, ids=[name for name, _ in FAULTS])
def test_planted_faults_are_found(name: str, story: Callable[[], Story]) -> None:
    assert name in story().anomalies()


def _without_rows(story: Story) -> Story:
    story.changes.clear()
    return story


def _without_insert(story: Story) -> Story:
    del story.changes[0]
    return story


def _without_claim(story: Story) -> Story:
    story.changes = [change for change in story.changes if change.new != "running"]
    return story


def _rolled_back(story: Story) -> Story:
    story.inserts = [replace(each, phase="rolled back") for each in story.inserts]
    return story
