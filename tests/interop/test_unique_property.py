"""Unique keys of random jobs: ours and those of Go River's insert path are the same.

``RIVERJOBS_PROPERTY_SEED`` draws other jobs, ``RIVERJOBS_PROPERTY_CASES`` more of them.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from riverengine import JobState, Unique, UniqueOpts, UniqueOptsError
from riverengine.insert import unique
from riverengine.insert.unique_fields import marked_paths
from riverengine.work.go_json import encode_json
from tests.interop.go_programs import MODULE, build

pytestmark = pytest.mark.interop

SEED = int(os.environ.get("RIVERJOBS_PROPERTY_SEED", "51"))
CASES = int(os.environ.get("RIVERJOBS_PROPERTY_CASES", "2000"))
REQUIRED = [JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED]
OPTIONAL = [JobState.RETRYABLE, JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED]
TEXT = (
    "abzAZ09_-.@:!*?#|{}[]()<>&\"\\/$~^%,; '\b\f\n\r\t\x01\x1f\x7f"
    "éÿŸ☃日本\u2028\u2029\ue000\uffff😀𝔘"
)
PLAIN_NAMES = ["", "a", "A", "b", "id", "user.id", "@this", ":x", "0", "12", "-1", "#", "..", "a.b"]
NAMES = [*PLAIN_NAMES, "é", "é<", "<&>", "\u2028", "😀", '"', "\\", "\n", "\x7f", "k" * 300]


@dataclass
class Case:
    """One job: what Go is asked, and how we compute the same."""

    request: dict[str, Any]
    text: str
    opts: UniqueOpts
    now: datetime
    scheduled_at: datetime | None
    queue: str
    args_type: type | None = None


@pytest.fixture(scope="module")
def program() -> Path:
    """Go's side."""
    return build("uniquekeys")


@pytest.fixture(scope="module")
def selected_types(program: Path) -> list[type]:
    """The Go types whose fields are selected by tags, as msgspec structs with our marks."""
    listed = subprocess.run([program, "types"], check=True, capture_output=True, text=True).stdout
    made = []
    for described in json.loads(listed):
        types: dict[str, type] = {}
        made.append(_struct(described["name"], described["types"], types))
    return made


def test_random_jobs_have_the_same_keys(program: Path, selected_types: list[type]) -> None:
    source = random.Random(SEED)
    writers: list[Callable[[], Case]] = [
        lambda: _value_case(source),
        lambda: _text_case(source),
        lambda: _selected_case(source, selected_types),
    ]
    cases = [source.choice(writers)() for _ in range(CASES)]
    lines = "".join(json.dumps(case.request) + "\n" for case in cases)
    answered = (
        subprocess.run(
            [program],
            input=lines,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
            cwd=MODULE,
        )
        .stdout.removesuffix("\n")
        .split("\n")
    )
    assert len(answered) == CASES
    different = []
    refused = 0
    for case, line in zip(cases, answered, strict=True):
        go = json.loads(line)
        ours = _ours(case, go["kind"])
        refused += bool(go["error"])
        if ours != (go["error"] or (go["encoded"], go["key"], go["mask"])):
            different.append({"case": case, "ours": ours, "go": go})
    assert different == []
    assert refused < CASES / 4
    selecting = sum(case.args_type is not None for case in cases)
    assert min(selecting, CASES - selecting) > CASES / 5


def test_marked_types_select_what_the_tags_select(selected_types: list[type]) -> None:
    selecting = [marked_paths(args_type) for args_type in selected_types]
    assert sum(bool(paths) for paths in selecting) > len(selecting) * 3 / 4
    assert any(len(path) > 2 for paths in selecting for path in paths)


def _ours(case: Case, kind: str) -> object:
    try:
        unique.validate(case.opts)
        key = unique.unique_key(
            case.opts,
            kind=kind,
            encoded_args=case.text,
            queue=case.queue,
            scheduled_at=case.scheduled_at or case.now,
            args_type=case.args_type,
        )
    except UniqueOptsError as error:
        return str(error)
    return case.text, key.hex(), unique.state_mask(case.opts)


def _struct(name: str, described: dict[str, Any], types: dict[str, type]) -> type:
    """The msgspec struct of a Go struct; fields of embedded structs are its own."""
    if name in types:
        return types[name]
    fields: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}

    def add(fields_of: str) -> None:
        for field in described[fields_of]:
            if field["embedded"]:
                add(field["type"])
                continue
            hint: Any = _struct(field["type"], described, types) if field["type"] else str
            if len(fields) % 2:
                hint = hint | None
            attribute = f"f{len(fields)}"
            names[attribute] = field["json"]
            marked = Annotated[hint, Unique] if field["unique"] else hint
            fields.append((attribute, marked, None))

    add(name)
    types[name] = msgspec.defstruct(name, fields, rename=names)
    return types[name]


