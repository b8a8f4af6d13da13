"""What Go River computed, case by case, against our own code; see ``fixtures/``."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from riverengine import Client, Config, InsertOpts, JobState, Migrator, UniqueOpts, parse_cron
from riverengine.insert import unique
from riverengine.queries.job_row import attempt_error
from riverengine.queries.leader import TOPIC_LEADERSHIP, leader_attempt_elect, leader_resign
from riverengine.queries.notification import TOPIC_CONTROL, TOPIC_INSERT
from riverengine.schema.line import bundled_migrations
from riverengine.types.errors import UniqueOptsError
from riverengine.work.go_json import encode_json, format_time
from riverengine.work.retry import MAX_DELAY, delay_after
from riverengine.work.snoozes import next_snooze_count
from tests.integration.riverengine.working import NoteArgs

FIXTURES = Path(__file__).parent / "fixtures"
NANOSECONDS = 1000
"""In a microsecond, the finest that Python's times hold."""


def _load(name: str) -> dict[str, Any]:
    fixture: dict[str, Any] = json.loads((FIXTURES / name).read_text(encoding="utf-8"))
    assert fixture["river"] == "0.51.1"
    return fixture


UNIQUE = _load("unique_keys.json")["cases"]
CRON = _load("cron_schedules.json")
PROTOCOL = _load("protocol_values.json")
SNOOZES = _load("snooze_counters.json")["cases"]
MIGRATIONS = _load("migrations.json")


