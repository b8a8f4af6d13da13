"""Every method refuses what its contract does not name, nested objects included."""

from __future__ import annotations

from typing import Any

import pytest

from riverengine.conformance.contract import METHODS
from riverengine.conformance.shapes import (
    INT64_MAX,
    AnyObject,
    Anything,
    Flag,
    Integer,
    Items,
    Members,
    Moment,
    Nullable,
    Shape,
    Text,
)
from tests.integration.riverengine.conformance.adapter import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    Adapter,
)

NOW = "2026-01-02T03:04:05.678901234Z"


def example(shape: Shape) -> Any:
    """A value the shape accepts."""
    match shape:
        case Flag():
            return True
        case Integer(minimum=minimum):
            return max(minimum, 1)
        case Text(choices=choices, prefix=prefix):
            return sorted(choices)[0] if choices else f"{prefix}x"
        case Moment():
            return NOW
        case Nullable(of):
            return example(of)
        case Items(of):
            return [example(of)]
        case Members(fields, required):
            return {name: example(fields[name]) for name in required}
        case AnyObject():
            return {"any": 1}
    return None


def wrong(shape: Shape) -> list[Any]:
    """Values the shape must refuse."""
    match shape:
        case Flag():
            return [1, "true", None]
        case Integer(minimum=minimum, maximum=maximum):
            return [minimum - 1, maximum + 1, 1.0, "1", True, None]
        case Text(shortest=shortest, choices=choices, prefix=prefix):
            values: list[Any] = [7, None, ["x"]]
            values += [""] if shortest else []
            values += ["no choice"] if choices is not None else []
            return values + (["x" + prefix] if prefix else [])
        case Moment():
            return [0, "", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", None]
        case Nullable(of):
            return [value for value in wrong(of) if value is not None]
        case Items(of):
            return [{}, "x", None, *([value] for value in wrong(of))]
        case Members(fields, required):
            value = example(shape)
            found: list[Any] = [[], "x", None, {**value, "not_a_parameter": 1}]
            found += [{k: v for k, v in value.items() if k != name} for name in required]
            for name, field in fields.items():
                found += [{**value, name: bad} for bad in wrong(field)]
            return found
        case AnyObject():
            return [[], "x", 1, None]
        case Anything():
            return []
    raise AssertionError(shape)


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_refuses_unknown_missing_and_wrong_parameters(
    adapter: Adapter, name: str
) -> None:
    cases = [params for params in wrong(METHODS[name].params) if isinstance(params, dict)]
    assert len(cases) >= 1
    for params in cases:
        code = await adapter.code(name, **params)
        assert code == INVALID_PARAMS, params


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"id":1,"id":2,"jsonrpc":"2.0","method":"handshake","params":{}}', INVALID_REQUEST),
        ('{"id":1,"jsonrpc":"2.0","method":"get","params":{"id":1,"id":1}}', INVALID_PARAMS),
        (
            '{"id":1,"jsonrpc":"2.0","method":"insert","params":{"opts":{},"opts":{}}}',
            INVALID_PARAMS,
        ),
        (
            '{"id":1,"jsonrpc":"2.0","method":"tx_insert","params":{"job":{"kind":"a","kind":"b"}}}',
            INVALID_PARAMS,
        ),
    ],
)
async def test_a_repeated_name_is_refused(adapter: Adapter, line: str, code: int) -> None:
    assert (await adapter.ask(line))["error"]["code"] == code


async def test_integers_are_exact_to_the_last_of_64_bits(adapter: Adapter) -> None:
    inserted = await adapter.call("raw_insert_exact_json", id=INT64_MAX)
    assert inserted == {"id": INT64_MAX}
    assert (await adapter.call("get", id=INT64_MAX))["id"] == INT64_MAX
    assert await adapter.code("get", id=INT64_MAX + 1) == INVALID_PARAMS
