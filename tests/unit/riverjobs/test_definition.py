"""Definitions are checked when they are declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from riverengine import Json
from riverjobs import (
    BaseJobArgs,
    ContextTooLargeError,
    ContextValueError,
    DefinitionError,
    StepDefinition,
    WorkflowDefinition,
    WorkflowInputError,
)
from riverjobs.context import checked_object, merged
from riverjobs.errors import PermanentStepError, is_permanent, retry_after


@dataclass(frozen=True, kw_only=True)
class StepArgs(BaseJobArgs):
    kind: ClassVar[str] = "step"


@dataclass(frozen=True, kw_only=True)
class KindlessArgs(BaseJobArgs):
    pass


def _same(given: Mapping[str, Json]) -> Mapping[str, Json]:
    return given


A = StepDefinition(name="a", args_type=StepArgs)
B = StepDefinition(name="b", args_type=StepArgs, after=["a"])


def defined(*steps: StepDefinition, **changes: Any) -> WorkflowDefinition:
    values: dict[str, Any] = {"type": "flow", "steps": steps, "input_model": _same}
    return WorkflowDefinition(**values | changes)


@pytest.mark.parametrize(
    ("steps", "changes", "place"),
    [
        ([], {}, "no steps"),
        ([A], {"type": "1bad"}, "workflow '1bad'"),
        ([A], {"version": 0}, "version"),
        ([A, A], {}, "two steps named 'a'"),
        ([B], {}, "unknown step 'a'"),
        ([replace(A, name="")], {}, "step ''"),
        ([replace(A, name="no blanks")], {}, "step 'no blanks'"),
        ([replace(A, after=["a"])], {}, "a -> a"),
        ([replace(A, after=["b"]), B], {}, "wait for each other"),
        ([A, replace(B, after=["a", "a"])], {}, "twice"),
        ([replace(A, queue="Not A Queue")], {}, "queue name"),
        ([replace(A, priority=5)], {}, "priority"),
        ([replace(A, max_attempts=0)], {}, "max_attempts"),
        ([replace(A, args_type=KindlessArgs)], {}, "KindlessArgs"),
    ],
)
def test_a_contradiction_is_told_with_its_place(
    steps: list[StepDefinition], changes: dict[str, Any], place: str
) -> None:
    with pytest.raises(DefinitionError, match=place):
        defined(*steps, **changes)


def test_a_good_definition_finds_its_steps() -> None:
    definition = defined(A, B)
    assert definition.step("b") is B
    assert definition.step("c") is None


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    email: str = Field(min_length=3)
    number: int = 7


def test_a_model_checks_and_completes_the_input() -> None:
    definition = defined(A, input_model=Model)
    assert definition.check_input({"email": "a@b"}) == {"email": "a@b", "number": 7}


def test_a_refusal_names_the_fields_and_never_the_values() -> None:
    with pytest.raises(WorkflowInputError) as failure:
        defined(A, input_model=Model).check_input({"email": "x", "other": "secret-value"})
    assert [field for field, _ in failure.value.problems] == ["email", "other"]
    assert "secret-value" not in str(failure.value)


def test_a_function_may_check_the_input() -> None:
    def refuse(given: Mapping[str, Json]) -> Mapping[str, Json]:
        raise ValueError("needs more")

    with pytest.raises(WorkflowInputError, match="needs more"):
        defined(A, input_model=refuse).check_input({})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, "x"),
        ([], "x"),
        ({"a": float("nan")}, "x.a"),
        ({"a": {"b": ["", "\x00"]}}, "x.a.b[1]"),
        ({"a": {"b": [b""]}}, "x.a.b[0]"),
        ({"a": {1, 2}}, "x.a"),
        ({5: 1}, "x"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(value: object, path: str) -> None:
    with pytest.raises(ContextValueError) as failure:
        checked_object(value, what="x")
    assert failure.value.path == path


def test_a_merge_replaces_at_top_level_only() -> None:
    assert merged({"a": {"b": 1}, "c": 1}, {"a": {"d": 2}}) == {"a": {"d": 2}, "c": 1}


def test_a_merge_respects_its_limit() -> None:
    assert merged({}, {"a": "x" * 90}, limit=100)
    with pytest.raises(ContextTooLargeError) as failure:
        merged({}, {"a": "é" * 90}, limit=100)
    assert (failure.value.size, failure.value.limit) == (188, 100)


def test_errors_say_whether_and_when_to_try_again() -> None:
    assert is_permanent(PermanentStepError())
    assert is_permanent(ContextValueError("x"))
    assert not is_permanent(ValueError())
    assert retry_after(ValueError()) is None
