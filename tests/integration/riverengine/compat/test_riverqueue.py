"""The official Python client's interface: its users change their imports."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import asyncpg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from riverengine import Client as EngineClient
from riverengine import (
    Config,
    InsertError,
    InsertOpts,
    Unique,
    UniqueOptsError,
    UnsupportedDriverError,
)
from riverengine import UniqueOpts as EngineUniqueOpts
from riverengine.compat import riverqueue
from riverengine.compat.riverqueue.driver import riversqlalchemy
from tests.integration.riverengine.drivers.libraries import in_dialect
from tests.integration.riverengine.working import stored


@dataclass
class SortArgs:
    """As the official client's readme writes them."""

    strings: list[str]

    kind: str = "sort"

    def to_json(self) -> str:
        return json.dumps({"strings": self.strings})


@dataclass
class TypedArgs:
    """With options of its type."""

    kind: ClassVar[str] = "typed"
    number: int = 0

    def to_json(self) -> str:
        return json.dumps({"number": self.number})

    def insert_opts(self) -> riverqueue.InsertOpts:
        return riverqueue.InsertOpts(queue="typed", priority=2, tags=["typed"])


@dataclass
class PlainArgs:
    """The engine's own kind of args, without ``to_json``."""

    kind: ClassVar[str] = "plain"
    customer: str = "é<☃"
    nested: dict[str, int] = field(default_factory=dict)


BY_ARGS = riverqueue.InsertOpts(unique_opts=riverqueue.UniqueOpts(by_args=True))


@pytest.fixture
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(
        in_dialect(database_url, "postgresql+psycopg"), poolclass=NullPool
    )
    yield made
    made.dispose()


@pytest.fixture
async def async_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(in_dialect(database_url, "postgresql+asyncpg"), poolclass=NullPool)
    yield made
    await made.dispose()


async def count(pool: asyncpg.Pool) -> int:
    number: int = await pool.fetchval("SELECT count(*) FROM river_job")
    return number


# Taken from riverqueue 0.7.0.
SURFACE = {
    "Client": ("driver", "advisory_lock_prefix"),
    "AsyncClient": ("driver", "advisory_lock_prefix"),
    "InsertOpts": (*("max_attempts", "priority", "queue", "scheduled_at", "tags", "unique_opts"),),
    "UniqueOpts": ("by_args", "by_period", "by_queue", "by_state"),
    "InsertManyParams": ("args", "insert_opts"),
    "InsertResult": ("job", "unique_skipped_as_duplicated"),
    "AttemptError": ("at", "attempt", "error", "trace"),
    "Job": (
        *("id", "args", "attempt", "attempted_at", "attempted_by", "created_at", "errors"),
        *("finalized_at", "kind", "max_attempts", "metadata", "priority", "queue"),
        *("scheduled_at", "state", "tags", "unique_key"),
    ),
}
METHODS = {
    "insert": ("self", "args", "insert_opts"),
    "insert_tx": ("self", "tx", "args", "insert_opts"),
    "insert_many": ("self", "args"),
    "insert_many_tx": ("self", "tx", "args"),
}


@pytest.mark.parametrize("name", SURFACE)
def test_classes_take_the_same_parameters_in_the_same_order(name: str) -> None:
    parameters = list(inspect.signature(getattr(riverqueue, name)).parameters.values())
    wanted = SURFACE[name]
    assert tuple(each.name for each in parameters[: len(wanted)]) == wanted
    for more in parameters[len(wanted) :]:
        assert more.default is not inspect.Parameter.empty


@pytest.mark.parametrize("client", [riverqueue.Client, riverqueue.AsyncClient])
def test_methods_take_the_same_parameters(client: type) -> None:
    for name, wanted in METHODS.items():
        assert tuple(inspect.signature(getattr(client, name)).parameters) == wanted


def test_constants_and_protocols() -> None:
    assert riverqueue.MAX_ATTEMPTS_DEFAULT == 25
    assert riverqueue.PRIORITY_DEFAULT == 1
    assert riverqueue.QUEUE_DEFAULT == "default"
    assert riverqueue.JobState.AVAILABLE in riverqueue.UNIQUE_STATES_DEFAULT
    assert isinstance(TypedArgs(), riverqueue.JobArgsWithInsertOpts)
    assert not isinstance(PlainArgs(), riverqueue.JobArgsWithInsertOpts)


