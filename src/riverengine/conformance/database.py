"""Methods that arrange the database: migrations, empty tables, odd rows, faults."""

from __future__ import annotations

from dataclasses import dataclass

from riverengine.config import validate_schema
from riverengine.conformance.echo import KIND, EchoArgs
from riverengine.conformance.errors import InvalidParamsError, RejectedError, UnsupportedError
from riverengine.conformance.job_params import (
    JOB,
    JOB_ID,
    NAME,
    SCHEMA,
    echo_args,
    insert_opts,
)
from riverengine.conformance.method import NOTHING, Method
from riverengine.conformance.rows import job_json
from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import AnyObject, Flag, Integer, Members, Text
from riverengine.insert.plan import plan_insert
from riverengine.queries import conformance as queries
from riverengine.queries.job_insert import job_insert_many
from riverengine.schema.migrator import Migrator
from riverengine.types.job import JobState, Json
from riverengine.work.args import encode_args
from riverengine.work.json_members import object_members

_BY_ID = Members({"id": JOB_ID}, ("id",))
_EXACT_KIND = "conformance_exact_json"
_DECIMAL = "0.12345678901234567890123456789"
_INTEGER, _NEGATIVE = "9223372036854775807", "-9223372036854775808"
_EXACT_ARGS = f'{{"decimal":{_DECIMAL},"integer":{_INTEGER},"negative":{_NEGATIVE}}}'
_EXACT_METADATA = f'{{"negative":{_NEGATIVE}}}'
_TOKENS = ("decimal", "integer", "negative")
_LARGE_TOKENS = ("big_integer", "beyond_float", "long_decimal")


@dataclass(frozen=True, slots=True)
class _KindArgs:
    """Args of the suite's job under another kind."""

    kind: str
    behavior: str
    duration_ms: int
    message: str

    def to_json(self) -> str:
        """The args without the kind."""
        return encode_args(EchoArgs(self.behavior, self.duration_ms, self.message))


# Migrations


async def _migrate(session: Session, call: Call) -> Json:
    schema = call.get("schema") or None
    async with session.pool.acquire() as connection:
        if schema is not None:
            validate_schema(schema)
            await queries.create_schema(connection, schema=schema)
        migrator = Migrator(connection, schema=schema)
        migrate = migrator.migrate_down if call.get("direction") == "down" else migrator.migrate_up
        applied = await migrate(
            target_version=call.get("target_version"),
            max_steps=call.get("max_steps"),
            dry_run=call.get("dry_run", False),
        )
        result = {
            "applied": [each.version for each in applied],
            "existing": list(await migrator.existing_versions()),
            "valid": not await migrator.validate(),
        }
    await session.forget_plans()
    return result


async def _reset(session: Session, call: Call) -> Json:
    schema = call.get("schema") or None
    # Others may have migrated down and up since.
    await session.forget_plans()
    if schema is not None:
        validate_schema(schema)
    await queries.reset(session.pool, schema=schema)
    return NOTHING


# Rows


async def _finalize(session: Session, call: Call) -> Json:
    metadata_json = call.text("metadata") if "metadata" in call.params else "{}"
    row = await queries.finalize(
        session.pool,
        schema=None,
        job_id=call["id"],
        state=JobState(call["state"]),
        metadata_json=metadata_json,
    )
    return job_json(row)


async def _insert_exact(session: Session, call: Call) -> Json:
    metadata_json = call.get("metadata_json", _EXACT_METADATA)
    try:
        object_members(metadata_json)
    except ValueError:
        raise InvalidParamsError("params.metadata_json must be the text of an object") from None
    job_id = await queries.insert_exact(
        session.pool,
        schema=None,
        job_id=call.get("id"),
        kind=_EXACT_KIND,
        args_json=_EXACT_ARGS,
        metadata_json=metadata_json,
    )
    return {"id": job_id}


async def _insert_full(session: Session, call: Call) -> Json:
    return job_json(await queries.insert_full(session.pool, schema=None))


