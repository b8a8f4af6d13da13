"""Retry delays, cron and unique keys, with values taken from Go River."""

from __future__ import annotations

import json

import pytest

from riverengine import Json
from tests.integration.riverengine.conformance.adapter import REJECTED, UNSUPPORTED, Adapter

NOW = "2026-01-02T03:04:05.6789Z"


@pytest.mark.parametrize(
    ("errors", "least", "most"),
    [
        (1, 900_000_000, 1_100_000_000),
        (2, 14_400_000_000, 17_600_000_000),
        (11, 13_176_900_000_000, 16_105_100_000_000),
        (309, 8_204_959_224_899_999_744, 2**63 - 1),
        (310, 2**63 - 1, 2**63 - 1),
        (2**62, 2**63 - 1, 2**63 - 1),
    ],
)
async def test_retry_delays_are_within_go_s_bounds(
    adapter: Adapter, errors: int, least: int, most: int
) -> None:
    await adapter.call("clock_set", now=NOW)
    await adapter.call("rng_seed", seed=2**64 - 1)
    first = await adapter.call("retry_delay", error_count=errors, job_id=7)
    assert least <= first["delay_ns"] <= most
    await adapter.call("rng_seed", seed=2**64 - 1)
    assert await adapter.call("retry_delay", error_count=errors, job_id=7) == first


async def test_cron_occurrences_are_told_in_the_reference_s_offset(adapter: Adapter) -> None:
    start = "2026-01-02T03:04:05.678901234-05:00"
    found = await adapter.call("cron_next", expression="*/30 9 * * *", count=3, **{"from": start})
    days = ("02T09:00", "02T09:30", "03T09:00")
    assert found == {"next": [f"2026-01-{day}:00-05:00" for day in days]}
    never = await adapter.call("cron_next", expression="0 0 30 2 *", count=5, **{"from": start})
    assert never == {"next": []}


@pytest.mark.parametrize("expression", ["", "* * * *", "60 * * * *", "@every", "@reboot", "7"])
async def test_bad_cron_expressions_are_rejected(adapter: Adapter, expression: str) -> None:
    code = await adapter.code("cron_next", expression=expression, count=1, **{"from": NOW})
    assert code == REJECTED


UNIQUE_CASES = [
    (
        "conformance_selected_args",
        '{"account":{"id":"acct","ignored":"x","region":"west"},"path/key":"slash"}',
        {"by_args": True},
        {
            "selected_unique_components": [
                *(["account", "id"], ["account", "region"], ["label"], ["path/key"])
            ]
        },
        "7d62e81ac25cfa2dec69ad5a41e0b78188ee1b299bed329b453da6b3abca70bd",
        245,
    ),
    (
        "conformance_selected_args",
        "{}",
        {"by_args": True},
        {"selected_unique_components": [["account", "id"], ["label"]]},
        "23aa86692d9807ab10e433e378f1c0804573f5e345818461b919322dd381b4c3",
        245,
    ),
    (
        "conformance_numeric_boundaries",
        (
            '{"exponent":1e+100,"fraction":1.25,"maximum":9223372036854775807,'
            '"minimum":-9223372036854775808,"unsigned_maximum":18446744073709551615}'
        ),
        {"by_args": True},
        {},
        "2c1533b3ab43068407d14e82ddb34a295a51375ae3a27fef6931123f07677f38",
        245,
    ),
    (
        "conformance_all_args",
        '{"a\\"b":1,"line\\n":2,"é":3,"a\\u003cb":4,"a\\u0026b":5,"a\\u2028b":6}',
        {"by_args": True},
        {},
        "bab84635792449d758b18950f6f014bfb16d26430e798d84afee9fc9cb793163",
        245,
    ),
    (
        "conformance_simple",
        '{"id":42}',
        {"by_period_nanos": 5_400_000_000_000},
        {"selected_unique_paths": None, "scheduled_at": None, "name": "period_from_now"},
        "5396f06a082abd7a929915135ebd363a9a47d800176b03ce7736f93a5ba9e22e",
        245,
    ),
    (
        "conformance_simple",
        '{"id":42}',
        {"by_period_nanos": 3_600_000_000_000},
        {"scheduled_at": "2026-01-02T10:51:05.6789+05:30"},
        "b7f3c49952996b760b8b3ff6cf48f426e03a6ef0f004fb6faa51725365cf309a",
        245,
    ),
    (
        "conformance_simple",
        '{"id":42}',
        {"by_queue": True, "exclude_kind": True},
        {"queue": "priority_emails"},
        "d20ce47da8e8015e68b020bbca2b17494139519ae05f8985e5992db4d8dd8a09",
        245,
    ),
    (
        "conformance_simple",
        '{"id":42}',
        {
            "by_args": True,
            "by_period_nanos": 60_000_000_000,
            "by_queue": True,
            "by_state": ["available", "completed", "pending", "running", "scheduled"],
        },
        {"queue": "priority_emails", "scheduled_at": "2026-01-02T05:21:05.6789Z"},
        "6f20262e7b1fa9beaf98255f23030800376636484a98b20c2c04a303bab5a8d5",
        213,
    ),
]


async def _unique_key(adapter: Adapter, kind: str, args: str, options: Json, more: Json) -> Json:
    params = {
        "kind": kind,
        "now": NOW,
        "queue": "default",
        "options": {
            "by_args": False,
            "by_period_nanos": 0,
            "by_queue": False,
            "exclude_kind": False,
            **options,
        },
        **more,
    }
    # The args go out as Go wrote them, which json.dumps would not.
    text = json.dumps(params)[:-1] + f',"args":{args}}}'
    return await adapter.ask(f'{{"id":1,"jsonrpc":"2.0","method":"unique_key","params":{text}}}')


@pytest.mark.parametrize(("kind", "args", "options", "more", "sha256", "mask"), UNIQUE_CASES)
async def test_unique_keys_are_go_s(
    adapter: Adapter, kind: str, args: str, options: Json, more: Json, sha256: str, mask: int
) -> None:
    answer = await _unique_key(adapter, kind, args, options, more)
    assert answer["result"] == {"sha256": sha256, "state_mask": mask}


@pytest.mark.parametrize("args", ["[1]", '"s"', "5", "null"])
async def test_args_that_are_no_object_are_rejected(adapter: Adapter, args: str) -> None:
    answer = await _unique_key(adapter, "conformance_all_args", args, {"by_args": True}, {})
    assert answer["error"]["code"] == REJECTED


async def test_a_selected_name_may_hold_a_dot(adapter: Adapter) -> None:
    kind, args = "conformance_dotted_selected_args", '{"user.id":"dot","user":{"id":"nest"}}'
    keys = set()
    for path in (["user.id"], ["user", "id"]):
        answer = await _unique_key(
            adapter, kind, args, {"by_args": True}, {"selected_unique_components": [path]}
        )
        keys.add(answer["result"]["sha256"])
    assert len(keys) == 2


async def test_periods_below_a_microsecond_are_not_offered(adapter: Adapter) -> None:
    answer = await _unique_key(
        adapter, "conformance_simple", "{}", {"by_period_nanos": 10**9 + 1}, {}
    )
    assert answer["error"]["code"] == UNSUPPORTED
