"""Defaults, validation and state of an insert."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from riverengine.insert.options import InsertOpts
from riverengine.insert.plan import InsertPlan, plan_insert, validate_queue_name
from riverengine.types.errors import (
    ArgsDecodeError,
    ArgsEncodeError,
    InsertError,
    UnknownJobKindError,
)
from riverengine.types.job import JobState
from riverengine.work.args import decode_args, encode_args

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Args:
    kind: ClassVar[str] = "args"
    value: object = None
    items: list[int] = field(default_factory=list)


@dataclass
class Typed:
    kind: ClassVar[str] = "typed"
    name: str

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="typed_queue", priority=3, max_attempts=7, tags=["typed_tag"])


def plan(args: object, opts: InsertOpts | None = None, limit: int = 1000) -> InsertPlan:
    return plan_insert(args, opts, now=NOW, max_attempts=25, max_args_bytes=limit, known_kinds=None)


def test_defaults_are_rivers() -> None:
    row = plan(Args())
    assert (row.queue, row.priority, row.max_attempts) == ("default", 1, 25)
    assert (row.state, row.metadata_json, row.tags) == (JobState.AVAILABLE, "{}", ())


def test_call_options_win_over_the_args_type() -> None:
    row = plan(Typed("n"), InsertOpts(priority=2, tags=[]))
    assert (row.queue, row.priority, row.max_attempts) == ("typed_queue", 2, 7)
    assert row.tags == ()


def test_any_scheduled_time_inserts_as_scheduled_and_pending_wins() -> None:
    past = NOW.replace(year=2020)
    assert plan(Args(), InsertOpts(scheduled_at=past)).state is JobState.SCHEDULED
    assert plan(Args(), InsertOpts(scheduled_at=past, pending=True)).state is JobState.PENDING


@pytest.mark.parametrize("name", ["default", "a", "a_b-c", "tenant|emails", "0", "a" * 64])
def test_valid_queue_names(name: str) -> None:
    validate_queue_name(name)


@pytest.mark.parametrize("name", ["", "A", "a__b", "_a", "a_", "a b", "é", "a" * 65, "a\n"])
def test_invalid_queue_names(name: str) -> None:
    with pytest.raises(InsertError, match="queue name"):
        validate_queue_name(name)


@pytest.mark.parametrize("tag", ["ab", "a b", "-ab", "ab-", "é_é", "a" * 256, "abc\n"])
def test_invalid_tags(tag: str) -> None:
    with pytest.raises(InsertError, match="tags should"):
        plan(Args(), InsertOpts(tags=[tag]))


@pytest.mark.parametrize("priority", [0, 5, -1])
def test_priority_out_of_range(priority: int) -> None:
    with pytest.raises(InsertError, match="priority must be between 1 and 4"):
        plan(Args(), InsertOpts(priority=priority))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "$.value"),
        (float("inf"), "$.value"),
        ("a\x00b", "$.value"),
        ("\ud800", "$.value"),
        ({"a": [1, float("nan")]}, "$.value.a[1]"),
        ({1: 2}, "$.value"),
        (object(), "$.value"),
        (datetime(2026, 1, 1), "$.value"),  # noqa: DTZ001 - the naive time under test
    ],
)
def test_values_json_cannot_hold_are_refused_with_their_path(value: object, path: str) -> None:
    with pytest.raises(ArgsEncodeError) as caught:
        plan(Args(value))
    assert caught.value.path == path


def test_too_deep_and_too_large_args_are_refused() -> None:
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ArgsEncodeError, match="nested deeper"):
        plan(Args(deep))
    with pytest.raises(ArgsEncodeError, match="the limit is 100"):
        plan(Args("x" * 200), limit=100)


def test_bad_metadata_names_its_path() -> None:
    with pytest.raises(ArgsEncodeError) as caught:
        plan(Args(), InsertOpts(metadata={"a": float("nan")}))
    assert caught.value.path == "metadata.a"


def test_unknown_kind_is_refused_when_kinds_are_known() -> None:
    with pytest.raises(UnknownJobKindError):
        plan_insert(
            Args(), None, now=NOW, max_attempts=25, max_args_bytes=99, known_kinds=["other"]
        )


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (1e-6, "0.000001"),
        (999999999999999900000.0, "999999999999999900000"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-1.5e-9, "-1.5e-9"),
        (0.1, "0.1"),
        (100000000000000000000.0, "100000000000000000000"),
        (5e-324, "5e-324"),
        ("a<b>&\u2028", '"a\\u003cb\\u003e\\u0026\\u2028"'),
        ("\b\f\n\r\t\x01\x7f", '"\\b\\f\\n\\r\\t\\u0001\x7f"'),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        (b"hi", '"aGk="'),
        (datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC), '"2026-01-02T03:04:05.5Z"'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), '"2026-01-02T03:04:05Z"'),
    ],
)
def test_values_are_written_as_go_writes_them(value: object, encoded: str) -> None:
    assert encode_args(Args(value)) == '{"value":' + encoded + ',"items":[]}'


@pytest.mark.parametrize(
    "encoded",
    [
        "[]",
        "{}",
        '{"name":5}',
        '{"name":' + "9" * 5001 + "}",
        '{"name":' + "[" * 5000 + "]" * 5000 + "}",
        "not json",
    ],
)
def test_stored_args_that_do_not_fit_raise_one_class(encoded: str) -> None:
    with pytest.raises(ArgsDecodeError):
        decode_args(Typed, encoded, kind="typed")


def test_args_round_trip_and_unknown_keys_are_ignored() -> None:
    args = Args({"k": [1, "two", None]}, [1, 2])
    assert decode_args(Args, encode_args(args), kind="args") == args
    assert decode_args(Typed, '{"name":"n","extra":1}', kind="typed") == Typed("n")
