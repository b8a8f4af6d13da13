"""Args as dataclasses, msgspec structs and pydantic models: there and back, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field

from riverengine import ArgsDecodeError, ArgsEncodeError
from riverengine.work.args import decode_args, encode_args

AT = datetime(2026, 8, 7, 14, 32, 57, 120000, tzinfo=UTC)
ID = UUID("6f0c9a52-6d0e-5e0b-9c6b-2a7c5b1d8e43")
TEXT = (
    '{"name":"é\\u003c\\u0026","at":"2026-08-07T14:32:57.12Z","id":"'
    + str(ID)
    + '","numbers":[1,2.5,-3],"inner":{"flag":true}}'
)


class Color(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    flag: bool


@dataclass(frozen=True)
class DataArgs:
    kind: ClassVar[str] = "data"
    name: str
    at: datetime
    id: UUID
    numbers: list[float]
    inner: Inner


class StructInner(msgspec.Struct, frozen=True):
    flag: bool


class StructArgs(msgspec.Struct, frozen=True):
    kind: ClassVar[str] = "struct"
    name: str
    at: datetime
    id: UUID
    numbers: list[float]
    inner: StructInner


class ModelInner(BaseModel):
    flag: bool


class ModelArgs(BaseModel):
    kind: ClassVar[str] = "model"
    name: str
    at: datetime
    id: UUID
    numbers: list[float]
    inner: ModelInner


VALUES: list[Any] = [
    DataArgs(name="é<&", at=AT, id=ID, numbers=[1, 2.5, -3], inner=Inner(flag=True)),
    StructArgs(name="é<&", at=AT, id=ID, numbers=[1, 2.5, -3], inner=StructInner(flag=True)),
    ModelArgs(name="é<&", at=AT, id=ID, numbers=[1, 2.5, -3], inner=ModelInner(flag=True)),
]


@pytest.mark.parametrize("args", VALUES, ids=lambda args: args.kind)
def test_there_and_back(args: Any) -> None:
    text = encode_args(args)
    assert json.loads(text)["name"] == "é<&"
    assert "\\u003c\\u0026" in text
    assert decode_args(type(args), text, kind=args.kind) == args


@pytest.mark.parametrize("args", VALUES[:2], ids=lambda args: args.kind)
def test_fields_keep_their_order_and_times_are_go_s(args: Any) -> None:
    assert encode_args(args) == TEXT


@pytest.mark.parametrize("args", VALUES, ids=lambda args: args.kind)
def test_unknown_keys_are_ignored(args: Any) -> None:
    stored = json.dumps(json.loads(encode_args(args)) | {"added_later": 1})
    assert decode_args(type(args), stored, kind=args.kind) == args


@pytest.mark.parametrize("args", VALUES, ids=lambda args: args.kind)
@pytest.mark.parametrize(
    "stored",
    ["{}", "null", "[]", "5", "", "{", '{"name": 5}', '{"name": "private-value", "at": "x"}'],
)
def test_what_does_not_fit_is_one_error_without_the_value(args: Any, stored: str) -> None:
    with pytest.raises(ArgsDecodeError) as failure:
        decode_args(type(args), stored, kind=args.kind)
    assert failure.value.kind == args.kind
    assert "private-value" not in str(failure.value)


@dataclass
class AnyArgs:
    kind: ClassVar[str] = "any"
    value: Any = None
    more: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (1.0, "1"),
        (-0.0, "-0"),
        (2**70, str(2**70)),
        (b"ab", '"YWI="'),
        (Color.RED, '"red"'),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ((1, "x"), '[1,"x"]'),
        ("\u2028", '"\\u2028"'),
        ("\x07", '"\\u0007"'),
    ],
)
def test_values_are_written_as_go_writes_them(value: object, text: str) -> None:
    assert encode_args(AnyArgs(value)) == f'{{"value":{text},"more":{{}}}}'


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "$.value"),
        ([1, float("inf")], "$.value[1]"),
        ({"a": {"b": "\x00"}}, "$.value.a.b"),
        ("\ud800", "$.value"),
        ({1, 2}, "$.value"),
        (object(), "$.value"),
        ({5: 1}, "$.value"),
        (datetime(2026, 1, 1), "$.value"),  # noqa: DTZ001
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(value: object, path: str) -> None:
    with pytest.raises(ArgsEncodeError) as failure:
        encode_args(AnyArgs(value))
    assert failure.value.path == path


def test_nesting_has_a_limit() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ArgsEncodeError, match="nested deeper"):
        encode_args(AnyArgs(value))


def test_other_classes_may_write_themselves() -> None:
    class Own:
        kind = "own"

        def to_json(self) -> str:
            return '{"b": 1, "a": [2]}'

    class Neither:
        kind = "neither"

    assert json.loads(encode_args(Own())) == {"b": 1, "a": [2]}
    with pytest.raises(ArgsEncodeError, match="Neither"):
        encode_args(Neither())


class Leaf(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    zeta: int
    alpha: int = Field(default=0, serialization_alias="Alpha")


class NestedModel(BaseModel):
    kind: ClassVar[str] = "nested_model"
    model_config = ConfigDict(serialize_by_alias=True)
    leaf: Leaf
    leaves: list[Leaf]
    by_name: dict[str, Leaf]
    anything: Any = None


def test_a_model_s_nested_fields_keep_their_order_and_mappings_are_sorted() -> None:
    args = NestedModel(
        leaf=Leaf(zeta=1),
        leaves=[Leaf(zeta=2)],
        by_name={"b": Leaf(zeta=3), "a": Leaf(zeta=4)},
        anything={"b": {"d": 1, "c": 2}},
    )
    leaf = '{{"zeta":{},"Alpha":0}}'.format
    assert encode_args(args) == (
        f'{{"leaf":{leaf(1)},"leaves":[{leaf(2)}],"by_name":{{"a":{leaf(4)},"b":{leaf(3)}}},'
        '"anything":{"b":{"c":2,"d":1}}}'
    )
