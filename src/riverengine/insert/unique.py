"""Unique keys, byte for byte as Go River computes them.

Source: internal/dbunique/db_unique.go at v0.51.1. Values keep their encoded bytes; only top-level
keys are sorted, by their UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from riverengine.insert.options import UniqueOpts
from riverengine.types.errors import UniqueOptsError
from riverengine.types.job import JobState
from riverengine.work.json_members import object_members

STATE_BITS = {
    JobState.AVAILABLE: 1,
    JobState.CANCELLED: 2,
    JobState.COMPLETED: 4,
    JobState.DISCARDED: 8,
    JobState.PENDING: 16,
    JobState.RETRYABLE: 32,
    JobState.RUNNING: 64,
    JobState.SCHEDULED: 128,
}
_REQUIRED = (JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED)
_DEFAULT = (*_REQUIRED, JobState.COMPLETED, JobState.RETRYABLE)
_GO_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)


def is_empty(opts: UniqueOpts | None) -> bool:
    """Whether the options ask for no uniqueness at all."""
    return opts is None or (
        not opts.by_args
        and not opts.by_period
        and not opts.by_queue
        and not opts.exclude_kind
        and opts.by_state is None
    )


def validate(opts: UniqueOpts) -> None:
    """Refuse what River refuses; raises ``UniqueOptsError``."""
    if opts.by_period and opts.by_period < timedelta(seconds=1):
        raise UniqueOptsError("UniqueOpts.ByPeriod should not be less than 1 second")
    if opts.exclude_kind and not (opts.by_args or opts.by_period or opts.by_queue):
        raise UniqueOptsError("UniqueOpts.ExcludeKind requires ByArgs, ByQueue, or ByPeriod")
    for state in opts.by_state or ():
        if state not in STATE_BITS:
            raise UniqueOptsError(f'UniqueOpts.ByState contains invalid state "{state}"')
    missing = [state for state in _REQUIRED if opts.by_state and state not in opts.by_state]
    if missing:
        raise UniqueOptsError(
            "UniqueOpts.ByState must contain all required states, missing: " + ", ".join(missing)
        )


def state_mask(opts: UniqueOpts) -> int:
    """The states in which a job holds its key, as River's bit mask."""
    return sum(STATE_BITS[state] for state in set(opts.by_state or _DEFAULT))


def unique_key(
    opts: UniqueOpts, *, kind: str, encoded_args: str, queue: str, scheduled_at: datetime
) -> bytes:
    """SHA-256 of the key string. scheduled_at: the option's, else the insertion time."""
    text = key_string(
        opts, kind=kind, encoded_args=encoded_args, queue=queue, scheduled_at=scheduled_at
    )
    return sha256(text.encode()).digest()


def key_string(
    opts: UniqueOpts, *, kind: str, encoded_args: str, queue: str, scheduled_at: datetime
) -> str:
    """The text that is hashed."""
    text = "" if opts.exclude_kind else f"&kind={kind}"
    if opts.by_args:
        selected = None if opts.by_args is True else opts.by_args
        text += f"&args={canonical_args(encoded_args, selected)}"
    if opts.by_period:
        # Go truncates from the year 1, not from the Unix epoch: a week starts on Monday.
        since = scheduled_at.astimezone(UTC) - _GO_ZERO_TIME
        bound = _GO_ZERO_TIME + (since // opts.by_period) * opts.by_period
        text += f"&period={bound.replace(microsecond=0, tzinfo=None).isoformat()}Z"
    if opts.by_queue:
        text += f"&queue={queue}"
    return text


def canonical_args(encoded: str, selected: Sequence[str | Sequence[str]] | None = None) -> str:
    """The args as they enter the key. selected: names that count, None for all.

    A selected name is dotted, or a sequence of names where these hold dots themselves.  With names
    given, and none of them present, the result is empty rather than ``{}``.
    """
    if encoded in ("", "[]"):
        members: dict[str, str] = {}
    else:
        members = _members(encoded)
    if selected is None:
        ordered = sorted(members, key=lambda name: name.encode())
        return "{" + ",".join(f"{_key(name)}:{members[name]}" for name in ordered) + "}"
    tree: dict[str, object] = {}
    paths = [name.split(".") if isinstance(name, str) else list(name) for name in selected]
    for path in sorted(paths, key=_order):
        if any(part.isdecimal() for part in path):
            raise UniqueOptsError(
                f"unique args cannot select the all-digit name {'.'.join(path)!r}"
            )
        raw = _select(encoded, path) if members else None
        if raw is not None:
            branch = tree
            for part in path[:-1]:
                branch = branch.setdefault(part, {})  # type: ignore[assignment]
            branch[path[-1]] = raw
    return _render(tree) if tree else ""


def _order(path: Sequence[str]) -> tuple[bytes, bytes]:
    """By the joined names; those that join to the same text, by their escaped form."""
    escaped = ".".join(part.replace(".", "\\.") for part in path)
    return ".".join(path).encode(), escaped.encode()


def _select(encoded: str, path: Sequence[str]) -> str | None:
    raw: str | None = encoded
    for part in path:
        if raw is None or not raw.lstrip().startswith("{"):
            return None
        raw = _members(raw).get(part)
    return raw


def _render(tree: dict[str, object]) -> str:
    members = (
        f"{_key(name)}:{_render(value) if isinstance(value, dict) else value}"
        for name, value in tree.items()
    )
    return "{" + ",".join(members) + "}"


def _members(encoded: str) -> dict[str, str]:
    """Top-level members with the raw text of their values; a repeated key keeps its first."""
    members: dict[str, str] = {}
    try:
        for name, value in object_members(encoded):
            members.setdefault(name, value)
    except ValueError:
        raise UniqueOptsError("unique args must encode a JSON object") from None
    return members


def _key(name: str) -> str:
    # Plain ASCII names are written as they are, even with < > &; all others with Go's escapes.
    if all("\x20" <= char <= "\x7f" and char not in '"\\' for char in name):
        return f'"{name}"'
    text = json.dumps(name, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
