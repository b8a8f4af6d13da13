"""The two clients of ``riverqueue``: same names, same order of parameters, same results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from riverengine.client import InsertClient
from riverengine.client.insert import InsertManyParams as EngineParams
from riverengine.compat.riverqueue.driver.riversqlalchemy import AsyncDriver, Driver
from riverengine.compat.riverqueue.insert_opts import InsertOpts, JobArgs
from riverengine.compat.riverqueue.job import Job
from riverengine.compat.riverqueue.unique_key import (
    UNIQUE_STATES_DEFAULT,
    KeyedArgs,
    ReplaceKeys,
    UniqueKeys,
    riverqueue_python_key,
)
from riverengine.config import Config
from riverengine.drivers import AsyncTransaction, DriverExecutor, DriverRecord, SyncTransaction
from riverengine.drivers.recognise import async_executor, sync_executor
from riverengine.insert.plan import DEFAULT_PRIORITY, DEFAULT_QUEUE
from riverengine.insert.unique_fields import marked_paths
from riverengine.sync_client import SyncClient
from riverengine.types.errors import InsertError
from riverengine.types.insert import InsertResult as EngineResult
from riverengine.work.args import encode_args

__all__ = [
    "MAX_ATTEMPTS_DEFAULT",
    "PRIORITY_DEFAULT",
    "QUEUE_DEFAULT",
    "UNIQUE_STATES_DEFAULT",
    "AsyncClient",
    "Client",
    "InsertManyParams",
    "InsertResult",
]

MAX_ATTEMPTS_DEFAULT: int = 25
"""Attempts of a job unless told otherwise."""

PRIORITY_DEFAULT: int = DEFAULT_PRIORITY
"""Priority of a job unless told otherwise."""

QUEUE_DEFAULT: str = DEFAULT_QUEUE
"""Queue of a job unless told otherwise."""


@dataclass
class InsertResult:
    """An inserted job; or, when skipped as a duplicate, the job that holds the unique key."""

    job: Job
    unique_skipped_as_duplicated: bool = field(default=False)

    @property
    def unique_skipped_as_duplicate(self) -> bool:
        """Go River's spelling of the same."""
        return self.unique_skipped_as_duplicated


@dataclass
class InsertManyParams:
    """One job of a batch with options of its own."""

    args: JobArgs | object
    insert_opts: InsertOpts | None = None


class Client:
    """Inserts jobs from synchronous code.

    ``riverengine.SyncClient`` on the same engine does the same, and administers jobs and queues.
    """

    def __init__(
        self,
        driver: Driver,
        advisory_lock_prefix: int | None = None,
        *,
        config: Config | None = None,
        unique_keys: UniqueKeys = UniqueKeys.GO,
    ) -> None:
        """advisory_lock_prefix: taken for compatibility; no advisory locks are used.  config: the
        engine's settings, such as the schema.  unique_keys: which keys unique jobs get.
        """
        self.driver = driver
        self._params = _Translator(unique_keys)
        self._client = SyncClient(driver.source, self._params.settings(config))

    def insert(self, args: JobArgs | object, insert_opts: InsertOpts | None = None) -> InsertResult:
        """Insert one job, in a transaction of its own when the driver has an engine.

        Raises ``riverengine.InsertError`` for what River would refuse.
        """
        params = self._params(args, insert_opts)
        return _result(
            self._client.insert(params.args, params.opts, tx=_sync(self.driver.transaction))
        )

    def insert_tx(
        self, tx: SyncTransaction, args: JobArgs | object, insert_opts: InsertOpts | None = None
    ) -> InsertResult:
        """Insert one job in the caller's transaction."""
        params = self._params(args, insert_opts)
        return _result(self._client.insert(params.args, params.opts, tx=_sync(tx)))

    def insert_many(self, args: Sequence[JobArgs | InsertManyParams | object]) -> int:
        """Insert jobs by one statement and return how many are new; unique ones may be held."""
        jobs = self._params.many(args)
        return (
            _new(self._client.insert_many(jobs, tx=_sync(self.driver.transaction))) if jobs else 0
        )

    def insert_many_tx(
        self, tx: SyncTransaction, args: Sequence[JobArgs | InsertManyParams | object]
    ) -> int:
        """As :meth:`insert_many`, in the caller's transaction."""
        jobs = self._params.many(args)
        return _new(self._client.insert_many(jobs, tx=_sync(tx))) if jobs else 0


