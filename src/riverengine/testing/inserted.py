"""Assertions on the jobs a database holds. Source: rivertest/rivertest.go at v0.51.1.

``db`` is a pool, or the caller's transaction on any library the clients take; the functions ending
in ``_sync`` take those of ``SyncClient``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TypeVar

import asyncpg

from riverengine.drivers import AsyncTransaction, SyncTransaction
from riverengine.drivers.recognise import async_executor, sync_executor
from riverengine.queries.statement import Executor
from riverengine.queries.testing import job_get_by_kind_many
from riverengine.sync_client.stepping import run_to_end
from riverengine.testing.transaction_pool import TransactionPool
from riverengine.types.job import JobRow, JobState
from riverengine.work.args import decode_args
from riverengine.work.worker import Job

ArgsT = TypeVar("ArgsT")

_LISTED = 20
"""Jobs named in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequireInsertedOpts:
    """What a job must look like; what is None is not looked at.

    tags: exactly these, in this order.  scheduled_at: to the microsecond, with a zone.
    """

    max_attempts: int | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    state: JobState | None = None
    tags: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.scheduled_at is not None and self.scheduled_at.tzinfo is None:
            raise ValueError("scheduled_at needs a time zone")


@dataclass(frozen=True, slots=True)
class ExpectedJob:
    """One job that :func:`require_many_inserted` expects. args_type: its args' class."""

    args_type: type
    opts: RequireInsertedOpts | None = None


async def require_inserted(
    db: asyncpg.Pool | AsyncTransaction,
    args_type: type[ArgsT],
    opts: RequireInsertedOpts | None = None,
    *,
    schema: str | None = None,
) -> Job[ArgsT]:
    """The one job of a kind that was inserted, whatever has become of it since.

    db: a pool, or the transaction that inserted it.  schema: where River's
    tables are; None for search_path's.  Raises ``AssertionError`` when there is none of the kind,
    more than one, or one that does not fit ``opts``; the message lists what was found.
    """
    return await _require_inserted(_executor(db), args_type, opts, schema)


def require_inserted_sync(
    tx: SyncTransaction,
    args_type: type[ArgsT],
    opts: RequireInsertedOpts | None = None,
    *,
    schema: str | None = None,
) -> Job[ArgsT]:
    """:func:`require_inserted` for synchronous code."""
    return run_to_end(_require_inserted(sync_executor(tx), args_type, opts, schema))


async def _require_inserted(
    db: Executor, args_type: type[ArgsT], opts: RequireInsertedOpts | None, schema: str | None
) -> Job[ArgsT]:
    kind = _kind(args_type)
    rows = await job_get_by_kind_many(db, schema=schema, kinds=[kind])
    if not rows:
        raise AssertionError(f"no job of kind {kind!r} was inserted")
    if len(rows) > 1:
        raise AssertionError(
            f"{len(rows)} jobs of kind {kind!r} were inserted, but exactly one is expected "
            f"(require_many_inserted() takes several):\n{_listed(rows)}"
        )
    _require_fit(rows[0], opts)
    return Job(rows[0], decode_args(args_type, rows[0].encoded_args, kind=kind))


async def require_not_inserted(
    db: asyncpg.Pool | AsyncTransaction,
    args_type: type,
    opts: RequireInsertedOpts | None = None,
    *,
    schema: str | None = None,
) -> None:
    """No job of a kind was inserted; with ``opts``, none that fits all of them.

    db, schema: as for :func:`require_inserted`.  Raises ``AssertionError`` with the jobs found.
    """
    await _require_not_inserted(_executor(db), args_type, opts, schema)


def require_not_inserted_sync(
    tx: SyncTransaction,
    args_type: type,
    opts: RequireInsertedOpts | None = None,
    *,
    schema: str | None = None,
) -> None:
    """:func:`require_not_inserted` for synchronous code."""
    run_to_end(_require_not_inserted(sync_executor(tx), args_type, opts, schema))


async def _require_not_inserted(
    db: Executor, args_type: type, opts: RequireInsertedOpts | None, schema: str | None
) -> None:
    kind = _kind(args_type)
    rows = await job_get_by_kind_many(db, schema=schema, kinds=[kind])
    found = [row for row in rows if not _misfits(row, opts)]
    if found:
        fitting = f" that fit {_described(opts)}" if opts is not None else ""
        raise AssertionError(
            f"{len(found)} job(s) of kind {kind!r}{fitting} were inserted, but none is expected:\n"
            f"{_listed(found)}"
        )