def _case(source: random.Random, text: str, args_type: type | None, **request: Any) -> Case:
    by_args = source.random() < 0.9
    period: timedelta | None = None
    if source.random() < 0.3:
        period = source.choice(
            [
                timedelta(seconds=1),
                timedelta(minutes=15),
                timedelta(days=7),
                timedelta(microseconds=source.randrange(1, 10**12)),
            ]
        )
    states: list[JobState] | None = None
    if source.random() < 0.3:
        states = [*REQUIRED, *source.sample(OPTIONAL, source.randrange(5))]
        source.shuffle(states)
        if source.random() < 0.1:
            states.pop()
    opts = UniqueOpts(
        by_args=by_args,
        by_period=period,
        by_queue=source.random() < 0.3 or not by_args,
        by_state=states,
        exclude_kind=source.random() < 0.2,
    )
    now = _instant(source)
    scheduled_at = _instant(source) if source.random() < 0.3 else None
    queue = source.choice(["default", "other", "a|b", "tenant_1-x"])
    request |= {
        "text": text,
        "by_args": opts.by_args,
        "by_period_ns": 0 if period is None else period // timedelta(microseconds=1) * 1000,
        "by_queue": opts.by_queue,
        "by_state": states,
        "exclude_kind": opts.exclude_kind,
        "queue": queue,
        "now": now.isoformat(),
        "scheduled_at": "0001-01-01T00:00:00Z"
        if scheduled_at is None
        else scheduled_at.isoformat(),
    }
    return Case(request, text, opts, now, scheduled_at, queue, args_type)


def _instant(source: random.Random) -> datetime:
    zone = timezone(timedelta(minutes=source.randrange(-14 * 60, 14 * 60)))
    moment = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=source.randrange(400 * 365 * 86400 * 10**6)
    )
    return moment.astimezone(zone)


def _kind(source: random.Random) -> str:
    return source.choice(["job", "a_job", "kind&args={}", "ключ<"])


def _value_case(source: random.Random) -> Case:
    """Args that both sides encode from the same value."""
    value = {_name(source): _value(source, 3) for _ in range(source.randrange(6))}
    return _case(source, encode_json(value), None, kind=_kind(source), value=value)


def _text_case(source: random.Random) -> Case:
    """Args given as text: repeated keys, escapes and numbers as no encoder would write them."""
    text = _object(source, [], 3) if source.random() < 0.95 else _raw(source, 1)
    return _case(source, text, None, kind=_kind(source))


def _selected_case(source: random.Random, selected_types: list[type]) -> Case:
    number = source.randrange(len(selected_types))
    text = _of_type(source, selected_types[number])
    return _case(source, text, selected_types[number], type=number)


def _of_type(source: random.Random, args_type: type) -> str:
    members = []
    for path_name, inner in _members_of(args_type):
        while source.random() < 0.75:
            if inner is not None and source.random() < 0.8:
                members.append((path_name, _of_type(source, inner)))
            else:
                members.append((path_name, _raw(source, 2)))
            if source.random() < 0.9:
                break
    return _object(source, members, 1)


def _members_of(args_type: type) -> list[tuple[str, type | None]]:
    found: list[tuple[str, type | None]] = []
    for field in msgspec.structs.fields(args_type):
        hints = [field.type, *getattr(field.type, "__args__", ())]
        inner = [
            hint for hint in hints if isinstance(hint, type) and issubclass(hint, msgspec.Struct)
        ]
        found.append((field.encode_name, inner[0] if inner else None))
    return found


def _object(source: random.Random, members: list[tuple[str, str]], depth: int) -> str:
    members = list(members)
    for _ in range(source.randrange(4)):
        members.append((_name(source), _raw(source, depth - 1)))
    if members and source.random() < 0.2:
        members.append((source.choice(members)[0], _raw(source, 0)))
    source.shuffle(members)
    return "{" + ",".join(f"{_string(source, name)}:{value}" for name, value in members) + "}"


def _raw(source: random.Random, depth: int) -> str:
    """Any JSON text, compact."""
    kind = source.randrange(8)
    if kind == 0 and depth > 0:
        return _object(source, [], depth)
    if kind == 1 and depth > 0:
        return "[" + ",".join(_raw(source, depth - 1) for _ in range(source.randrange(4))) + "]"
    if kind < 4:
        return _string(source, _text(source))
    return source.choice(
        ["null", "true", "false", "0", "-0", "1.0", "1E5", "-1.50e-007", "12345678901234567890123"]
    )


def _string(source: random.Random, text: str) -> str:
    """JSON text of a string, some characters escaped though they need not be."""
    written = []
    for char in text:
        if char in '"\\' or char < " " or char in "<>&\u2028\u2029" or source.random() < 0.1:
            units = char.encode("utf-16-be")
            written.append(
                "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
            )
        elif char == "/" and source.random() < 0.5:
            written.append("\\/")
        else:
            written.append(char)
    return '"' + "".join(written) + '"'


def _name(source: random.Random) -> str:
    return source.choice(NAMES) if source.random() < 0.6 else _text(source)


def _text(source: random.Random) -> str:
    return "".join(source.choices(TEXT, k=source.randrange(6)))


def _value(source: random.Random, depth: int) -> Any:
    match source.randrange(9):
        case 0 if depth > 0:
            return {_name(source): _value(source, depth - 1) for _ in range(source.randrange(4))}
        case 1 if depth > 0:
            return [_value(source, depth - 1) for _ in range(source.randrange(4))]
        case 2:
            return source.choice([None, True, False])
        case 3:
            return source.randrange(-(10**20), 10**20)
        case 4:
            return source.uniform(-1, 1) * 10.0 ** source.randrange(-320, 300)
        case 5:
            return source.choice(
                [0.0, -0.0, 1.0, 1e21, 1e20, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308]
            )
        case 6:
            return source.randrange(-100, 100)
        case _:
            return _text(source)