@pytest.mark.parametrize("case", UNIQUE, ids=lambda case: case["name"])
def test_unique_keys(case: dict[str, Any]) -> None:
    options = case["options"]
    selected = case["selected_components"]
    by_args: Any = options["by_args"]
    if by_args and selected is not None:
        by_args = [tuple(path) for path in selected]
    opts = UniqueOpts(
        by_args=by_args,
        by_period=timedelta(microseconds=options["by_period_nanos"] // NANOSECONDS) or None,
        by_queue=options["by_queue"],
        by_state=options["by_state"],
        exclude_kind=options["exclude_kind"],
    )

    def key() -> tuple[str, int]:
        unique.validate(opts)
        digest = unique.unique_key(
            opts,
            kind=case["kind"],
            encoded_args=case["args"],
            queue=case["queue"],
            scheduled_at=datetime.fromisoformat(case["scheduled_at"] or case["now"]),
        )
        return digest.hex(), unique.state_mask(opts)

    if "rejected" in case:
        with pytest.raises(UniqueOptsError, match=case["rejected"].partition(",")[0]):
            key()
    else:
        assert key() == (case["sha256"], case["state_mask"])


def test_there_are_as_many_unique_cases_as_the_contract_names() -> None:
    named = [case["name"] for case in UNIQUE]
    assert len(named) == len(set(named)) >= 45
    assert sum("rejected" in case for case in UNIQUE) == 9


@pytest.mark.parametrize(
    "case", CRON["valid"], ids=lambda case: f"{case['expression']}|{case.get('zone', case['from'])}"
)
def test_cron_schedules(case: dict[str, Any]) -> None:
    schedule = parse_cron(case["expression"])
    at: datetime | None = datetime.fromisoformat(case["from"])
    assert at is not None
    offset = at.utcoffset()
    if "zone" in case:
        at = at.astimezone(ZoneInfo(case["zone"]))
    found = []
    for _ in range(5):
        at = schedule.next(at)
        if at is None:
            break
        assert "zone" in case or at.utcoffset() == offset
        found.append(at)
    # As text: Python calls times of a repeated hour unequal to those of other zones.
    assert [at.isoformat() for at in found] == [
        datetime.fromisoformat(text).isoformat() for text in case["next"]
    ]


@pytest.mark.parametrize("expression", CRON["invalid"])
def test_invalid_cron_expressions(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_cron(expression)


def test_cron_covers_what_the_contract_names() -> None:
    assert len(CRON["valid"]) >= 36 + 9
    assert len(CRON["invalid"]) == 21


@pytest.mark.parametrize("bounds", PROTOCOL["retries"], ids=lambda bounds: bounds["errors"])
def test_retry_bounds(bounds: dict[str, int]) -> None:
    for jitter, expected in ((-0.1, bounds["shortest_ns"]), (0.1, bounds["longest_ns"])):
        delay = delay_after(bounds["errors"], jitter=jitter)
        nanoseconds = delay // timedelta(microseconds=1) * NANOSECONDS
        # Beyond 2^53 ns the bounds themselves are rounded to a double's precision.
        assert nanoseconds == pytest.approx(expected, rel=1e-15, abs=NANOSECONDS)
        assert delay <= MAX_DELAY


def test_state_bits() -> None:
    assert {str(state): bit for state, bit in unique.STATE_BITS.items()} == PROTOCOL["state_bits"]
    states = [JobState(state) for state in PROTOCOL["default_unique_states"]]
    assert unique.state_mask(UniqueOpts(by_args=True)) == unique.state_mask(
        UniqueOpts(by_args=True, by_state=states)
    )


def test_stored_errors_are_read_and_written_as_go_does() -> None:
    text = PROTOCOL["attempt_error"]
    read = attempt_error(text)
    assert (
        f'{{"at":{encode_json(format_time(read.at))},"attempt":{read.attempt},'
        f'"error":{encode_json(read.error)},"trace":{encode_json(read.trace)}}}'
    ) == text


@pytest.mark.parametrize("key", PROTOCOL["metadata_keys"])
def test_metadata_keys_are_in_use(key: str) -> None:
    engine = Path(unique.__file__).parents[1]
    texts = [
        path.read_text(encoding="utf-8")
        for pattern in ("*.py", "*.sql")
        for path in engine.rglob(pattern)
    ]
    assert any(f'"{key}"' in text or f"'{key}'" in text for text in texts)


@pytest.mark.parametrize("case", SNOOZES, ids=lambda case: case["metadata"])
def test_snooze_counters(case: dict[str, Any]) -> None:
    stored = json.loads(case["metadata"]).get("snoozes")
    assert next_snooze_count(stored) == case["snoozes"]


def test_migrations() -> None:
    ours = [(migration.version, migration.name) for migration in bundled_migrations()]
    theirs = [
        (migration["version"], migration["name"].replace("_", " "))
        for migration in MIGRATIONS["migrations"]
    ]
    assert ours == theirs


async def test_notifications(pool: asyncpg.Pool, empty_database: str) -> None:
    queue = "fixture_queue"
    expected = {
        each["name"]: (each["topic"], each["payload"]) for each in PROTOCOL["notifications"]
    }
    connection = await asyncpg.connect(empty_database)
    received: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def hear(_: object, __: int, channel: str, payload: object) -> None:
        received.put_nowait((channel.removeprefix("public."), str(payload)))

    async with asyncpg.create_pool(empty_database, min_size=1, max_size=3) as database:
        await Migrator(connection).migrate_up()
        for topic in (TOPIC_CONTROL, TOPIC_INSERT, TOPIC_LEADERSHIP):
            await connection.add_listener(f"public.{topic}", hear)
        client = Client(database, Config())
        await database.execute("INSERT INTO river_queue (name) VALUES ($1)", queue)

        async def resign() -> None:
            term = await leader_attempt_elect(
                database, schema=None, leader_id="fixture_leader", ttl=timedelta(minutes=1)
            )
            assert term is not None
            assert await leader_resign(database, schema=None, term=term)

        steps: dict[str, Any] = {
            "insert": lambda: client.insert(NoteArgs(), InsertOpts(queue=queue)),
            "cancel": lambda: client.job_cancel(1),
            "pause": lambda: client.queue_pause(queue),
            "pause_all": lambda: client.queue_pause("*"),
            "resume": lambda: client.queue_resume(queue),
            "resume_all": lambda: client.queue_resume("*"),
            "metadata_changed": lambda: client.queue_update(queue, metadata={"z": 1, "a": "é<&>"}),
            "request_resign": client.notify.request_resign,
            "resigned": resign,
        }
        assert set(expected) == set(steps)
        for name, act in steps.items():
            await act()
            async with asyncio.timeout(20):
                assert await received.get() == expected[name]
    await connection.close()


def test_the_clock_of_all_cases() -> None:
    clock = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
    assert {datetime.fromisoformat(case["now"]) for case in UNIQUE} == {clock}