async def _insert_no_notify(session: Session, call: Call) -> Json:
    client = session.client()
    args = echo_args(call.params)
    plan = plan_insert(
        _KindArgs(call.get("kind", KIND), args.behavior, args.duration_ms, args.message),
        insert_opts(call.get("opts", {})),
        now=client.clock.now(),
        max_attempts=client.config.max_attempts,
        max_args_bytes=client.config.max_args_bytes,
        known_kinds=None,
    )
    rows = await job_insert_many(
        session.pool.fetch, schema=None, plans=[plan], now=client.clock.now()
    )
    return job_json(rows[0][0])


async def _exact_json(session: Session, call: Call) -> Json:
    args_json, metadata_json = await queries.raw_json(session.pool, schema=None, job_id=call["id"])
    numbers = {**_members(metadata_json), **_members(args_json)}
    missing = [name for name in _TOKENS if name not in numbers]
    if missing:
        raise RejectedError(f"job {call['id']} does not hold {', '.join(missing)}")
    return {name: numbers[name] for name in (*_TOKENS, *_LARGE_TOKENS) if name in numbers}


def _members(text: str) -> dict[str, str]:
    return dict(object_members(text)) if text.startswith("{") else {}


async def _raw_row(session: Session, call: Call) -> Json:
    row = await queries.raw_row(session.pool, schema=None, job_id=call["id"])
    return {**row, "jsonb": None, "unique_key_type": None, "unique_states_type": None}


async def _raw_timestamps(session: Session, call: Call) -> Json:
    row = await queries.raw_row(session.pool, schema=None, job_id=call["id"])
    return {"created_at": row["created_at"], "scheduled_at": row["scheduled_at"]}


async def _raw_notifications(session: Session, call: Call) -> Json:
    raise UnsupportedError("PostgreSQL keeps no notifications")


# Faults


async def _disconnect_application(session: Session, call: Call) -> Json:
    count = await queries.disconnect_application(
        session.pool, application_name=call["application_name"]
    )
    return {"count": count}


async def _disconnect_listeners(session: Session, call: Call) -> Json:
    pids = session.connections.listener_pids()
    return {"count": await queries.disconnect_backends(session.pool, pids=pids)}


async def _expire_leader(session: Session, call: Call) -> Json:
    await queries.expire_leader(session.pool, schema=None)
    return NOTHING


METHODS = (
    Method(
        "fault_disconnect_application",
        Members({"application_name": Text(prefix="river-conformance-")}, ("application_name",)),
        _disconnect_application,
    ),
    Method("fault_disconnect_listeners", Members(), _disconnect_listeners),
    Method("fault_expire_leader", Members(), _expire_leader),
    Method(
        "migrate",
        Members(
            {
                "direction": Text(choices=("down", "up")),
                "dry_run": Flag(),
                "max_steps": Integer(minimum=1),
                "schema": SCHEMA,
                "target_version": Integer(),
            }
        ),
        _migrate,
    ),
    Method(
        "raw_finalize",
        Members(
            {
                "id": JOB_ID,
                "metadata": AnyObject(),
                "state": Text(choices=("completed", "discarded")),
            },
            ("id", "state"),
        ),
        _finalize,
    ),
    Method(
        "raw_insert_exact_json", Members({"id": JOB_ID, "metadata_json": Text()}), _insert_exact
    ),
    Method("raw_insert_full_row", Members(), _insert_full),
    Method("raw_insert_no_notify", JOB.with_fields({"kind": NAME}), _insert_no_notify),
    Method("raw_job_exact_json", _BY_ID, _exact_json, reads=True),
    Method("raw_job_row", _BY_ID, _raw_row, reads=True),
    Method("raw_job_timestamps", _BY_ID, _raw_timestamps),
    Method(
        "raw_notifications",
        Members({"after_id": Integer(minimum=0)}, ("after_id",)),
        _raw_notifications,
    ),
    Method("reset", Members({"schema": SCHEMA}), _reset),
)
"""The methods of this group."""
