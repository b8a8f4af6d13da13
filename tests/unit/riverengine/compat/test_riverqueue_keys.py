"""Keys of the official Python client, as its own code computed them.

The hashes were taken from riverqueue-python at f27a3bb, with its clock fixed at NOW.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from riverengine.compat.riverqueue import UNIQUE_STATES_DEFAULT, JobState, UniqueOpts
from riverengine.compat.riverqueue.unique_key import riverqueue_python_key
from riverengine.insert import unique

NOW = datetime(2026, 8, 7, 14, 32, 57, 123456, tzinfo=UTC)
REQUIRED = [JobState.SCHEDULED, JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING]


@pytest.mark.parametrize(
    ("opts", "kind", "args", "queue", "key", "mask"),
    [
        pytest.param(
            {"by_args": True},
            "charge",
            '{"customer_id": "cus_1", "amount": 42}',
            "default",
            "ed24077663d4f469a2c0cf3cb70f162592540884e71d24218215a3aae89ec53a",
            245,
            id="by args",
        ),
        pytest.param(
            {"by_args": True},
            "nested",
            '{"z": {"zeta": 1, "alpha": 2}, "a": 1.0}',
            "default",
            "0721fbe35f29dda19e7f890e85a008acb7acc99c924134a07239d8180d711f39",
            245,
            id="nested members are sorted, numbers keep their fraction",
        ),
        pytest.param(
            {"by_args": True},
            "note",
            '{"note": "a<b & \\u00e9☃", "é<": 1}',
            "default",
            "da35a58f11bb6a0dae141463661721435dcc6465bffb6f06d232232d5bd47c37",
            245,
            id="ASCII only",
        ),
        pytest.param(
            {"by_args": ["customer_id", "absent", "a.b"]},
            "charge",
            '{"customer_id": "cus_1", "amount": 42, "a.b": 1}',
            "default",
            "e49db3ba27a9c7b1f5fd2ca30c44a4f5d19b71040f0fa50933fd482e7212afbc",
            245,
            id="selected members",
        ),
        pytest.param(
            {"by_period": 900},
            "charge",
            "{}",
            "default",
            "9b79b872ae6d0f78a6a57ec04e93275e758bfc18bba4b90b14903fd95aaad56c",
            245,
            id="15 minutes",
        ),
        pytest.param(
            {"by_period": 7 * 24 * 3600},
            "charge",
            "{}",
            "default",
            "53bf74664ef231755be7620a4ef4708f3fa1a40385443fa8e10430aafb52c3b0",
            245,
            id="a week, from the Unix epoch",
        ),
        pytest.param(
            {"by_queue": True},
            "charge",
            "{}",
            "critical",
            "0e47447f971e3d7500b90e6d0da3f1c7644e4e5f19f0e61cf9db6c68135c326c",
            245,
            id="by queue",
        ),
        pytest.param(
            {
                "by_queue": True,
                "by_state": [*sorted(REQUIRED), JobState.CANCELLED],
            },
            "charge",
            "{}",
            "default",
            "a2ba0ce1932e08b4c2e4c9900d4007cc78a83827545865d283fbb4a6aa1387e7",
            211,
            id="the states are part of the key",
        ),
        pytest.param(
            {"by_state": REQUIRED},
            "charge",
            "{}",
            "default",
            "ba597605c5cfa801185d85d6f02e0f04141a33bd35818a35a3f467d04e9be949",
            209,
            id="states alone, in their order",
        ),
        pytest.param(
            {"by_args": True, "by_period": 3600, "by_queue": True, "exclude_kind": True},
            "charge",
            '{"b":[2,{"y":1,"x":null}],"a":true}',
            "q",
            "ef18a7fc8ab1dbf6739a32dd905d74da67cb5e3ae939cfca0093e8fbc8b88a21",
            245,
            id="all",
        ),
    ],
)
def test_keys_of_the_official_client(
    opts: dict[str, Any], kind: str, args: str, queue: str, key: str, mask: int
) -> None:
    given = UniqueOpts(**opts)
    found = riverqueue_python_key(given, kind=kind, encoded_args=args, queue=queue, now=NOW)
    assert found.hex() == key
    assert unique.state_mask(given.of_engine()) == mask


def test_default_states_are_river_s() -> None:
    assert unique.state_mask(UniqueOpts(by_args=True).of_engine()) == 245
    assert unique.state_mask(UniqueOpts(by_state=UNIQUE_STATES_DEFAULT).of_engine()) == 245
