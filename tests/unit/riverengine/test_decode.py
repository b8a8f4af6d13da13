"""Reading stored JSON into dataclasses: what fits, and where it says what does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import pytest

from riverengine.work.decode import MisfitError, parse_json, text_decoder


class Size(Enum):
    SMALL = "s"


@dataclass
class Tree:
    """A type that contains itself."""

    name: str
    children: list[Tree] = field(default_factory=list)


@dataclass
class Everything:
    pair: tuple[int, str] = (0, "")
    many: tuple[int, ...] = ()
    tags: frozenset[str] = frozenset()
    by_name: dict[str, Tree] = field(default_factory=dict)
    size: Size | None = None
    ratio: float = 0.0
    either: int | str = 0
    marked: Annotated[str, "unique"] = ""
    flag: bool = False


def decode(text: str) -> Any:
    return text_decoder(Everything)(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Everything()),
        ('{"pair":[1,"a"]}', Everything(pair=(1, "a"))),
        ('{"many":[1,2,3]}', Everything(many=(1, 2, 3))),
        ('{"tags":["b","a"]}', Everything(tags=frozenset({"a", "b"}))),
        (
            '{"by_name":{"x":{"name":"top","children":[{"name":"leaf"}]}}}',
            Everything(by_name={"x": Tree("top", [Tree("leaf")])}),
        ),
        ('{"size":"s"}', Everything(size=Size.SMALL)),
        ('{"size":null}', Everything()),
        ('{"ratio":1}', Everything(ratio=1.0)),
        ('{"either":"text"}', Everything(either="text")),
        ('{"marked":"text"}', Everything(marked="text")),
        ('{"flag" : true} ', Everything(flag=True)),
    ],
)
def test_what_fits(text: str, expected: Everything) -> None:
    assert decode(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "$ must be an object"),
        ('{"pair":[1]}', "$.pair must be an array of 2"),
        ('{"pair":["a",1]}', "$.pair[0] has the wrong type"),
        ('{"many":[1,true]}', "$.many[1] has the wrong type"),
        ('{"tags":{}}', "$.tags must be an array"),
        (
            '{"by_name":{"x":{"name":"n","children":[{}]}}}',
            "$.by_name.x.children[0].name is missing",
        ),
        ('{"by_name":[]}', "$.by_name must be an object"),
        ('{"size":"huge"}', "$.size has the wrong type"),
        ('{"either":[]}', "$.either has the wrong type"),
        ('{"flag":1}', "$.flag has the wrong type"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(MisfitError) as misfit:
        decode(text)
    assert str(misfit.value) == told


@pytest.mark.parametrize("text", ["", "{", '{"a":1} {', "nul", '{"a":1}}'])
def test_text_that_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Extra data"):
        parse_json(text)
