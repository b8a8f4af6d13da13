"""Judges what a fleet did, from what its clients wrote down and from the history of the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

FINAL = frozenset({"completed", "cancelled", "discarded"})
EDGES = frozenset(
    {
        (None, "available"),
        (None, "scheduled"),
        (None, "pending"),
        ("available", "running"),
        ("available", "cancelled"),
        ("scheduled", "available"),
        ("scheduled", "cancelled"),
        ("scheduled", "discarded"),
        ("retryable", "available"),
        ("retryable", "cancelled"),
        ("retryable", "discarded"),
        ("running", "completed"),
        ("running", "cancelled"),
        ("running", "discarded"),
        ("running", "retryable"),
        ("running", "available"),
        ("running", "scheduled"),
    }
)
"""Changes of state that River makes; nobody retries or deletes jobs here."""

OUTCOMES: Mapping[str, frozenset[str]] = {
    "ok": frozenset({"completed"}),
    "cancel": frozenset({"cancelled"}),
    # A failure or snooze ends a job whose cancellation was asked for meanwhile.
    "error": frozenset({"discarded", "cancelled"}),
    "snooze": frozenset({"cancelled"}),
}
"""Final states by the end of the execution that led to them."""


@dataclass(frozen=True)
class Effect:
    """A phase of an execution, written by the worker: ``begin``, or how it ended."""

    job_id: int
    attempted_at: datetime
    client_id: str
    process: str
    phase: str
    at: datetime


@dataclass(frozen=True)
class Change:
    """A change of a row: None as old state for its insert, as new state for its deletion."""

    job_id: int
    old: str | None
    new: str | None
    attempted_at: datetime | None
    worked_by: str | None
    at: datetime


@dataclass(frozen=True)
class Insert:
    """A phase of an insert: ``try``, then ``ok``, ``skipped`` or ``rolled back``, or nothing."""

    token: str
    phase: str
    job_id: int | None


@dataclass(frozen=True)
class Kill:
    """The end of a process."""

    client_id: str
    process: str
    at: datetime


@dataclass(frozen=True)
class Anomaly:
    """Something that must not happen, with what shows it."""

    name: str
    job_id: int | None
    events: Sequence[object]


def judge(
    effects: Sequence[Effect],
    changes: Sequence[Change],
    inserts: Sequence[Insert],
    kills: Sequence[Kill],
) -> list[Anomaly]:
    """All anomalies. Each sequence is in the order of writing; nothing may be under way."""
    effects_of: dict[int, list[Effect]] = defaultdict(list)
    changes_of: dict[int, list[Change]] = defaultdict(list)
    for effect in effects:
        effects_of[effect.job_id].append(effect)
    for change in changes:
        changes_of[change.job_id].append(change)
    found = list(_inserts(inserts, changes_of))
    for job_id in effects_of.keys() | changes_of.keys():
        ran = sorted(effects_of[job_id], key=lambda effect: effect.at)
        found += _rows(job_id, changes_of[job_id])
        found += _runs(job_id, ran, changes_of[job_id], kills)
    return found


def _inserts(
    inserts: Iterable[Insert], changes_of: Mapping[int, Sequence[Change]]
) -> Iterator[Anomaly]:
    for insert in inserts:
        if insert.job_id is None:
            continue
        rows = changes_of.get(insert.job_id, ())
        if insert.phase == "rolled back":
            if rows:
                yield Anomaly("rolled back, but there", insert.job_id, [insert, *rows])
        elif not rows:
            yield Anomaly("lost: never there", insert.job_id, [insert])


def _rows(job_id: int, rows: Sequence[Change]) -> Iterator[Anomaly]:
    if not rows or rows[-1].new not in FINAL:
        yield Anomaly("lost: not finished", job_id, rows)
    finished = [row for row in rows if row.new in FINAL and row.old not in FINAL]
    if len(finished) > 1:
        yield Anomaly("finished twice", job_id, rows)
    for row in rows:
        if row.old in FINAL and row.new not in FINAL:
            yield Anomaly("resurrected", job_id, [row])
        elif row.old != row.new and (row.old, row.new) not in EDGES:
            yield Anomaly("illegal change", job_id, [row])


def _runs(
    job_id: int, ran: Sequence[Effect], rows: Sequence[Change], kills: Sequence[Kill]
) -> Iterator[Anomaly]:
    claims = [row for row in rows if row.new == "running" and row.old != "running"]
    begins = [effect for effect in ran if effect.phase == "begin"]
    ends = [effect for effect in ran if effect.phase != "begin"]
    if not any(row.old is None for row in rows):
        yield Anomaly("phantom", job_id, [*rows, *ran])
    if len({effect.attempted_at for effect in begins}) < len(begins):
        yield Anomaly("claimed twice", job_id, begins)
    claimed = {row.attempted_at for row in claims}
    for effect in begins:
        if effect.attempted_at not in claimed:
            yield Anomaly("run without a claim", job_id, [effect, *rows])
    yield from _after_the_end(job_id, begins, rows)
    yield from _overlaps(job_id, ran, rows, kills)
    yield from _repetitions(job_id, claims, ends, kills)
    yield from _disagreement(job_id, claims, ends, rows, kills)


def _after_the_end(
    job_id: int, begins: Sequence[Effect], rows: Sequence[Change]
) -> Iterator[Anomaly]:
    for row in rows:
        if row.new in FINAL and row.old not in FINAL:
            late = [effect for effect in begins if effect.at > row.at]
            if late:
                yield Anomaly("run after the end", job_id, [row, *late])


def _overlaps(
    job_id: int, ran: Sequence[Effect], rows: Sequence[Change], kills: Sequence[Kill]
) -> Iterator[Anomaly]:
    killed = {kill.process for kill in kills}
    current: Effect | None = None
    for effect in ran:
        if effect.phase == "begin":
            if current is not None and current.process not in killed:
                yield Anomaly("overlap", job_id, [current, effect])
            current = effect
        elif current is not None and current.attempted_at == effect.attempted_at:
            current = None
    if current is not None and current.process not in killed:
        yield Anomaly("begun, not ended", job_id, [current, *rows])


def _repetitions(
    job_id: int, claims: Sequence[Change], ends: Sequence[Effect], kills: Sequence[Kill]
) -> Iterator[Anomaly]:
    """Each claim but the last needs a reason for the next: a failure, a snooze or a kill."""
    ended = {effect.attempted_at: effect for effect in ends}
    for claim in claims[:-1]:
        end = None if claim.attempted_at is None else ended.get(claim.attempted_at)
        if end is not None and end.phase in ("error", "snooze"):
            continue
        if not any(kill.client_id == claim.worked_by and kill.at > claim.at for kill in kills):
            yield Anomaly("repeated without a reason", job_id, [*claims, *ends])


def _disagreement(
    job_id: int,
    claims: Sequence[Change],
    ends: Sequence[Effect],
    rows: Sequence[Change],
    kills: Sequence[Kill],
) -> Iterator[Anomaly]:
    if not claims:
        return
    killed = {kill.process for kill in kills}
    for row in rows:
        if row.new not in FINAL or row.old != "running":
            continue
        for effect in ends:
            if (
                effect.attempted_at == claims[-1].attempted_at
                and effect.process not in killed
                and row.new not in OUTCOMES[effect.phase]
            ):
                yield Anomaly("ended otherwise", job_id, [effect, row])
