"""Owns what a process needs to insert and work jobs: pool, client, workers, periodic jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from riverengine import (
    Client,
    ConfigError,
    DatabaseUnavailableError,
    PeriodicJob,
    QueueConfig,
    SchemaVersionError,
    Workers,
    check_schema,
    open_pool,
)
from riverengine import Config as ClientConfig
from riverjobs.schema import WORKFLOW_MIGRATIONS, bundled_migrations, pending_migrations

QUEUE_DEFAULT = "default"
QUEUE_CRITICAL = "critical"
QUEUE_SCHEDULED = "scheduled"
QUEUE_NOTIFICATION = "notification"
QUEUE_EXTERNAL = "external"

DEFAULT_QUEUES: Mapping[str, int] = {
    QUEUE_DEFAULT: 100,
    QUEUE_CRITICAL: 50,
    QUEUE_SCHEDULED: 25,
    QUEUE_NOTIFICATION: 25,
    QUEUE_EXTERNAL: 10,
}
"""Queues and how many jobs of each one process runs at a time."""

_CONNECT_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a manager.

    queues: jobs at a time by queue, or a queue's own settings.  poll_interval: how often queues are
    looked at when no notification arrives.  job_timeout: for workers that name none.  schema:
    River's, None for the connection's search path.  pool_size: most connections.  client_id: a name
    that stays over restarts, so that a restarted process takes its jobs back at once; None for a
    fresh one.  rescue_after: when the leader gives a dead process's jobs to others, though never
    within a worker's own timeout.
    """

    database_url: str = field(repr=False)
    queues: Mapping[str, int | QueueConfig] = field(default_factory=lambda: dict(DEFAULT_QUEUES))
    poll_interval: timedelta = timedelta(seconds=5)
    schema: str | None = None
    job_timeout: timedelta = timedelta(minutes=1)
    pool_size: int = 20
    client_id: str | None = None
    rescue_after: timedelta = timedelta(minutes=10)
    soft_stop_timeout: timedelta | None = None

    def queue_configs(self) -> dict[str, QueueConfig]:
        """The queues with their settings."""
        return {
            name: QueueConfig(max_workers=given) if isinstance(given, int) else given
            for name, given in self.queues.items()
        }


@dataclass(frozen=True, slots=True)
class Health:
    """Whether all is well, and what is not."""

    ok: bool
    problems: Sequence[str] = ()


class RiverManager:
    """Client instances and configuration of one process.

    ``open`` is enough to start workflows; ``start`` works them as well. Register workers and add
    periodic jobs before.
    """

    def __init__(self, config: Config, *, logger: logging.Logger | None = None) -> None:
        """Raises ``ConfigError`` for settings out of range."""
        self.config = config
        self.logger = logger or logging.getLogger("riverjobs")
        self.workers = Workers()
        self.periodic_jobs: list[PeriodicJob] = []
        self._client_config = ClientConfig(
            queues=config.queue_configs(),
            fetch_poll_interval=config.poll_interval,
            schema=config.schema,
            job_timeout=config.job_timeout,
            soft_stop_timeout=config.soft_stop_timeout,
            id=config.client_id,
            rescue_stuck_jobs_after=config.rescue_after,
        )
        self._pool: asyncpg.Pool | None = None
        self._client: Client | None = None

    @property
    def pool(self) -> asyncpg.Pool:
        """The pool; raises ``RuntimeError`` before :meth:`open`."""
        if self._pool is None:
            raise RuntimeError("open() or start() the RiverManager first")
        return self._pool

    @property
    def client(self) -> Client:
        """The River client; raises ``RuntimeError`` before :meth:`open`."""
        if self._client is None:
            raise RuntimeError("open() or start() the RiverManager first")
        return self._client

    async def open(self) -> None:
        """Connect and check the schema; nothing happens when open already.

        Raises ``DatabaseUnavailableError`` or ``SchemaVersionError``.
        """
        if self._pool is not None:
            return
        pool = await connect_pool(self.config.database_url, size=self.config.pool_size)
        try:
            async with pool.acquire() as connection:
                await check_schema(connection, schema=self.config.schema)
                await _check_workflow_tables(connection)
        except BaseException:
            await pool.close()
            raise
        self._pool = pool
        self._client = Client(
            pool,
            self._client_config,
            workers=self.workers if len(self.workers) else None,
            logger=self.logger,
        )

    async def start(self) -> None:
        """Open, and work the queues; raises as :meth:`open`, or ``ConfigError``."""
        if not len(self.workers):
            raise ConfigError("workers", "register workers before start()")
        await self.open()
        if not self.client.is_started:
            self.client.periodic_jobs.clear()
            self.client.periodic_jobs.add_many(self.periodic_jobs)
            await self.client.start()

    async def stop(self, *, timeout: timedelta | None = None) -> None:
        """Let running jobs end, then close; safe to call twice.

        timeout: raises ``StopTimeoutError`` with everything still open when jobs run longer.
        """
        if self._client is not None:
            await self._client.stop(timeout=timeout)
        await self._close()

    async def stop_and_cancel(self, *, timeout: timedelta | None = None) -> None:
        """As :meth:`stop`, cancelling running jobs; they become available again."""
        if self._client is not None:
            await self._client.stop_and_cancel(timeout=timeout)
        await self._close()

    async def health(self) -> Health:
        """Whether the database answers, the schema fits and, if started, queues are worked."""
        problems = []
        try:
            async with self.pool.acquire(timeout=_CONNECT_TIMEOUT) as connection:
                await check_schema(connection, schema=self.config.schema)
                await _check_workflow_tables(connection)
        except SchemaVersionError as error:
            problems.append(str(error))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            problems.append(f"the database does not answer: {type(error).__name__}")
        if self.client.is_started:
            missing = set(self.config.queues) - set(self.client.producers)
            problems += [f"queue {name} is not worked" for name in sorted(missing)]
        return Health(not problems, tuple(problems))

    async def _close(self) -> None:
        pool, self._pool, self._client = self._pool, None, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await pool.close()
        except TimeoutError:
            # Somebody keeps a connection: the process must end all the same.
            self.logger.warning("the pool did not close in time; its connections are cut")
            pool.terminate()


async def connect_pool(database_url: str, *, size: int) -> asyncpg.Pool:
    """A pool with one tried connection, fit for a transaction pooler in between.

    Raises ``DatabaseUnavailableError``.
    """
    try:
        pool = await open_pool(
            database_url,
            min_size=1,
            max_size=size,
            timeout=_CONNECT_TIMEOUT,
            server_settings={"application_name": "riverjobs"},
        )
    except (
        *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
        asyncpg.InternalClientError,
    ) as error:
        # The driver's own text may quote the address with its password: only its kind is told.
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {_reason(error)}") from error
    return pool


def _reason(error: Exception) -> str:
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__} ({error.sqlstate})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


async def _check_workflow_tables(connection: asyncpg.Connection) -> None:
    pending = await pending_migrations(connection, bundled_migrations(WORKFLOW_MIGRATIONS))
    if pending:
        names = ", ".join(migration.file_name for migration in pending)
        raise SchemaVersionError(
            f"the workflow tables are not up to date ({names}): run `v1consortium migrate`"
        )