class AsyncClient:
    """Inserts jobs from asyncio code.

    ``riverengine.InsertClient`` on the same engine does the same, and administers jobs and queues;
    ``riverengine.Client`` works them too.
    """

    def __init__(
        self,
        driver: AsyncDriver,
        advisory_lock_prefix: int | None = None,
        *,
        config: Config | None = None,
        unique_keys: UniqueKeys = UniqueKeys.GO,
    ) -> None:
        """As :class:`Client`."""
        self.driver = driver
        self._params = _Translator(unique_keys)
        self._client = InsertClient(driver.source, self._params.settings(config))

    async def insert(
        self, args: JobArgs | object, insert_opts: InsertOpts | None = None
    ) -> InsertResult:
        """As :meth:`Client.insert`."""
        params = self._params(args, insert_opts)
        tx = _async(self.driver.transaction)
        return _result(await self._client.insert(params.args, params.opts, tx=tx))

    async def insert_tx(
        self, tx: AsyncTransaction, args: JobArgs | object, insert_opts: InsertOpts | None = None
    ) -> InsertResult:
        """As :meth:`Client.insert_tx`."""
        params = self._params(args, insert_opts)
        return _result(await self._client.insert(params.args, params.opts, tx=_async(tx)))

    async def insert_many(self, args: Sequence[JobArgs | InsertManyParams | object]) -> int:
        """As :meth:`Client.insert_many`."""
        jobs = self._params.many(args)
        tx = _async(self.driver.transaction)
        return _new(await self._client.insert_many(jobs, tx=tx)) if jobs else 0

    async def insert_many_tx(
        self, tx: AsyncTransaction, args: Sequence[JobArgs | InsertManyParams | object]
    ) -> int:
        """As :meth:`Client.insert_many_tx`."""
        jobs = self._params.many(args)
        return _new(await self._client.insert_many(jobs, tx=_async(tx))) if jobs else 0


class _AsGiven(DriverExecutor):
    """The caller's connection as the official client takes it: even one that autocommits."""

    def __init__(self, executor: DriverExecutor) -> None:
        self._executor = executor

    async def run(self, sql: str, args: Sequence[object]) -> list[DriverRecord]:
        return await self._executor.run(sql, args)


def _sync(tx: SyncTransaction | None) -> DriverExecutor | None:
    return None if tx is None else _AsGiven(sync_executor(tx))


def _async(tx: AsyncTransaction | None) -> AsyncTransaction | None:
    # asyncpg's are not the official client's, and no adapter stands before them.
    executor = None if tx is None else async_executor(tx)
    return _AsGiven(executor) if isinstance(executor, DriverExecutor) else tx


class _Translator:
    """From ``riverqueue``'s args and options to the engine's."""

    def __init__(self, unique_keys: UniqueKeys) -> None:
        self._unique_keys = UniqueKeys(unique_keys)

    def settings(self, config: Config | None) -> Config:
        given = config or Config()
        return replace(given, hooks=(*given.hooks, ReplaceKeys()))

    def __call__(self, args: object, insert_opts: InsertOpts | None) -> EngineParams:
        method = getattr(args, "insert_opts", None)
        typed = method() if callable(method) else InsertOpts()
        if not isinstance(typed, InsertOpts):
            raise InsertError(f"{type(args).__name__}.insert_opts() must return InsertOpts")
        opts = (insert_opts or InsertOpts()).over(typed)
        kind: str = getattr(args, "kind", "")
        encoded = encode_args(args)
        engine = opts.of_engine()
        key = None
        unique = opts.unique_opts
        if unique is not None and not unique.is_empty:
            if self._unique_keys is UniqueKeys.RIVERQUEUE_PYTHON:
                key = riverqueue_python_key(
                    unique,
                    kind=kind,
                    encoded_args=_own_text(args, encoded),
                    queue=opts.queue,
                    now=datetime.now(UTC),
                )
            elif unique.by_args is True and engine.unique_opts is not None:
                # The engine looks for marked fields on the class it is given, which is ours.
                args_type: type = type(args)
                marked = marked_paths(args_type) or True
                engine = replace(engine, unique_opts=replace(engine.unique_opts, by_args=marked))
        return EngineParams(KeyedArgs(kind, encoded, key), engine)

    def many(self, jobs: Sequence[object]) -> list[EngineParams]:
        return [
            self(job.args, job.insert_opts)
            if isinstance(job, InsertManyParams)
            else self(job, None)
            for job in jobs
        ]


def _own_text(args: object, encoded: str) -> str:
    """What the official client would have read: the text as the args wrote it."""
    to_json = getattr(args, "to_json", None)
    return str(to_json()) if callable(to_json) else encoded


def _result(result: EngineResult) -> InsertResult:
    return InsertResult(Job.from_row(result.job), result.unique_skipped_as_duplicate)


def _new(results: Sequence[EngineResult]) -> int:
    return sum(not result.unique_skipped_as_duplicate for result in results)
