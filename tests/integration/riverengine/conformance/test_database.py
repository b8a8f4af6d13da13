"""Migrations, fixed rows, exact numbers and faults, as the suite asks for them."""

from __future__ import annotations

import json

import asyncpg

from riverengine import Migrator
from riverengine.queries.conformance import FULL_ROW_METADATA
from tests.integration.riverengine.conformance.adapter import (
    DATABASE_ERROR,
    INVALID_PARAMS,
    NOT_FOUND,
    REJECTED,
    UNSUPPORTED,
    Adapter,
)

SCHEMA = "Conformance_Mixed"
LARGE = (
    '{"negative":-9223372036854775808,"big_integer":123456789012345678901234567890,'
    '"beyond_float":1e400,"long_decimal":0.1000000000000000055511151231257827}'
)


async def test_migrations_of_a_schema_go_up_and_down_step_by_step(adapter: Adapter) -> None:
    everything = list(range(1, 9))
    down = await adapter.call("migrate", direction="down", schema=SCHEMA, target_version=-1)
    assert down == {"applied": [], "existing": [], "valid": False}
    dry = await adapter.call("migrate", schema=SCHEMA, dry_run=True)
    assert dry == {"applied": everything, "existing": [], "valid": False}
    up = await adapter.call("migrate", schema=SCHEMA, target_version=4)
    assert up == {"applied": [1, 2, 3, 4], "existing": [1, 2, 3, 4], "valid": False}
    assert (await adapter.call("migrate", schema=SCHEMA, max_steps=1))["applied"] == [5]
    up = await adapter.call("migrate", schema=SCHEMA)
    assert up == {"applied": [6, 7, 8], "existing": everything, "valid": True}
    job = await adapter.call("insert", message="elsewhere", schema=SCHEMA)
    assert await adapter.call("get", id=job["id"], schema=SCHEMA) == job
    assert (await adapter.call("work", id=job["id"], schema=SCHEMA))["state"] == "completed"
    await adapter.call("reset", schema=SCHEMA)
    assert await adapter.code("get", id=job["id"], schema=SCHEMA) == NOT_FOUND
    down = await adapter.call("migrate", direction="down", schema=SCHEMA)
    assert down["applied"] == [8]
    down = await adapter.call("migrate", direction="down", schema=SCHEMA, target_version=-1)
    assert down["existing"] == []