def test_attempt_errors_go_there_and_back() -> None:
    text = '{"at": "2026-08-07T14:32:57.123456Z", "attempt": 2, "error": "e", "trace": "t"}'
    error = riverqueue.AttemptError.from_dict(json.loads(text))
    assert error.at == datetime(2026, 8, 7, 14, 32, 57, 123456, tzinfo=UTC)
    assert error.to_json() == text


async def test_inserting_with_an_engine(pool: asyncpg.Pool, engine: sqlalchemy.Engine) -> None:
    client = riverqueue.Client(riversqlalchemy.Driver(engine), advisory_lock_prefix=123456)
    result = client.insert(
        SortArgs(strings=["whale", "tiger", "bear"]),
        insert_opts=riverqueue.InsertOpts(
            max_attempts=17, priority=3, queue="my_queue", tags=["custom"]
        ),
    )
    assert not result.unique_skipped_as_duplicated
    job = result.job
    assert job == riverqueue.Job.from_row(await stored(pool, job.id))
    assert job.args == {"strings": ["whale", "tiger", "bear"]}
    assert (job.kind, job.max_attempts, job.priority, job.queue) == ("sort", 17, 3, "my_queue")
    assert (job.tags, job.metadata, job.state) == (["custom"], {}, riverqueue.JobState.AVAILABLE)
    assert (job.errors, job.attempted_by, job.attempted_at) == (None, None, None)
    typed = client.insert(TypedArgs(1), riverqueue.InsertOpts(priority=4)).job
    assert (typed.queue, typed.priority, typed.tags) == ("typed", 4, ["typed"])
    at = datetime.now(UTC) + timedelta(hours=1)
    later = client.insert(PlainArgs(), riverqueue.InsertOpts(scheduled_at=at)).job
    assert (later.state, later.scheduled_at) == ("scheduled", at)


async def test_inserting_many(pool: asyncpg.Pool, engine: sqlalchemy.Engine) -> None:
    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    assert client.insert_many([]) == 0
    number = client.insert_many(
        [
            TypedArgs(1),
            riverqueue.InsertManyParams(args=SortArgs(["b"]), insert_opts=BY_ARGS),
            riverqueue.InsertManyParams(PlainArgs()),
        ]
    )
    assert number == 3
    again = riverqueue.InsertManyParams(args=SortArgs(["b"]), insert_opts=BY_ARGS)
    assert client.insert_many([TypedArgs(2), again]) == 1
    assert await count(pool) == 4


async def test_inserting_in_the_caller_s_transaction(
    pool: asyncpg.Pool, engine: sqlalchemy.Engine
) -> None:
    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    with engine.begin() as connection:
        client.insert_tx(connection, SortArgs(["a"]))
        client.insert_many_tx(connection, [SortArgs(["b"]), SortArgs(["c"])])
        assert await count(pool) == 0
    with engine.connect() as connection:
        client.insert_tx(connection, SortArgs(["lost"]))
    assert await count(pool) == 3


@pytest.mark.parametrize("kind", [sqlalchemy.Connection, Session])
async def test_a_driver_on_a_connection_commits_nothing(
    pool: asyncpg.Pool, engine: sqlalchemy.Engine, kind: Any
) -> None:
    with engine.connect() as connection:
        origin = connection if kind is sqlalchemy.Connection else Session(engine)
        client = riverqueue.Client(riversqlalchemy.Driver(origin))
        client.insert(SortArgs(["a"]))
        client.insert_many([SortArgs(["b"])])
        assert await count(pool) == 0
        origin.commit()
        origin.close()
    assert await count(pool) == 2


