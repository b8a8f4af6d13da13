"""Unique keys, byte for byte as Go River computes them.

Source: internal/dbunique/db_unique.go at v0.51.1. Values keep their encoded bytes; only top-level
keys are sorted, by their UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from riverengine.insert.options import UniqueOpts
from riverengine.insert.unique_fields import Path, marked_paths
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
    if isinstance(opts.by_args, str):
        # Its letters would be taken for names, none of which exists: every job would be the same.
        raise UniqueOptsError("by_args must be True or a list of names, not one text")
    if not isinstance(opts.by_period, timedelta | None):
        raise UniqueOptsError("by_period must be a timedelta")
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
    opts: UniqueOpts,
    *,
    kind: str,
    encoded_args: str,
    queue: str,
    scheduled_at: datetime,
    args_type: type | None = None,
) -> bytes:
    """SHA-256 of the key string.

    scheduled_at: the option's, else the insertion time.  args_type: the class whose marked fields
    ``by_args=True`` selects.
    """
    text = key_string(
        opts,
        kind=kind,
        encoded_args=encoded_args,
        queue=queue,
        scheduled_at=scheduled_at,
        args_type=args_type,
    )
    return sha256(text.encode()).digest()


def key_string(
    opts: UniqueOpts,
    *,
    kind: str,
    encoded_args: str,
    queue: str,
    scheduled_at: datetime,
    args_type: type | None = None,
) -> str:
    """The text that is hashed."""
    text = "" if opts.exclude_kind else f"&kind={kind}"
    if opts.by_args:
        text += f"&args={canonical_args(encoded_args, _selected(opts, args_type))}"
    if opts.by_period:
        # Go truncates from the year 1, not from the Unix epoch: a week starts on Monday.
        since = scheduled_at.astimezone(UTC) - _GO_ZERO_TIME
        bound = _GO_ZERO_TIME + (since // opts.by_period) * opts.by_period
        text += f"&period={bound.replace(microsecond=0, tzinfo=None).isoformat()}Z"
    if opts.by_queue:
        text += f"&queue={queue}"
    return text


def _selected(opts: UniqueOpts, args_type: type | None) -> Sequence[Path] | None:
    """The paths that count; None for all args."""
    if isinstance(opts.by_args, bool):
        marked = () if args_type is None else marked_paths(args_type)
        return marked or None
    return [tuple(name.split(".") if isinstance(name, str) else name) for name in opts.by_args]


def canonical_args(encoded: str, selected: Sequence[Path] | None = None) -> str:
    """The args as they enter the key. selected: the paths that count, None for all.

    With paths given, and none of them present, the result is empty rather than ``{}``.
    """
    if selected is None:
        members: dict[str, str] = {}
        for name, value in () if encoded in ("", "[]") else _members(encoded):
            members.setdefault(name, value)
        ordered = sorted(members, key=lambda name: name.encode())
        return "{" + ",".join(f"{_key(name)}:{members[name]}" for name in ordered) + "}"
    tree: dict[str, object] = {}
    for path in sorted(selected, key=_order):
        raw = _select(encoded, path)
        if raw is not None:
            _place(tree, path, raw)
    return _render(tree) if tree else ""


def _order(path: Path) -> tuple[bytes, str]:
    """Paths go by their dotted text; ``a.b`` as two names comes before it as one."""
    if any(part == "-1" or (part.isascii() and part.isdigit()) for part in path):
        # River would build an array for these.
        raise UniqueOptsError(f"unique args cannot select the number {'.'.join(path)!r}")
    literal = ".".join(part.replace("\\", "\\\\").replace(".", "\\.") for part in path)
    return ".".join(path).encode(), literal


def _place(tree: dict[str, object], path: Path, raw: str) -> None:
    branch = tree
    for part in path[:-1]:
        inner = branch.setdefault(part, {})
        if not isinstance(inner, dict):
            return  # the whole object is selected already
        branch = inner
    branch[path[-1]] = raw


def _select(encoded: str, path: Path) -> str | None:
    """The raw value at a path. Of repeated keys the first counts under which the path goes on."""
    if not encoded.lstrip().startswith("{"):
        return None
    name, below = path[0], path[1:]
    for key, value in _members(encoded):
        if key == name:
            found = _select(value, below) if below else value
            if found is not None:
                return found
    return None


def _render(tree: dict[str, object]) -> str:
    members = (
        f"{_key(name)}:{_render(value) if isinstance(value, dict) else value}"
        for name, value in tree.items()
    )
    return "{" + ",".join(members) + "}"


def _members(encoded: str) -> Iterator[tuple[str, str]]:
    """Top-level members with the raw text of their values, repeated keys as well."""
    try:
        yield from object_members(encoded)
    except ValueError:
        raise UniqueOptsError("unique args must encode a JSON object") from None


def _key(name: str) -> str:
    # Plain ASCII names are written as they are, even with < > &; all others with Go's escapes.
    if all("\x20" <= char <= "\x7f" and char not in '"\\' for char in name):
        return f'"{name}"'
    text = json.dumps(name, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
