"""Fields of args types marked as the ones that count for uniqueness."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Optional

import msgspec
import pydantic
import pytest

from riverengine import Unique, UniqueOpts, UniqueOptsError
from riverengine.insert.options import InsertOpts
from riverengine.insert.plan import plan_insert
from riverengine.insert.unique import canonical_args, key_string
from riverengine.insert.unique_fields import marked_paths
from riverengine.work.args import decode_args, encode_args

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Customer:
    id: Annotated[str, Unique]
    name: str = ""


@dataclass
class Region:
    code: str = ""


@dataclass
class Order:
    kind: ClassVar[str] = "order"

    customer: Customer
    region: Annotated[Region, Unique] = field(default_factory=Region)
    billing: Customer | None = None
    note: str = ""
    amount: Annotated[int | None, "cents", Unique()] = None
    again: Optional[Annotated[int, Unique]] = None  # noqa: UP045 - the older spelling counts too


@dataclass
class Tree:
    kind: ClassVar[str] = "tree"

    name: Annotated[str, Unique]
    below: Annotated[Tree | None, Unique] = None


@dataclass
class Plain:
    kind: ClassVar[str] = "plain"

    b: int = 1
    a: int = 2


@dataclass
class Special(Customer):
    kind: ClassVar[str] = "special"

    rank: Annotated[int, Unique] = 0


class Renamed(msgspec.Struct, rename="camel"):
    kind: ClassVar[str] = "renamed"

    order_id: Annotated[str, Unique]
    dotted: Annotated[str, Unique] = msgspec.field(name="user.id")
    note: str = ""


class Model(pydantic.BaseModel):
    kind: ClassVar[str] = "model"

    order_id: Annotated[str, Unique]
    inner: Customer | None = None
    note: str = ""


class Aliased(pydantic.BaseModel):
    kind: ClassVar[str] = "aliased"
    model_config = pydantic.ConfigDict(serialize_by_alias=True, validate_by_name=True)

    order_id: Annotated[str, Unique] = pydantic.Field(alias="orderId")


@dataclass
class Lost:
    kind: ClassVar[str] = "lost"

    what: Missing  # type: ignore[name-defined] # noqa: F821 - the point of the test


def _args_part(args: object) -> str:
    text = key_string(
        UniqueOpts(by_args=True, exclude_kind=True),
        kind="k",
        encoded_args=encode_args(args),
        queue="default",
        scheduled_at=NOW,
        args_type=type(args),
    )
    return text.removeprefix("&args=")


def test_marked_fields_are_found_with_their_json_names() -> None:
    assert marked_paths(Order) == (("customer", "id"), ("region",), ("amount",), ("again",))
    assert marked_paths(Special) == (("id",), ("rank",))
    assert marked_paths(Renamed) == (("orderId",), ("user.id",))
    assert marked_paths(Model) == (("order_id",), ("inner", "id"))
    assert marked_paths(Aliased) == (("orderId",),)
    assert marked_paths(Plain) == ()
    assert marked_paths(dict) == ()


def test_a_class_is_looked_into_once() -> None:
    assert marked_paths(Tree) == (("name",), ("below",))
    assert marked_paths(Order)[0] == ("customer", "id")  # and not ("billing", "id")


def test_only_marked_fields_enter_the_key() -> None:
    order = Order(Customer("c1", "left out"), Region("us"), Customer("c2"), "left out", 5)
    assert _args_part(order) == (
        '{"again":null,"amount":5,"customer":{"id":"c1"},"region":{"code":"us"}}'
    )
    renamed = Renamed("o", "d", "left out")
    assert _args_part(renamed) == '{"orderId":"o","user.id":"d"}'
    assert _args_part(Aliased(orderId="o")) == '{"orderId":"o"}'
    assert _args_part(Plain()) == '{"a":2,"b":1}'


def test_an_insert_reads_the_marks() -> None:
    def key(args: object) -> bytes | None:
        plan = plan_insert(
            args,
            InsertOpts(unique_opts=UniqueOpts(by_args=True)),
            now=NOW,
            max_attempts=25,
            max_args_bytes=1000,
            known_kinds=None,
        )
        return plan.unique_key

    assert key(Renamed("o", "d", "one")) == key(Renamed("o", "d", "another"))
    assert key(Renamed("o", "d")) != key(Renamed("o", "e"))


def test_annotations_that_cannot_be_read_are_told() -> None:
    with pytest.raises(UniqueOptsError, match="Lost names 'Missing'"):
        marked_paths(Lost)


@pytest.mark.parametrize("number", ["0", "12", "-1"])
def test_numbers_cannot_be_selected(number: str) -> None:
    with pytest.raises(UniqueOptsError, match="cannot select the number"):
        canonical_args("{}", [("a", number)])


def test_paths_go_by_their_dotted_text() -> None:
    encoded = '{"u":{"b":1},"a":2,"u-a":3,"u_z":{"q":4},"u.b":5}'
    paths = [("u.b",), ("u_z", "q"), ("u", "b"), ("u-a",), ("a",), ("u", "missing"), ("a", "b")]
    assert canonical_args(encoded, paths) == '{"a":2,"u-a":3,"u":{"b":1},"u.b":5,"u_z":{"q":4}}'


def test_a_member_of_a_whole_selected_object_changes_nothing() -> None:
    assert canonical_args('{"a":{"b":1,"c":2}}', [("a",), ("a", "b")]) == '{"a":{"b":1,"c":2}}'


@pytest.mark.parametrize(
    "args",
    [
        Order(Customer("c1", "n"), Region("us"), Customer("c2"), "note", 5),
        Renamed("o", "d", "note"),
        Model(order_id="1", inner=Customer("c")),
        Aliased(orderId="o"),
        Tree("a", Tree("b")),
    ],
    ids=lambda args: type(args).__name__,
)
def test_marks_do_not_change_how_args_are_read(args: object) -> None:
    assert decode_args(type(args), encode_args(args), kind="any") == args