async def test_the_asynchronous_client(pool: asyncpg.Pool, async_engine: AsyncEngine) -> None:
    client = riverqueue.AsyncClient(riversqlalchemy.AsyncDriver(async_engine))
    first = await client.insert(SortArgs(["a"]), BY_ARGS)
    second = await client.insert(SortArgs(["a"]), BY_ARGS)
    assert not first.unique_skipped_as_duplicated
    assert second.unique_skipped_as_duplicated
    assert second.unique_skipped_as_duplicate
    assert second.job == first.job
    assert await client.insert_many([SortArgs(["b"]), SortArgs(["c"])]) == 2
    async with async_engine.begin() as connection:
        await client.insert_tx(connection, SortArgs(["d"]))
        await client.insert_many_tx(connection, [SortArgs(["e"])])
        assert await count(pool) == 3
    assert await count(pool) == 5
    async with AsyncSession(async_engine) as session:
        of_session = riverqueue.AsyncClient(riversqlalchemy.AsyncDriver(session))
        await of_session.insert(SortArgs(["f"]))
        assert await count(pool) == 5
        await session.commit()
    assert await count(pool) == 6


ENGINE_BY_ARGS = InsertOpts(unique_opts=EngineUniqueOpts(by_args=True))


async def test_unique_keys_are_go_s(pool: asyncpg.Pool, engine: sqlalchemy.Engine) -> None:
    """A job inserted by the engine, and so by Go, is found."""
    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    for args in (PlainArgs(nested={"b": 1, "a": 2}), SortArgs(["é<&☃"])):
        first = (await EngineClient(pool).insert(args, ENGINE_BY_ARGS)).job
        second = client.insert(args, BY_ARGS)
        assert second.unique_skipped_as_duplicated
        assert second.job.id == first.id
    key = client.insert(TypedArgs(7), BY_ARGS).job.unique_key
    assert key is not None
    # &kind=typed&args={"number":7}
    assert key.hex() == "d2b76b780f1739007cdc34d0611acd4fd48066044438b61c67d29cfb3a6204a6"


async def test_marked_fields_of_args_count_as_in_the_engine(
    pool: asyncpg.Pool, engine: sqlalchemy.Engine
) -> None:
    @dataclass
    class Marked:
        kind: ClassVar[str] = "marked"
        customer: Annotated[str, Unique]
        trace: str

    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    first = (await EngineClient(pool).insert(Marked("c", "1"), ENGINE_BY_ARGS)).job
    assert client.insert(Marked("c", "2"), BY_ARGS).job.id == first.id


async def test_keys_of_the_official_client_for_a_migration(
    pool: asyncpg.Pool, engine: sqlalchemy.Engine
) -> None:
    client = riverqueue.Client(
        riversqlalchemy.Driver(engine), unique_keys=riverqueue.UniqueKeys.RIVERQUEUE_PYTHON
    )
    opts = riverqueue.InsertOpts(unique_opts=riverqueue.UniqueOpts(by_queue=True), queue="critical")

    @dataclass
    class Charge:
        kind: ClassVar[str] = "charge"

    first = client.insert(Charge(), opts)
    # From riverqueue-python's own code: the same as in tests/unit.
    assert first.job.unique_key is not None
    assert first.job.unique_key.hex().startswith("0e47447f971e3d75")
    assert client.insert(Charge(), opts).unique_skipped_as_duplicated
    go = riverqueue.Client(riversqlalchemy.Driver(engine))
    assert not go.insert(Charge(), opts).unique_skipped_as_duplicated


async def test_settings_of_the_engine(pool: asyncpg.Pool, engine: sqlalchemy.Engine) -> None:
    config = Config(max_attempts=3)
    client = riverqueue.Client(riversqlalchemy.Driver(engine), config=config)
    assert client.insert(SortArgs([])).job.max_attempts == 3
    assert config.hooks == ()


async def test_what_river_refuses(pool: asyncpg.Pool, engine: sqlalchemy.Engine) -> None:
    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    with pytest.raises(InsertError, match="queue name"):
        client.insert(SortArgs([]), riverqueue.InsertOpts(queue="Not A Queue"))
    with pytest.raises(InsertError, match="tags"):
        client.insert(SortArgs([]), riverqueue.InsertOpts(tags=["no tag"]))
    states = riverqueue.UniqueOpts(by_state=[riverqueue.JobState.AVAILABLE])
    with pytest.raises(UniqueOptsError, match="missing: pending, running, scheduled"):
        client.insert(SortArgs([]), riverqueue.InsertOpts(unique_opts=states))
    anything: Any = object()
    with pytest.raises(UnsupportedDriverError):
        riversqlalchemy.Driver(anything)
    with pytest.raises(UnsupportedDriverError):
        riversqlalchemy.AsyncDriver(anything)
    assert await count(pool) == 0