async def require_many_inserted(
    db: asyncpg.Pool | AsyncTransaction,
    expected: Sequence[type | ExpectedJob],
    *,
    schema: str | None = None,
) -> list[JobRow]:
    """The jobs of some kinds that were inserted: exactly these kinds, in this order and number.

    expected: args types, or :class:`ExpectedJob` with options.  Jobs of other kinds are not looked
    at.  db, schema: as for :func:`require_inserted`.  Raises ``AssertionError`` with the jobs
    found, and ``ValueError`` when nothing is expected: that is
    :func:`require_not_inserted`'s.
    """
    return await _require_many_inserted(_executor(db), expected, schema)


def require_many_inserted_sync(
    tx: SyncTransaction, expected: Sequence[type | ExpectedJob], *, schema: str | None = None
) -> list[JobRow]:
    """:func:`require_many_inserted` for synchronous code."""
    return run_to_end(_require_many_inserted(sync_executor(tx), expected, schema))


async def _require_many_inserted(
    db: Executor, expected: Sequence[type | ExpectedJob], schema: str | None
) -> list[JobRow]:
    if not expected:
        raise ValueError("no jobs expected: use require_not_inserted() to say so")
    wanted = [each if isinstance(each, ExpectedJob) else ExpectedJob(each) for each in expected]
    kinds = [_kind(each.args_type) for each in wanted]
    rows = await job_get_by_kind_many(db, schema=schema, kinds=sorted(set(kinds)))
    if [row.kind for row in rows] != kinds:
        raise AssertionError(
            f"other jobs were inserted than expected:\n  expected: {', '.join(kinds)}\n"
            f"  inserted: {', '.join(row.kind for row in rows) or 'none'}\n{_listed(rows)}"
        )
    for place, (row, each) in enumerate(zip(rows, wanted, strict=True)):
        _require_fit(row, each.opts, f" (number {place} of those expected)")
    return rows


def _executor(db: asyncpg.Pool | AsyncTransaction) -> Executor:
    if isinstance(db, asyncpg.Pool | TransactionPool):
        pool: Executor = db
        return pool
    return async_executor(db)


def _kind(args_type: type) -> str:
    kind: object = getattr(args_type, "kind", None)
    if not isinstance(kind, str):
        raise TypeError(f"{args_type!r} is no args type: it has no kind")
    return kind


def _require_fit(row: JobRow, opts: RequireInsertedOpts | None, place: str = "") -> None:
    misfits = _misfits(row, opts)
    if misfits:
        raise AssertionError(
            f"the job of kind {row.kind!r}{place} is not as expected: {'; '.join(misfits)}\n"
            f"{_listed([row])}"
        )


def _misfits(row: JobRow, opts: RequireInsertedOpts | None) -> list[str]:
    """How a row differs from the options, one text for each."""
    return [
        f"{name} is {_shown(_value(row, name))}, expected {_shown(expected)}"
        for name, expected in _given(opts)
        if _value(row, name) != expected
    ]


def _given(opts: RequireInsertedOpts | None) -> list[tuple[str, object]]:
    if opts is None:
        return []
    values = ((field.name, getattr(opts, field.name)) for field in fields(opts))
    return [
        (name, list(value) if name == "tags" else value)
        for name, value in values
        if value is not None
    ]


def _value(row: JobRow, name: str) -> object:
    return list(row.tags) if name == "tags" else getattr(row, name)


def _described(opts: RequireInsertedOpts | None) -> str:
    given = [f"{name}={_shown(value)}" for name, value in _given(opts)]
    return ", ".join(given) or "no option"


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _listed(rows: Sequence[JobRow]) -> str:
    lines = [
        f"  id={row.id} kind={row.kind} state={row.state} queue={row.queue} "
        f"priority={row.priority} max_attempts={row.max_attempts} "
        f"scheduled_at={row.scheduled_at.isoformat()} tags={list(row.tags)} "
        f"args={row.encoded_args}"
        for row in rows[:_LISTED]
    ]
    if len(rows) > _LISTED:
        lines.append(f"  ... and {len(rows) - _LISTED} more")
    return "\n".join(lines)
