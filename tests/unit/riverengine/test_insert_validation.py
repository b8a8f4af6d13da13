"""River's checks of an insert: each row of its table, their texts and their order.

Source: client.go, insertParamsFromConfigArgsAndOptions, at v0.51.1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from riverengine.insert.options import InsertOpts, UniqueOpts
from riverengine.insert.plan import InsertPlan, plan_insert
from riverengine.types.errors import (
    ArgsEncodeError,
    InsertError,
    UniqueOptsError,
    UnknownJobKindError,
)
from riverengine.types.job import JobState

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
REQUIRED = [JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED]


@dataclass
class Args:
    kind: ClassVar[str] = "known"
    value: object = 1


@dataclass
class Unknown:
    kind: ClassVar[str] = "unknown"


def plan(
    args: object, opts: InsertOpts | None = None, known: Collection[str] | None = None
) -> InsertPlan:
    return plan_insert(
        args, opts, now=NOW, max_attempts=25, max_args_bytes=10_000, known_kinds=known
    )


def unique(**opts: Any) -> InsertOpts:
    return InsertOpts(unique_opts=UniqueOpts(**opts))


INVALID = "queue name is invalid, expected letters and numbers separated by underscores or hyphens"
TAGS = r"tags should match regex \A[\w][\w\-]+[\w]\z"

REFUSALS = [
    # The order is River's: what comes first is told first.
    pytest.param(
        Unknown(),
        InsertOpts(),
        UnknownJobKindError,
        "job kind is not registered in the client's Workers bundle: unknown",
        id="kind not registered",
    ),
    pytest.param(
        Args(float("nan")),
        InsertOpts(),
        ArgsEncodeError,
        "error marshaling args to JSON: nan is not a JSON number at $.value",
        id="args no JSON",
    ),
    pytest.param(
        Args(), InsertOpts(queue=""), InsertError, "queue name cannot be empty", id="queue empty"
    ),
    pytest.param(
        Args(),
        InsertOpts(queue="é" * 33),
        InsertError,
        "queue name cannot be longer than 64 characters",
        id="queue of 66 bytes",
    ),
    pytest.param(
        Args(),
        InsertOpts(queue='no "queue"\n'),
        InsertError,
        INVALID + r': "no \"queue\"\n"',
        id="queue name, quoted as Go does",
    ),
    pytest.param(
        Args(),
        InsertOpts(tags=["é" * 128]),
        InsertError,
        "tags should be a maximum of 255 characters long",
        id="tag of 256 bytes",
    ),
    pytest.param(Args(), InsertOpts(tags=["ab"]), InsertError, TAGS, id="tag of two characters"),
    pytest.param(
        Args(),
        InsertOpts(priority=5),
        InsertError,
        "priority must be between 1 and 4",
        id="priority",
    ),
    pytest.param(
        Args(),
        unique(by_period=timedelta(milliseconds=999)),
        UniqueOptsError,
        "UniqueOpts.ByPeriod should not be less than 1 second",
        id="period",
    ),
    pytest.param(
        Args(),
        unique(exclude_kind=True, by_state=REQUIRED),
        UniqueOptsError,
        "UniqueOpts.ExcludeKind requires ByArgs, ByQueue, or ByPeriod",
        id="exclude_kind alone",
    ),
    pytest.param(
        Args(),
        unique(by_state=[*REQUIRED, "lost"]),
        UniqueOptsError,
        'UniqueOpts.ByState contains invalid state "lost"',
        id="state",
    ),
    pytest.param(
        Args(),
        unique(by_state=[JobState.RUNNING, JobState.CANCELLED]),
        UniqueOptsError,
        "UniqueOpts.ByState must contain all required states, missing: "
        "available, pending, scheduled",
        id="required states",
    ),
]


@pytest.mark.parametrize(("args", "opts", "error", "text"), REFUSALS)
def test_each_refusal_has_its_class_and_text(
    args: object, opts: InsertOpts, error: type[InsertError], text: str
) -> None:
    with pytest.raises(error) as refused:
        plan(args, opts, known=["known"])
    assert type(refused.value) is error
    assert str(refused.value) == text


def both(first: InsertOpts, second: InsertOpts) -> InsertOpts:
    """The options of two refusals in one."""
    merged = replace(first)
    for name in ("queue", "tags", "priority", "unique_opts"):
        if getattr(merged, name) is None:
            merged = replace(merged, **{name: getattr(second, name)})
    return merged


@pytest.mark.parametrize("earlier", range(len(REFUSALS) - 1))
def test_what_river_checks_first_is_told_first(earlier: int) -> None:
    first: Any = REFUSALS[earlier].values
    second: Any = REFUSALS[earlier + 1].values
    args = first[0] if not isinstance(first[0], Args) or first[0].value != 1 else second[0]
    with pytest.raises(first[2]) as refused:
        plan(args, both(first[1], second[1]), known=["known"])
    assert str(refused.value) == first[3]


@pytest.mark.parametrize(
    ("opts", "text"),
    [
        (InsertOpts(max_attempts=0), "max_attempts must be at least 1"),
        (InsertOpts(max_attempts=-1), "max_attempts must be at least 1"),
        (InsertOpts(scheduled_at=datetime(2026, 1, 1)), "scheduled_at needs a time zone"),  # noqa: DTZ001
        (InsertOpts(tags="text"), "tags must be a list of texts, not a text"),
        (InsertOpts(tags=[5]), "tags must be texts"),  # type: ignore[list-item]
        (InsertOpts(metadata=[1]), "metadata must be a JSON object"),  # type: ignore[arg-type]
        (InsertOpts(metadata="{}"), "metadata must be a JSON object"),  # type: ignore[arg-type]
        (InsertOpts(scheduled_at="soon"), "scheduled_at must be a datetime"),  # type: ignore[arg-type]
        (InsertOpts(unique_opts=True), "unique_opts must be UniqueOpts, not bool"),  # type: ignore[arg-type]
        ({"queue": "q"}, "options must be InsertOpts, not dict"),
        # Letter by letter, it would name fields that no job has, and make all jobs one.
        (unique(by_args="value"), "by_args must be True or a list of names, not one text"),
        (unique(by_period=3600), "by_period must be a timedelta"),
    ],
)
def test_what_only_python_can_get_wrong(opts: InsertOpts, text: str) -> None:
    """Go's types rule it out, or its database does."""
    with pytest.raises(InsertError) as refused:
        plan(Args(), opts)
    assert str(refused.value) == text


