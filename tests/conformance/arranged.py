"""A schema of its own with rows that a scenario arranges by SQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tests.conformance.adapter import Adapter
from tests.conformance.observer import Observer

ARGS = '{"behavior":"","duration_ms":0,"message":"maintenance"}'
"""Complete args of ``conformance_echo``, so that any worker decodes an arranged row."""


class Lease(NamedTuple):
    """The stored lease."""

    leader_id: str
    elected_at: datetime
    expires_at: datetime


class Arranged:
    """River's tables in one schema."""

    def __init__(self, observer: Observer, schema: str) -> None:
        self.observer = observer
        self.schema = schema
        self.jobs = self.table("river_job")
        self.leader = self.table("river_leader")
        self.queues = self.table("river_queue")

    @classmethod
    async def migrated(cls, observer: Observer, migrator: Adapter, name: str) -> Arranged:
        """A new schema, migrated by an adapter."""
        await migrator.call("migrate", schema=name)
        return cls(observer, name)

    def table(self, name: str) -> str:
        """A name in the schema, quoted."""
        return f'"{self.schema}"."{name}"'

    async def start(self, engine: Adapter, client_id: str, **params: Any) -> None:
        """Start a client whose services run often, where the implementation lets one choose."""
        often = {
            "elect_interval_ms": 50,
            "rescuer_interval_ms": 50,
            "scheduler_interval_ms": 50,
            "job_cleaner_interval_ms": 50,
            "queue_cleaner_interval_ms": 50,
        }
        await engine.start(
            client_id, **{"max_workers": 1, "schema": self.schema, **often, **params}
        )

    async def job(
        self,
        state: str,
        *,
        kind: str = "conformance_echo",
        attempted_ago: timedelta | None = None,
        finalized_ago: timedelta | None = None,
    ) -> int:
        """Insert a row as another client left it; returns its id."""
        job_id: int = await self.observer.value(
            f"INSERT INTO {self.jobs} (args, attempt, attempted_at, attempted_by, finalized_at,"
            " kind, max_attempts, state)"
            " VALUES ($1::text::jsonb, CASE WHEN $2::text = 'running' THEN 1 ELSE 0 END,"
            " now() - $3::interval,"
            " CASE WHEN $3::interval IS NULL THEN NULL ELSE ARRAY['dead-client'] END,"
            f" now() - $4::interval, $5, 25, $2::text::{self.table('river_job_state')})"
            " RETURNING id",
            ARGS,
            state,
            attempted_ago,
            finalized_ago,
            kind,
        )
        return job_id

    async def count(self, condition: str, *arguments: Any) -> int:
        """Jobs for which the condition holds."""
        number: int = await self.observer.value(
            f"SELECT count(*) FROM {self.jobs} WHERE {condition}", *arguments
        )
        return number

    async def lease(self) -> Lease | None:
        """Who leads in this schema."""
        row = await self.observer.row(
            f"SELECT leader_id, elected_at, expires_at FROM {self.leader}"
        )
        return Lease(*row) if row is not None else None

    async def file_of_index(self, index: str) -> int | None:
        """The file that holds an index; another one after it was rebuilt."""
        number: int | None = await self.observer.value(
            "SELECT c.relfilenode::bigint FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = $1 AND c.relname = $2",
            self.schema,
            index,
        )
        return number
