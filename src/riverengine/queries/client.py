"""Statements on ``riverengine_client``, the engine's own table of heartbeats.

Every time is the database's. Go River has no such table and never looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from riverengine.queries.statement import Executor, statement
from riverengine.types.job import JobId

_FILE = "client.sql"
_ID_LOCK = statement(_FILE, "client_id_lock")
_SERVER_PID = statement(_FILE, "client_server_pid")
_REGISTER = statement(_FILE, "client_register")
_BEAT = statement(_FILE, "client_beat")
_LAST_HEARTBEAT = statement(_FILE, "client_last_heartbeat")
_REMOVE = statement(_FILE, "client_remove")
_CLAIMANTS = statement(_FILE, "client_claimants")
_NAMED = statement(_FILE, "client_named")
_LIVING = statement(_FILE, "client_living")
_EXPECT = statement(_FILE, "client_expect")
_BURY = statement(_FILE, "client_bury")
_FORGET_SILENT = statement(_FILE, "client_forget_silent")
_LEFT_RUNNING = statement(_FILE, "job_left_running")
_TAKE_BACK = statement(_FILE, "job_take_back")

TAKEN_BACK_ERROR = "Job taken back: its client's process died"
"""Text of the error that taking back appends to the job."""

SET_ASIDE_ERROR = "Job set aside: its client's process died %s times while it ran"
"""Text of the error of a job that is not tried again."""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One run of one process under a client id."""

    client_id: str
    number: UUID
    host: str
    pid: int


class Beat(Enum):
    """What a heartbeat found: the row; none, and made it; or another process under the id."""

    KEPT = "kept"
    RESTORED = "restored"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Jobs of a dead process whose attempts were ended.

    set_aside: those of them that are not tried again, as suspects.  refused: others, which
    PostgreSQL does not let be changed.
    """

    jobs: Sequence[JobId]
    set_aside: Sequence[JobId]
    refused: Sequence[JobId] = ()


async def client_id_lock(db: Executor, *, schema: str | None, client_id: str) -> bool:
    """Claim a client id for the connection's session; False when another session holds it."""
    held: bool = await db.fetchval(_ID_LOCK.sql(schema), client_id, schema)
    return held


async def client_server_pid(db: Executor) -> int:
    """The number of the server process that runs the statement."""
    pid: int = await db.fetchval(_SERVER_PID.sql(None))
    return pid


async def client_register(
    db: Executor,
    *,
    schema: str | None,
    incarnation: Incarnation,
    unless_heard_since: datetime | None = None,
) -> datetime | None:
    """Take the client id; returns since when.

    unless_heard_since: the last heartbeat of the process that had the id; None takes it from
    whoever has it.  Returns None when that process was heard of meanwhile.
    """
    started_at: datetime | None = await db.fetchval(
        _REGISTER.sql(schema), *_columns(incarnation), unless_heard_since
    )
    return started_at


async def client_beat(
    db: Executor, *, schema: str | None, incarnation: Incarnation, started_at: datetime
) -> Beat:
    """Tell that the process lives."""
    restored = await db.fetchval(_BEAT.sql(schema), *_columns(incarnation), started_at)
    if restored is None:
        return Beat.REPLACED
    return Beat.RESTORED if restored else Beat.KEPT


async def client_last_heartbeat(
    db: Executor, *, schema: str | None, client_id: str
) -> datetime | None:
    """When the client was last heard of; None when it has no row."""
    at: datetime | None = await db.fetchval(_LAST_HEARTBEAT.sql(schema), client_id)
    return at


async def client_remove(db: Executor, *, schema: str | None, incarnation: Incarnation) -> None:
    """Forget a process that stops in an orderly way."""
    await db.execute(_REMOVE.sql(schema), incarnation.client_id, incarnation.number)


async def client_claimants(
    db: Executor, *, schema: str | None, mark: str, named: Sequence[str]
) -> dict[str, datetime | None]:
    """Our clients that hold running jobs: when each was last heard of, None without a row.

    mark: the end of the ids our clients give themselves.  named: ids of ours without it, whose
    rows may be gone.
    """
    records = await db.fetch(_CLAIMANTS.sql(schema), mark, list(named))
    return {record["id"]: record["heartbeat_at"] for record in records}


async def client_named(db: Executor, *, schema: str | None, mark: str) -> list[str]:
    """Ids in the table that do not end in the mark: those their users chose."""
    return [record["id"] for record in await db.fetch(_NAMED.sql(schema), mark)]


async def client_living(
    db: Executor, *, schema: str | None, client_ids: Sequence[str], within: timedelta
) -> set[str]:
    """Those of the clients that were heard of ``within`` this time."""
    records = await db.fetch(_LIVING.sql(schema), list(client_ids), within)
    return {record["id"] for record in records}


async def client_expect(db: Executor, *, schema: str | None, client_ids: Sequence[str]) -> None:
    """Make rows for clients without one, as if they had been heard of."""
    await db.execute(_EXPECT.sql(schema), list(client_ids))


async def client_bury(
    db: Executor, *, schema: str | None, client_id: str, heartbeat_at: datetime
) -> bool:
    """Forget a dead client; False when it was heard of after ``heartbeat_at``.

    The caller takes the client's jobs back in the same transaction.
    """
    return await db.fetchval(_BURY.sql(schema), client_id, heartbeat_at) is not None


async def client_forget_silent(
    db: Executor, *, schema: str | None, age: timedelta, but: Sequence[str]
) -> None:
    """Delete rows not refreshed for ``age``, but for these clients'."""
    await db.execute(_FORGET_SILENT.sql(schema), age, list(but))


async def job_left_running(
    db: Executor, *, schema: str | None, client_id: str, before: datetime | None = None
) -> list[JobId]:
    """The jobs that :func:`job_take_back` would look at."""
    records = await db.fetch(_LEFT_RUNNING.sql(schema), client_id, before)
    return [JobId(record["id"]) for record in records]


async def job_take_back(
    db: Executor,
    *,
    schema: str | None,
    client_id: str,
    before: datetime | None = None,
    max_deaths: int,
    ids: Sequence[JobId] | None = None,
) -> TakenBack:
    """End the attempts of a dead process with this client id: available again, or final.

    before: only attempts begun before it, which an earlier process of the same id left; None for
    all.  max_deaths: at so many deaths a job is discarded; 0 for never.  ids: only these jobs; None
    for all.  The caller has made sure that the process is gone.
    """
    records = await db.fetch(
        _TAKE_BACK.sql(schema),
        *(client_id, before, max_deaths, TAKEN_BACK_ERROR, SET_ASIDE_ERROR),
        None if ids is None else list(ids),
    )
    return TakenBack(
        jobs=[JobId(record["id"]) for record in records],
        set_aside=[JobId(record["id"]) for record in records if record["set_aside"]],
    )


def _columns(incarnation: Incarnation) -> tuple[str, UUID, str, int]:
    return (incarnation.client_id, incarnation.number, incarnation.host, incarnation.pid)