@pytest.mark.parametrize("kind", ["", "k" * 128, 5, None])
def test_kinds_the_database_would_refuse(kind: object) -> None:
    @dataclass
    class Odd:
        pass

    args = Odd()
    args.kind = kind  # type: ignore[attr-defined]
    with pytest.raises(InsertError, match=r"Odd\.kind must be a text of 1 to 127 characters"):
        plan(args)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (Args, "Args is a class: give an instance of it"),
        ("kind", "str.kind must be a text of 1 to 127 characters: kind: ClassVar[str] = ..."),
        ({"kind": "x"}, "dict.kind must be a text of 1 to 127 characters: kind: ClassVar[str]"),
    ],
)
def test_what_is_no_args_is_told(args: object, told: str) -> None:
    with pytest.raises(InsertError) as refused:
        plan(args)
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("kind", ["k", "k" * 127, "Any Kind, until workers are registered\t☃"])
def test_a_client_that_only_inserts_takes_any_kind(kind: str) -> None:
    args = Args()
    args.kind = kind  # type: ignore[misc]
    assert plan(args).kind == kind


@pytest.mark.parametrize("queue", ["a", "0", "a" * 64, "a_b-c|d", "1-2"])
@pytest.mark.parametrize("tag", ["abc", "a_-b", "a" * 255, "A-1", "---".join("aa")])
@pytest.mark.parametrize("priority", [1, 4])
def test_what_river_takes(queue: str, tag: str, priority: int) -> None:
    row = plan(Args(), InsertOpts(queue=queue, tags=[tag, tag], priority=priority))
    assert (row.queue, row.tags, row.priority) == (queue, (tag, tag), priority)


def test_attempts_are_clamped_to_the_column() -> None:
    assert plan(Args(), InsertOpts(max_attempts=32767)).max_attempts == 32767
    assert plan(Args(), InsertOpts(max_attempts=40000)).max_attempts == 32767


SOON, PAST = NOW + timedelta(hours=1), NOW - timedelta(days=365)


@pytest.mark.parametrize(
    ("opts", "state", "scheduled_at"),
    [
        (InsertOpts(), JobState.AVAILABLE, None),
        (InsertOpts(scheduled_at=SOON), JobState.SCHEDULED, SOON),
        (InsertOpts(scheduled_at=NOW), JobState.SCHEDULED, NOW),
        (InsertOpts(scheduled_at=PAST), JobState.SCHEDULED, PAST),
        (InsertOpts(pending=True), JobState.PENDING, None),
        (InsertOpts(pending=True, scheduled_at=SOON), JobState.PENDING, SOON),
    ],
)
def test_the_state_decision(
    opts: InsertOpts, state: JobState, scheduled_at: datetime | None
) -> None:
    row = plan(Args(), opts)
    assert (row.state, row.scheduled_at, row.created_at) == (state, scheduled_at, None)


@dataclass
class Typed:
    kind: ClassVar[str] = "typed"
    value: int = 0

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(
            max_attempts=7,
            priority=3,
            queue="typed",
            scheduled_at=PAST,
            tags=["typed"],
            metadata={"ignored": True},
            pending=True,
            unique_opts=UniqueOpts(by_queue=True),
        )


def test_precedence() -> None:
    typed = plan(Typed())
    assert (typed.max_attempts, typed.priority, typed.queue) == (7, 3, "typed")
    assert (typed.scheduled_at, typed.tags, typed.unique_states) == (PAST, ("typed",), 245)
    # Metadata and pending come from the call only.
    assert (typed.metadata_json, typed.state) == ("{}", JobState.SCHEDULED)
    called = plan(
        Typed(),
        InsertOpts(
            max_attempts=2,
            priority=1,
            queue="called",
            scheduled_at=SOON,
            tags=[],
            metadata={"a": 1},
            unique_opts=UniqueOpts(by_args=True),
        ),
    )
    assert (called.max_attempts, called.priority, called.queue) == (2, 1, "called")
    assert (called.scheduled_at, called.tags, called.metadata_json) == (SOON, (), '{"a":1}')
    assert called.unique_key != typed.unique_key
    # Options that ask for nothing leave the type's in force.
    assert plan(Typed(), InsertOpts(unique_opts=UniqueOpts())).unique_key == typed.unique_key
