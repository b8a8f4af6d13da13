"""What one adapter process keeps between requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import asyncpg
from asyncpg.transaction import Transaction

from riverengine.client import Client
from riverengine.config import Config
from riverengine.conformance.barriers import Barriers, ClaimGate
from riverengine.conformance.connections import Connections
from riverengine.conformance.errors import MissingError, RejectedError
from riverengine.conformance.json_text import member_text
from riverengine.conformance.observations import Observations
from riverengine.queries.transaction import transaction_check
from riverengine.types.job import Json

_LOGGER = logging.getLogger("riverengine")
_EXIT_GRACE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Call:
    """One request's parameters, checked already, and the line they came in."""

    params: Mapping[str, Json]
    line: str

    def __getitem__(self, name: str) -> Json:
        return self.params[name]

    def get(self, name: str, default: Json = None) -> Json:
        """The parameter, or ``default`` when it is absent."""
        return self.params.get(name, default)

    def text(self, name: str) -> str:
        """The parameter's JSON as the caller wrote it."""
        return member_text(self.line, "params", name)


@dataclass(slots=True)
class Running:
    """A started client."""

    client: Client
    observations: Observations
    events: asyncio.Task[None]


@dataclass(slots=True)
class OpenTransaction:
    """A transaction the harness began."""

    connection: asyncpg.Connection
    transaction: Transaction


class Session:
    """Connections, the running client, open transactions, barriers, and the test clock."""

    def __init__(self, url: str, application_name: str) -> None:
        self.application_name = application_name
        self.barriers: Barriers = Barriers()
        self.gate: ClaimGate = ClaimGate(self.barriers)
        self.connections: Connections = Connections(url, application_name, self.gate)
        self.running: Running | None = None
        self.now: datetime | None = None
        self._clients: dict[str | None, Client] = {}
        self._transactions: dict[str, OpenTransaction] = {}

    @property
    def pool(self) -> asyncpg.Pool:
        """The pool every client works with."""
        return self.connections.pool

    async def open(self) -> None:
        """Make the pool usable; connects to nothing."""
        await self.pool

    def client(self, schema: str | None = None) -> Client:
        """The client that serves requests; inserts beside a traced client are traced with it.

        Raises ``ConfigError``.
        """
        schema = schema or None
        found = self._clients.get(schema)
        if found is None:
            # Every insert is to be announced, however soon it follows another.
            config = Config(schema=schema, fetch_cooldown=timedelta(milliseconds=1))
            if self.running is not None:
                traces = self.running.client.config
                config = replace(config, hooks=traces.hooks, middleware=traces.middleware)
            found = self._clients[schema] = Client(self.pool, config, logger=_LOGGER)
        return found

    def run(self, running: Running | None) -> None:
        """Take over a started client, or forget the stopped one."""
        self.running = running
        self._clients.clear()

    async def forget_plans(self) -> None:
        """Use fresh connections: plans of the others may return types that are gone."""
        self._clients.clear()
        await self.pool.expire_connections()

    def require_running(self) -> Running:
        """The started client; raises ``RejectedError``."""
        if self.running is None:
            raise RejectedError("no client is started")
        return self.running

    def clock(self) -> datetime:
        """The instant that ``clock_set`` gave, else the present."""
        return self.now or datetime.now(UTC)

    # Transactions

    async def begin(self, handle: str) -> None:
        """Open a transaction under a free handle."""
        if handle in self._transactions:
            raise RejectedError(f"transaction {handle!r} is open already")
        connection = await self.pool.acquire()
        try:
            transaction = connection.transaction()
            await transaction.start()
        except BaseException:
            await self.pool.release(connection)
            raise
        self._transactions[handle] = OpenTransaction(connection, transaction)

    def transaction(self, handle: str) -> asyncpg.Connection:
        """The connection of an open transaction; raises ``MissingError``."""
        found = self._transactions.get(handle)
        if found is None:
            raise MissingError(f"there is no transaction {handle!r}")
        return found.connection

    def transaction_of(self, call: Call) -> asyncpg.Connection | None:
        """The transaction a tx_ method names; None for other methods."""
        return self.transaction(call["handle"]) if "handle" in call.params else None

    async def end(self, handle: str, *, commit: bool) -> None:
        """Commit or roll back, and forget the handle whatever happens.

        Raises ``asyncpg.InFailedSQLTransactionError`` when an aborted one was to be committed.
        """
        self.transaction(handle)
        found = self._transactions.pop(handle)
        try:
            if commit:
                # The driver does not tell that PostgreSQL rolls an aborted transaction back.
                await transaction_check(found.connection)
                await found.transaction.commit()
            else:
                await found.transaction.rollback()
        except asyncpg.InFailedSQLTransactionError:
            await found.transaction.rollback()
            raise
        finally:
            await self.pool.release(found.connection)

    # The end

    async def stop(self, *, cancel: bool, timeout: timedelta) -> None:
        """Stop the started client; raises ``RejectedError`` when there is none."""
        running = self.require_running()
        self.gate.open()
        if cancel:
            await running.client.stop_and_cancel(timeout=timeout)
        else:
            await running.client.stop(timeout=timeout)
        self.run(None)
        await running.events

    async def close(self) -> None:
        """End everything; what does not end in time is left behind."""
        try:
            if self.running is not None:
                await self.stop(cancel=True, timeout=_EXIT_GRACE)
            for handle in list(self._transactions):
                await self.end(handle, commit=False)
        except Exception:
            _LOGGER.exception("the adapter's client or a transaction did not end cleanly")
        self.pool.terminate()
