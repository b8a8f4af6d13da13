"""From args and options to the row to insert: defaults, validation, state, unique key.

Source: client.go, insertParamsFromConfigArgsAndOptions, at v0.51.1; checks run in River's order.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from riverengine.insert import unique
from riverengine.insert.options import InsertOpts, UniqueOpts
from riverengine.types.errors import ArgsEncodeError, InsertError, UnknownJobKindError
from riverengine.types.go_quote import quoted
from riverengine.types.job import JobState, Json
from riverengine.work.args import encode_args
from riverengine.work.go_json import encode_json

DEFAULT_PRIORITY = 1
DEFAULT_QUEUE = "default"
MAX_PRIORITY = 4
_QUEUE = re.compile(r"[a-z0-9]+(?:[_|\-]?[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"\w[\w\-]+\w", re.ASCII)
_SMALLINT_MAX = 32767

_NO_OPTS = InsertOpts()

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertPlan:
    """A row to insert. scheduled_at, created_at: None for the time of the insert.

    args: what it was planned from; ``encoded_args`` is inserted.  Hooks and middleware change a
    plan by ``dataclasses.replace``.
    """

    args: object = field(repr=False, compare=False)
    kind: str
    encoded_args: str = field(repr=False)
    metadata_json: str
    queue: str
    priority: int
    max_attempts: int
    state: JobState
    scheduled_at: datetime | None
    created_at: datetime | None
    tags: tuple[str, ...]
    unique_key: bytes | None
    unique_states: int | None

    def with_metadata(self, more: Mapping[str, Json]) -> InsertPlan:
        """The same row with these keys added to its metadata, or in place of those it has.

        Raises ``ArgsEncodeError`` for values JSON cannot hold.
        """
        merged = json.loads(self.metadata_json) | dict(more)
        return dataclasses.replace(self, metadata_json=encode_json(merged, "metadata"))


def plan_insert(
    args: object,
    opts: InsertOpts | None,
    *,
    now: datetime,
    max_attempts: int,
    max_args_bytes: int,
    known_kinds: Container[str] | None,
) -> InsertPlan:
    """The row for ``args``; raises ``InsertError`` or ``UnknownJobKindError`` before any SQL.

    max_attempts: the client's default.  max_args_bytes: size limit of the encoded args.
    known_kinds: None to accept any kind.
    """
    given = _NO_OPTS if opts is None else opts
    _check_opts(given)
    typed = _type_opts(args)
    kind = _kind(args)
    if known_kinds is not None and kind not in known_kinds:
        raise UnknownJobKindError(kind)
    encoded = encode_args(args)
    size = len(encoded.encode())
    if size > max_args_bytes:
        raise ArgsEncodeError(f"{size:,} bytes, but the limit is {max_args_bytes:,}", path="$")
    queue = _first(given.queue, typed.queue, DEFAULT_QUEUE)
    validate_queue_name(queue)
    tags = given.tags if given.tags is not None else (typed.tags or ())
    validate_tags(tags)
    priority = _first(given.priority, typed.priority, DEFAULT_PRIORITY)
    if not 1 <= priority <= MAX_PRIORITY:
        raise InsertError("priority must be between 1 and 4")
    attempts = _first(given.max_attempts, typed.max_attempts, max_attempts)
    if attempts < 1:
        raise InsertError("max_attempts must be at least 1")
    scheduled_at = given.scheduled_at or typed.scheduled_at
    if not isinstance(scheduled_at, datetime | None):
        raise InsertError("scheduled_at must be a datetime")
    if scheduled_at is not None and scheduled_at.tzinfo is None:
        raise InsertError("scheduled_at needs a time zone")
    if not isinstance(given.metadata, Mapping | None):
        raise InsertError("metadata must be a JSON object")
    state = JobState.SCHEDULED if scheduled_at is not None else JobState.AVAILABLE
    if given.pending:
        state = JobState.PENDING
    uniqueness = given.unique_opts if not unique.is_empty(given.unique_opts) else typed.unique_opts
    key: bytes | None = None
    mask: int | None = None
    if uniqueness is not None and not unique.is_empty(uniqueness):
        unique.validate(uniqueness)
        mask = unique.state_mask(uniqueness)
        key = unique.unique_key(
            uniqueness,
            kind=kind,
            encoded_args=encoded,
            queue=queue,
            scheduled_at=scheduled_at or now,
            args_type=type(args),
        )
    return InsertPlan(
        args=args,
        kind=kind,
        encoded_args=encoded,
        metadata_json=encode_json(given.metadata, "metadata") if given.metadata else "{}",
        queue=queue,
        priority=priority,
        max_attempts=min(attempts, _SMALLINT_MAX),
        state=state,
        scheduled_at=scheduled_at,
        created_at=None,
        tags=tuple(tags),
        unique_key=key,
        unique_states=mask,
    )


def _kind(args: object) -> str:
    if isinstance(args, type):
        raise InsertError(f"{args.__name__} is a class: give an instance of it")
    kind: object = getattr(args, "kind", None)
    if not isinstance(kind, str) or not 0 < len(kind) < 128:
        remedy = "" if isinstance(kind, str) else ": kind: ClassVar[str] = ..."
        raise InsertError(
            f"{type(args).__name__}.kind must be a text of 1 to 127 characters{remedy}"
        )
    return kind


def _check_opts(opts: object) -> None:
    if not isinstance(opts, InsertOpts):
        raise InsertError(f"options must be InsertOpts, not {type(opts).__name__}")
    uniqueness: object = opts.unique_opts
    if not isinstance(uniqueness, UniqueOpts | None):
        raise InsertError(f"unique_opts must be UniqueOpts, not {type(uniqueness).__name__}")


def _type_opts(args: object) -> InsertOpts:
    method = getattr(args, "insert_opts", None)
    if not callable(method):
        return _NO_OPTS
    opts = method()
    if not isinstance(opts, InsertOpts):
        raise InsertError(f"{type(args).__name__}.insert_opts() must return InsertOpts")
    _check_opts(opts)
    return opts


def _first(call: T | None, typed: T | None, default: T) -> T:
    if call is not None:
        return call
    return typed if typed is not None else default


def validate_queue_name(name: str) -> None:
    """Refuse a queue name River would refuse; raises ``InsertError``."""
    if not name:
        raise InsertError("queue name cannot be empty")
    if len(name.encode(errors="replace")) > 64:
        raise InsertError("queue name cannot be longer than 64 characters")
    if not _QUEUE.fullmatch(name):
        raise InsertError(
            "queue name is invalid, expected letters and numbers separated by underscores or "
            f"hyphens: {quoted(name)}"
        )


def validate_tags(tags: Sequence[str]) -> None:
    """Refuse tags River would refuse; raises ``InsertError``."""
    if isinstance(tags, str):
        raise InsertError("tags must be a list of texts, not a text")
    for tag in tags:
        if not isinstance(tag, str):
            raise InsertError("tags must be texts")
        if len(tag.encode(errors="replace")) > 255:
            raise InsertError("tags should be a maximum of 255 characters long")
        if not _TAG.fullmatch(tag):
            raise InsertError(r"tags should match regex \A[\w][\w\-]+[\w]\z")
