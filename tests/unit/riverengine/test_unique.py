"""Unique keys against instants and hashes taken from Go River v0.51.1."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from riverengine.insert.options import UniqueOpts
from riverengine.insert.unique import canonical_args, key_string, state_mask, validate
from riverengine.types.errors import UniqueOptsError
from riverengine.types.job import JobState

NOW = datetime(2026, 8, 7, 14, 32, 57, 123456, tzinfo=UTC)
REQUIRED = (JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED)
TAGGED = '{"customer_id":"cus_1","trace_id":"tr_9","account":"acct_7"}'

VECTORS = [
    (
        "charge_customer",
        '{"customer_id":"cus_1","amount":42,"note":"a\\u003cb \\u0026 \\"c\\" é☃"}',
        UniqueOpts(by_args=True),
        NOW,
        "d7f302a5731aa78b64e8cd4d133191d84657cc30d7780a46cc20a8f4c4c1aaf4",
    ),
    (
        "nested_job",
        '{"customer":{"id":"c1","name":"n"},"region":"us","trace_id":"t"}',
        UniqueOpts(by_args=["customer.id", "region"]),
        NOW,
        "0243b6db32f4091e4577e690c914d4fbd1a65068b9d5189f9145dd484ddd5e6b",
    ),
    (
        "empty_job",
        "{}",
        UniqueOpts(by_period=timedelta(minutes=15)),
        NOW,
        "e2f7c386818a7109a90a8d7454c59184b6e09a8f0a35fd4683cec40a3831d196",
    ),
    (
        "empty_job",
        "{}",
        UniqueOpts(by_period=timedelta(hours=168)),
        NOW,
        "49426568b30db9ab87266eda7d9a862bcd7bbd9b089fb531e3abd190cfeec2fd",
    ),
    (
        "empty_job",
        "{}",
        UniqueOpts(by_args=True),
        NOW,
        "d88369479f30e61290482582d8b0e05839e36f8fea6857ebc3ffa34324867c1a",
    ),
    (
        "whole_job",
        '{"z":{"zeta":1,"alpha":2},"a":{"zeta":3,"alpha":4}}',
        UniqueOpts(by_args=True),
        NOW,
        "ecc9573dca32c929a0e90a29013cdd6966c992c13f38e08917097676ea46b68e",
    ),
    (
        "whole_tag_job",
        '{"a":1,"z":{"zeta":1,"alpha":2}}',
        UniqueOpts(by_args=["z"]),
        NOW,
        "6e8d048d07584c7801b171e158edea6f890f92d268c0e7dc183cd416a5f26eee",
    ),
    (
        "omit_job",
        '{"b":"b"}',
        UniqueOpts(by_args=["a", "b"]),
        NOW,
        "ee3a961776d538b9a9e754522839e0cb73d1351b633d44697b237cb69828d78d",
    ),
    (
        "dotted_sel_job",
        '{"user.id":"dot","user":{"id":"nest"},"x":"x"}',
        UniqueOpts(by_args=[("user.id",), "user.id"]),
        NOW,
        "b2742f5afc95f38ee4bfcb3fb6db3a95e2c4f1cf83312a8587b352422a0f93f0",
    ),
    (
        "empty_job",
        "{}",
        UniqueOpts(by_state=REQUIRED),
        NOW,
        "1e8c712219cadec6163f7c76b48c15fe1ee3c9ccd90e96c8a59c620ae742d669",
    ),
    (
        "empty_job",
        "{}",
        UniqueOpts(by_queue=True),
        NOW,
        "e10a70ac82b9d598289a07d3ba638a20543b14a8acdce671736a0658efb302fb",
    ),
    (
        "empty_job",
        "{}",
        UniqueOpts(by_period=timedelta(hours=1)),
        NOW + timedelta(hours=72),
        "b1fd3ece1437c54fa065c02a67ea244f287aedcf2fdc4112e71d4bd9eb2750c1",
    ),
    (
        "dotted_job",
        '{"user.id":"u1","@tag":"x",":n":3}',
        UniqueOpts(by_args=True),
        NOW,
        "5b5e2ddef95413d755a74d58cf504682e2da1f505dd726d47de61c07a186834e",
    ),
    (
        "nested_missing_job",
        '{"customer":{"name":"n"},"region":"us"}',
        UniqueOpts(by_args=["customer.id", "region"]),
        NOW,
        "9f427110dc4c40c1215abaf07872a464c3b29da6afc87f313020651e9aeefb9a",
    ),
    (
        "unnamed_job",
        '{"Foo":"f","bar":"b"}',
        UniqueOpts(by_args=["Foo"]),
        NOW,
        "277b524fb976551a079d55615ce50000f81ed5bfd3e1a7a826a7d22989f8bf34",
    ),
    (
        "omit_job",
        "{}",
        UniqueOpts(by_args=["a", "b"]),
        NOW,
        "24b2c6332fe50d7815fa22129634fd82886a6e45a25833f9dfde605699e21889",
    ),
]


@pytest.mark.parametrize(("kind", "encoded", "opts", "base", "digest"), VECTORS)
def test_key_equals_gos(
    kind: str, encoded: str, opts: UniqueOpts, base: datetime, digest: str
) -> None:
    text = key_string(opts, kind=kind, encoded_args=encoded, queue="default", scheduled_at=base)
    assert sha256(text.encode()).hexdigest() == digest


def test_all_dimensions_without_the_kind() -> None:
    opts = UniqueOpts(
        by_args=["customer_id", "account"],
        by_period=timedelta(hours=1),
        by_queue=True,
        exclude_kind=True,
        by_state=REQUIRED,
    )
    text = key_string(opts, kind="any", encoded_args=TAGGED, queue="default", scheduled_at=NOW)
    assert (
        sha256(text.encode()).hexdigest()
        == "8db4036025d713811059470a2e56622c7cf9734e73885e0e002a816e361e22d2"
    )
    assert state_mask(opts) == 209


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ('{"b":1,"a":2}', '{"a":2,"b":1}'),
        ('{"B":1,"a":2,"é":3,"Z":4}', '{"B":1,"Z":4,"a":2,"é":3}'),
        ('{ "b" : 1, "a":{ "x" : 2 } }', '{"a":{ "x" : 2 },"b":1}'),
        ('{"a\\u003cb":1}', '{"a<b":1}'),
        ('{"é<":1}', '{"é\\u003c":1}'),
        (
            '{"a b":1,"a-b":2,"a:b":3,"a/b":4,"$x":5}',
            '{"$x":5,"a b":1,"a-b":2,"a/b":4,"a:b":3}',
        ),
        ('{"k\\"q":1}', '{"k\\"q":1}'),
        ('{"a.b":1,"a":{"b":7}}', '{"a":{"b":7},"a.b":1}'),
        ('{"":1,"b":2}', '{"":1,"b":2}'),
        ('{"a":1,"a":2}', '{"a":1}'),
        ("[]", "{}"),
    ],
)
def test_canonical_args_keep_raw_values(encoded: str, expected: str) -> None:
    assert canonical_args(encoded) == expected


@pytest.mark.parametrize("encoded", ["[1,2]", '"str"', "5", "null", "{"])
def test_args_that_are_no_object_are_refused(encoded: str) -> None:
    with pytest.raises(UniqueOptsError, match="must encode a JSON object"):
        canonical_args(encoded)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (UniqueOpts(by_period=timedelta(milliseconds=999)), "less than 1 second"),
        (UniqueOpts(exclude_kind=True), "requires ByArgs"),
        (UniqueOpts(exclude_kind=True, by_state=REQUIRED), "requires ByArgs"),
        (UniqueOpts(by_state=[JobState.AVAILABLE, JobState.RUNNING]), "missing: pending, sched"),
    ],
)
def test_contradicting_options_are_refused(opts: UniqueOpts, message: str) -> None:
    with pytest.raises(UniqueOptsError, match=message):
        validate(opts)


def test_default_states_are_rivers() -> None:
    assert state_mask(UniqueOpts(by_args=True)) == 245