async def test_tables_that_others_made_anew_are_used_after_a_reset(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    for _ in range(7):
        await adapter.call("insert", message="prepares a plan", opts={"unique": {"by_args": True}})
    migrator = Migrator(database)
    await migrator.migrate_down(target_version=-1)
    await migrator.migrate_up()
    await adapter.call("reset")
    job = await adapter.call("insert", opts={"unique": {"by_args": True}})
    assert (await adapter.call("work", id=job["id"]))["state"] == "completed"


async def test_a_target_that_does_not_exist_is_rejected(adapter: Adapter) -> None:
    assert await adapter.code("migrate", target_version=99) == REJECTED
    assert await adapter.code("migrate", target_version=-1) == REJECTED


async def test_schema_names_beyond_46_characters_are_rejected(adapter: Adapter) -> None:
    assert (await adapter.call("migrate", schema="s" * 46))["valid"]
    job = await adapter.call("insert", schema="s" * 46)
    assert (await adapter.call("work", id=job["id"], schema="s" * 46))["state"] == "completed"
    for method in ("migrate", "insert", "reset"):
        assert await adapter.code(method, schema="s" * 47) == REJECTED
    await adapter.call("migrate", schema="s" * 46, direction="down", target_version=-1)


async def test_a_missing_schema_is_a_database_error(adapter: Adapter) -> None:
    assert await adapter.code("insert", schema="nowhere") == DATABASE_ERROR
    assert await adapter.code("reset", schema="nowhere") == DATABASE_ERROR


async def test_reset_lets_ids_start_again(adapter: Adapter) -> None:
    first = await adapter.call("insert", message="a")
    await adapter.call("reset")
    assert (await adapter.call("insert", message="b"))["id"] == first["id"] == 1


async def test_the_full_row_has_a_value_in_every_column(adapter: Adapter) -> None:
    row = await adapter.call("raw_insert_full_row")
    assert await adapter.call("get", id=row["id"]) == row
    assert row == {
        "args": {"nested": {"enabled": True}, "values": [1, "two", None]},
        "attempt": 3,
        "attempted_at": "2026-01-02T03:04:06.123456Z",
        "attempted_by": ["go-client", "candidate-client"],
        "created_at": "2026-01-02T03:04:05.6789Z",
        "errors": [
            {
                "at": "2026-01-02T03:04:06.123456Z",
                "attempt": 3,
                "error": 'worker failed: escaped "detail"',
                "trace": "frame one\nframe two",
            }
        ],
        "finalized_at": "2026-01-02T03:04:07.000001Z",
        "id": row["id"],
        "kind": "conformance_full_row",
        "max_attempts": 4,
        "metadata": json.loads(FULL_ROW_METADATA),
        "priority": 2,
        "queue": "priority_jobs",
        "scheduled_at": "2026-01-02T03:04:05.999999Z",
        "state": "discarded",
        "tags": ["alpha_tag", "beta_tag"],
        "unique_key": "ab" * 32,
        "unique_states": [
            *("available", "completed", "pending", "retryable", "running", "scheduled")
        ],
    }


async def test_a_plain_row_has_null_for_what_is_absent(adapter: Adapter) -> None:
    row = await adapter.call("insert")
    assert row["args"] == {"behavior": "", "duration_ms": 0, "message": ""}
    absent = ("attempted_at", "finalized_at", "unique_key", "unique_states")
    assert {row[name] for name in absent} == {None}
    assert row["errors"] == row["attempted_by"] == row["tags"] == []
    assert row["metadata"] == {}


async def test_numbers_keep_all_their_digits(adapter: Adapter) -> None:
    inserted = await adapter.call("raw_insert_exact_json")
    assert await adapter.call("raw_job_exact_json", id=inserted["id"]) == {
        "decimal": "0.12345678901234567890123456789",
        "integer": "9223372036854775807",
        "negative": "-9223372036854775808",
    }


async def test_numbers_beyond_floats_survive_an_update(adapter: Adapter) -> None:
    inserted = await adapter.call("raw_insert_exact_json", metadata_json=LARGE)
    before = await adapter.call("raw_job_exact_json", id=inserted["id"])
    assert before["big_integer"] == "123456789012345678901234567890"
    assert before["long_decimal"] == "0.1000000000000000055511151231257827"
    assert before["beyond_float"] == "1" + 400 * "0"
    updated = await adapter.call("update", id=inserted["id"], output="preserved")
    assert updated["metadata"] is None
    assert await adapter.call("raw_job_exact_json", id=inserted["id"]) == before


async def test_metadata_text_must_be_an_object(adapter: Adapter) -> None:
    for text in ("[]", "1", "{", ""):
        assert await adapter.code("raw_insert_exact_json", metadata_json=text) == INVALID_PARAMS


async def test_exact_numbers_of_another_job_are_rejected(adapter: Adapter) -> None:
    job = await adapter.call("insert")
    assert await adapter.code("raw_job_exact_json", id=job["id"]) == REJECTED
    assert await adapter.code("raw_job_exact_json", id=404) == NOT_FOUND


async def test_odd_rows_are_read_leniently(adapter: Adapter, database: asyncpg.Connection) -> None:
    job = await adapter.call("insert")
    await database.execute(
        """
        UPDATE river_job SET metadata = '[1]', errors = ARRAY[
            '{"at": "2024-01-02 03:04:05+00", "attempt": "1", "error": {"message": "boom"},
              "trace": ["frame"]}'::jsonb, '42'::jsonb]
        WHERE id = $1
        """,
        job["id"],
    )
    read = await adapter.call("get", id=job["id"])
    assert read["metadata"] is None
    zero = "0001-01-01T00:00:00Z"
    assert read["errors"] == [
        {"at": zero, "attempt": 1, "error": '{"message":"boom"}', "trace": '["frame"]'},
        {"at": zero, "attempt": 0, "error": "42", "trace": ""},
    ]


async def test_times_of_errors_keep_go_s_nanoseconds(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    job = await adapter.call("insert")
    times = ("2026-11-24T02:26:58.24605242-05:00", "2026-11-24T02:26:58Z", "tomorrow")
    for at in times:
        await database.execute(
            "UPDATE river_job SET errors = array_append(errors, "
            "jsonb_build_object('at', $2::text)) WHERE id = $1",
            *(job["id"], at),
        )
    read = await adapter.call("get", id=job["id"])
    assert [error["at"] for error in read["errors"]] == [
        *("2026-11-24T07:26:58.24605242Z", "2026-11-24T02:26:58Z", "0001-01-01T00:00:00Z")
    ]


async def test_raw_rows_are_the_texts_postgresql_shows(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    unique = {"by_args": True}
    job = await adapter.call("insert", message="raw", opts={"unique": unique})
    row = await adapter.call("raw_job_row", id=job["id"])
    assert row["args"] == '{"message": "raw", "behavior": "", "duration_ms": 0}'
    assert row["unique_key"] == job["unique_key"].upper()
    assert row["unique_states"] == "11110101"
    assert row["tags"] == "{}"
    nulls = ("attempted_at", "attempted_by", "errors", "finalized_at", "jsonb")
    assert {row[name] for name in (*nulls, "unique_key_type", "unique_states_type")} == {None}
    times = await adapter.call("raw_job_timestamps", id=job["id"])
    assert times == {name: row[name] for name in ("created_at", "scheduled_at")}
    plain = await adapter.call("raw_job_row", id=(await adapter.call("insert"))["id"])
    assert plain["unique_key"] is plain["unique_states"] is None
    assert await adapter.code("raw_job_row", id=404) == NOT_FOUND
    assert await adapter.code("raw_job_timestamps", id=404) == NOT_FOUND


async def test_notifications_are_not_kept(adapter: Adapter) -> None:
    assert await adapter.code("raw_notifications", after_id=0) == UNSUPPORTED


async def test_a_raw_job_of_any_kind_is_inserted_without_notification(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    heard: list[object] = []

    def note(*arguments: object) -> None:
        heard.append(arguments[-1])

    await database.add_listener("public.river_insert", note)
    job = await adapter.call("raw_insert_no_notify", kind="other<kind>", opts={"priority": 3})
    assert (job["kind"], job["priority"], job["state"]) == ("other<kind>", 3, "available")
    assert (await adapter.call("raw_insert_no_notify"))["kind"] == "conformance_echo"
    await adapter.call("insert")
    async with database.transaction():
        await database.execute("SELECT pg_notify('public.river_insert', 'end')")
    while "end" not in heard:
        await database.fetchval("SELECT 1")
    assert heard == ['{"queue": "default"}', "end"]


async def test_a_running_job_is_ended_from_outside(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    job = await adapter.call("insert")
    state = {"id": job["id"], "state": "discarded"}
    assert await adapter.code("raw_finalize", **state) == REJECTED
    await database.execute("UPDATE river_job SET state = 'running' WHERE id = $1", job["id"])
    ended = await adapter.call("raw_finalize", metadata={"shared": "external"}, **state)
    assert ended["state"] == "discarded"
    assert ended["metadata"] == {"shared": "external"}
    assert ended["errors"] == [
        {
            "at": "2026-02-03T04:05:06.789Z",
            "attempt": 1,
            "error": "external discard",
            "trace": "external trace",
        }
    ]
    assert await adapter.code("raw_finalize", id=404, state="completed") == NOT_FOUND


async def test_connections_of_an_application_are_cut(
    adapter: Adapter, database: asyncpg.Connection, conformance_url: str
) -> None:
    name = "river-conformance-victim"
    victim = await asyncpg.connect(conformance_url, server_settings={"application_name": name})
    cut = await adapter.call("fault_disconnect_application", application_name=name)
    assert cut == {"count": 1}
    # A backend that is told to end lives on for a moment.
    seen = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1"
    )
    while await database.fetchval(seen, name):
        pass
    assert await adapter.call("fault_disconnect_application", application_name=name) == {"count": 0}
    victim.terminate()


async def test_reading_methods_get_over_ended_connections(
    adapter: Adapter, database: asyncpg.Connection
) -> None:
    job = await adapter.call("insert")
    for _ in range(10):
        ended = await database.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'river-conformance-python'"
        )
        assert ended >= 1
        assert (await adapter.call("list"))["jobs"] == [job]
        assert await adapter.call("get", id=job["id"]) == job


async def test_a_lease_is_expired(adapter: Adapter, database: asyncpg.Connection) -> None:
    await database.execute(
        "INSERT INTO river_leader (leader_id, elected_at, expires_at) "
        "VALUES ('gone', '2026-01-02T03:04:05.6789Z', now() + interval '1 hour')"
    )
    leader = await adapter.call("leader")
    assert leader == {"elected_at": "2026-01-02T03:04:05.6789Z", "leader_id": "gone"}
    await adapter.call("fault_expire_leader")
    assert await database.fetchval("SELECT expires_at < now() FROM river_leader")
