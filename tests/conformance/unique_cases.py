"""Unique keys whose hashes are published: River's fixture, kind by kind, as facts.

Source: conformance/fixtures/unique_keys.json of River's repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOW = "2026-01-02T03:04:05.6789Z"
DEFAULT_STATES = 245
_SELECTED = (("account", "id"), ("account", "region"), ("label",), ("path/key",))


@dataclass(frozen=True)
class UniqueCase:
    """Args as JSON text, options, and the key they have to give."""

    name: str
    kind: str
    args: str
    sha256: str
    options: Mapping[str, Any] = field(default_factory=lambda: {"by_args": True})
    selected: Sequence[Sequence[str]] | None = None
    queue: str = "default"
    scheduled_at: str | None = None
    now: str = NOW
    state_mask: int = DEFAULT_STATES


def _all(name: str, args: str, sha256: str) -> UniqueCase:
    return UniqueCase(name, "conformance_all_args", args, sha256)


def _selected(name: str, args: str, sha256: str) -> UniqueCase:
    return UniqueCase(name, "conformance_selected_args", args, sha256, selected=_SELECTED)


def _simple(name: str, sha256: str, options: Mapping[str, Any], **rest: Any) -> UniqueCase:
    return UniqueCase(name, "conformance_simple", '{"id":42}', sha256, options, **rest)


UNIQUE_CASES: Sequence[UniqueCase] = (
    _selected(
        "all_selected_fields_omitted",
        "{}",
        "23aa86692d9807ab10e433e378f1c0804573f5e345818461b919322dd381b4c3",
    ),
    _selected(
        "selected_siblings_and_slash_key",
        '{"account":{"id":"acct","ignored":"no","region":"west"},"path/key":"slash"}',
        "7d62e81ac25cfa2dec69ad5a41e0b78188ee1b299bed329b453da6b3abca70bd",
    ),
    _selected(
        "selected_nested_args",
        '{"account":{"id":"acct-123","ignored":"no"},"ignored":true,"label":"selected"}',
        "6130dc4f753402d1faeb6bbc3e6c21415245bb282ad1fd16bcbfeebde525e726",
    ),
    _selected(
        "selected_explicit_null",
        '{"label":null}',
        "d137d7c4f1e3f8369037b1890357655b4fa1978a329bcf51435f9f0b54abcab7",
    ),
    _all(
        "nested_struct_wire_order",
        '{"nested":{"z":1,"a":2}}',
        "46ff499cb031d0458bb00ef87e7b83321eefb6e7534497c279c4ae0f474cdde0",
    ),
    _all(
        "all_args_sorted_and_escaped",
        r'{"zeta":"quoted \\\"value\\\" and \\\\ slash",'
        r'"alpha":"\u003calpha\u003e\u0026\u2028line","maximum":9007199254740991}',
        "7a84c62c8d470ca388a0a1e41c311b9eb1ea21f7b88157ceb876fc82e698b6af",
    ),
    _all(
        "map_order_and_negative_zero",
        '{"2":2,"10":10,"zero":-0,"😀":1,"\ue000":2}',
        "fcdf33e0c39c1fc7e956876345a985f2418bd69c6e4d6a5c794abf1e78cdfdb6",
    ),
    _all(
        "all_args_literal_path_syntax",
        r'{"":0,"a.b":1,"@x":2,":lead":3,"!bang":4,"[open":5,"{brace":6,"a\\b":7}',
        "1d254dda1efe1009ffb205ede791d481545d66abb8542e85f0d895415b05cdf9",
    ),
    _all(
        "all_args_escaped_key_encoding",
        r'{"a\"b":1,"line\n":2,"é":3,"a\u003cb":4,"a\u0026b":5,"a\u2028b":6}',
        "bab84635792449d758b18950f6f014bfb16d26430e798d84afee9fc9cb793163",
    ),
    UniqueCase(
        "numeric_boundaries",
        "conformance_numeric_boundaries",
        '{"exponent":1e+100,"fraction":1.25,"maximum":9223372036854775807,'
        '"minimum":-9223372036854775808,"unsigned_maximum":18446744073709551615}',
        "2c1533b3ab43068407d14e82ddb34a295a51375ae3a27fef6931123f07677f38",
    ),
    _all(
        "typed_collections_and_nulls",
        '{"empty":[],"labels":{"alpha":"first","k10":"ten","k2":"two","zulu":"last"},'
        '"matrix":[[3,1],[],[2]],"missing":null,'
        '"objects":[{"zulu":"z","alpha":1},{"zulu":"y","alpha":null}],"pointer":null}',
        "66d457888b4b71f0a0041251f75d494e1ac543717283d84633a274648559306d",
    ),
    _all(
        "typed_integer_like_map_keys",
        '{"empty":[],"labels":{"10":"ten","2":"two","alpha":"first","zulu":"last"},'
        '"matrix":[],"missing":null,"objects":[],"pointer":null}',
        "38406019aea1ea67f81186d845e983b197b2d919ded5eca871e4fef0c8b0ad30",
    ),
    _all(
        "typed_empty_args",
        "{}",
        "fe05a58ddb79a8d4544da962582d9a290d59788c920afd3597da3a62e3c1b0ac",
    ),
    _all(
        "typed_escaping",
        r'{"a\u003cb\u003e":"\u003cangle\u003e","controls":"\b\f\n\r\t\u0000\u0001\u001f'
        "\x7f"
        r'","html":"\u003ca href=\"x\"\u003e\u0026amp;\u003c/a\u003e",'
        r'"keys":{"\u003ck\u003e":1,"a\u0026b":2,"é":3,"é\u003c":4},'
        r'"separators":"line\u2028paragraph\u2029end","unicode":"é😀/\\","é\u0026":"unicode key"}',
        "a4c2a164225cba2e3ae56edbc11258e49a7325d73a9b70e5c9b47a51963d00c5",
    ),
    _all(
        "typed_time_values",
        '{"fraction":"2026-01-02T03:04:05.5Z","micros":"2026-01-02T03:04:05.123456Z",'
        '"millis":"2026-01-02T03:04:05.12Z","whole":"2026-01-02T03:04:05Z"}',
        "18b38780de3019cc75d49ff24a74eecdcff99fda0bb36c0244a35f262b15322b",
    ),
    _all(
        "typed_float_formatting",
        '{"below_large":999999999999999900000,"large":100000000000000000000,'
        '"large_boundary":1e+21,"largest":1.7976931348623157e+308,"negative":-1.5e-9,'
        '"negative_zero":-0,"one":1,"single":1.1,"single_large":1e+21,"single_small":1e-7,'
        '"small":1e-7,"small_boundary":0.000001,"smallest":5e-324,"tenth":0.1}',
        "dc330477ebe8bf2bc3402476365fcfe22c82253f744481c49a23f760f059cad4",
    ),
    _simple(
        "period_from_now",
        "5396f06a082abd7a929915135ebd363a9a47d800176b03ce7736f93a5ba9e22e",
        {"by_period_nanos": 5_400_000_000_000},
    ),
    _simple(
        "period_from_schedule",
        "b7f3c49952996b760b8b3ff6cf48f426e03a6ef0f004fb6faa51725365cf309a",
        {"by_period_nanos": 3_600_000_000_000},
        scheduled_at="2026-01-02T05:21:05.6789Z",
    ),
    _simple(
        "period_from_non_utc_now",
        "5396f06a082abd7a929915135ebd363a9a47d800176b03ce7736f93a5ba9e22e",
        {"by_period_nanos": 3_600_000_000_000},
        now="2026-01-01T22:04:05.6789-05:00",
    ),
    _simple(
        "period_from_non_utc_schedule",
        "b7f3c49952996b760b8b3ff6cf48f426e03a6ef0f004fb6faa51725365cf309a",
        {"by_period_nanos": 3_600_000_000_000},
        scheduled_at="2026-01-02T10:51:05.6789+05:30",
    ),
    _simple(
        "queue_without_kind",
        "d20ce47da8e8015e68b020bbca2b17494139519ae05f8985e5992db4d8dd8a09",
        {"by_queue": True, "exclude_kind": True},
        queue="priority_emails",
    ),
    _simple(
        "all_dimensions_custom_states",
        "6f20262e7b1fa9beaf98255f23030800376636484a98b20c2c04a303bab5a8d5",
        {
            "by_args": True,
            "by_period_nanos": 60_000_000_000,
            "by_queue": True,
            "by_state": ["available", "completed", "pending", "running", "scheduled"],
        },
        queue="priority_emails",
        scheduled_at="2026-01-02T05:21:05.6789Z",
        state_mask=213,
    ),
)
"""Cases that every implementation has to hash alike."""

NOT_OBJECTS = ("[1]", "null", '"args"')
"""Args that no unique key exists for."""
