"""What resumable steps skip, refuse and leave in metadata: Go River's results (protocol 2.4)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
import pydantic
import pytest

from riverengine import (
    ArgsEncodeError,
    JobCancel,
    JobRow,
    JobSnooze,
    JobState,
    ResumableCursorError,
    ResumableStepNameError,
    ResumableStepNotFoundError,
    ResumableUsageError,
    ResumableValueError,
    resumable_set_cursor,
    resumable_step,
    resumable_step_cursor,
    resumable_step_cursor_sync,
    resumable_step_sync,
    resumable_step_value,
    resumable_step_value_sync,
)
from riverengine.types.job import JobId
from riverengine.work.context import WorkContext, enter_work
from riverengine.work.decode import text_decoder
from riverengine.work.go_json import encode_json
from riverengine.work.resumable import begin_resumable, end_resumable

NOW = datetime(2026, 8, 7, 14, 32, 57, tzinfo=UTC)
ROW = JobRow(
    id=JobId(7),
    state=JobState.RUNNING,
    attempt=1,
    max_attempts=25,
    attempted_at=NOW,
    created_at=NOW,
    finalized_at=None,
    scheduled_at=NOW,
    priority=1,
    encoded_args="{}",
    attempted_by=("me",),
    errors=(),
    kind="note",
    metadata_json="{}",
    queue="default",
    tags=(),
    unique_key=None,
    unique_states=None,
)


class Attempt:
    """One attempt on a job with some metadata; keeps what ran and what it would store."""

    def __init__(self, metadata: str = "{}") -> None:
        self.ran: list[str] = []
        self.cursors: list[object] = []
        self.raised: BaseException | None = None
        self.context = WorkContext(dataclasses.replace(ROW, metadata_json=metadata), client=None)

    async def work(self, worker: Callable[[Attempt], Awaitable[None]]) -> Attempt:
        """Run the worker as the executor does."""

        async def run() -> None:
            enter_work(self.context)
            begin_resumable(self.context, self.context.row.metadata_json)
            ended: BaseException | None = None
            try:
                await worker(self)
            except BaseException as error:  # noqa: BLE001 - whatever ends the work
                ended = error
            ended = end_resumable(self.context, ended)
            if ended is not None:
                raise ended

        try:
            # A task of its own, as every attempt has: the context must not leak.
            await asyncio.create_task(run())
        except BaseException as error:  # noqa: BLE001 - kept for the test to look at
            self.raised = error
        return self

    @property
    def stored(self) -> str:
        """The metadata to merge, as text."""
        return encode_json(self.context.metadata)

    async def step(self, name: str, error: BaseException | None = None) -> None:
        """A plain step that fails with ``error``."""

        async def body() -> None:
            self.ran.append(name)
            if error is not None:
                raise error

        await resumable_step(name, body)

    async def cursor_step(
        self, name: str, sets: int | None = None, error: BaseException | None = None
    ) -> None:
        """A step with an integer cursor that sets it and fails with ``error``."""

        async def body(cursor: int) -> None:
            self.ran.append(name)
            self.cursors.append(cursor)
            if sets is not None:
                resumable_set_cursor(sets)
            if error is not None:
                raise error

        await resumable_step_cursor(name, body, 0)


async def test_success_stores_nothing() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("one")
        await attempt.cursor_step("two", sets=7)

    attempt = await Attempt().work(work)
    assert (attempt.raised, attempt.stored) == (None, "{}")


async def test_a_failed_step_leaves_the_last_one_done_and_a_retry_skips_it() -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.step("one")
        await attempt.step("two", ValueError("two failed"))
        await attempt.step("three")

    first = await Attempt().work(fail)
    assert first.ran == ["one", "two"]
    assert str(first.raised) == "two failed"
    assert first.stored == '{"river:resumable_step":"one"}'

    async def work(attempt: Attempt) -> None:
        for name in ("one", "two", "three"):
            await attempt.step(name)

    second = await Attempt(first.stored).work(work)
    assert second.ran == ["two", "three"]
    assert (second.raised, second.stored) == (None, "{}")


async def test_the_skipped_step_is_written_again_when_the_retry_fails_before_another() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("one")
        await attempt.step("two", ValueError("again"))

    attempt = await Attempt('{"river:resumable_step":"one"}').work(work)
    assert attempt.stored == '{"river:resumable_step":"one"}'


async def test_a_swallowed_error_still_fails_the_attempt_and_stops_later_steps() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("one")
        for name in ("two", "three"):
            with pytest.raises(ValueError, match="two failed"):
                await attempt.step(name, ValueError("two failed"))

    attempt = await Attempt().work(work)
    assert attempt.ran == ["one", "two"]
    assert str(attempt.raised) == "two failed"
    assert attempt.stored == '{"river:resumable_step":"one"}'


@pytest.mark.parametrize(
    "error",
    [
        ValueError("retry"),
        JobCancel("no use"),
        JobSnooze(timedelta(minutes=1)),
        asyncio.CancelledError(),
    ],
    ids=["error", "cancel", "snooze", "stop"],
)
async def test_the_first_steps_cursor_is_kept_however_the_attempt_fails(
    error: BaseException,
) -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.cursor_step("loop", sets=7, error=error)

    first = await Attempt().work(fail)
    assert first.stored == '{"river:resumable_cursor":{"loop":7}}'

    async def fail_later(attempt: Attempt) -> None:
        await attempt.cursor_step("loop")
        raise ValueError("later failure")

    second = await Attempt(first.stored).work(fail_later)
    assert second.cursors == [7]
    assert second.stored == '{"river:resumable_cursor":null,"river:resumable_step":"loop"}'


async def test_a_cursor_behind_a_step_resumes_there() -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.step("one")
        await attempt.cursor_step("two", sets=42, error=ValueError("two failed"))

    first = await Attempt().work(fail)
    assert first.stored == ('{"river:resumable_cursor":{"two":42},"river:resumable_step":"one"}')

    async def work(attempt: Attempt) -> None:
        await attempt.step("one")
        await attempt.cursor_step("two")
        await attempt.step("three")

    second = await Attempt(first.stored).work(work)
    assert (second.ran, second.cursors) == (["two", "three"], [42])
    assert (second.raised, second.stored) == (None, "{}")


async def test_the_last_step_done_runs_again_only_with_a_cursor_of_its_own() -> None:
    async def plain(attempt: Attempt) -> None:
        await attempt.step("one")

    async def with_cursor(attempt: Attempt) -> None:
        await attempt.cursor_step("one")

    both = '{"river:resumable_step":"one","river:resumable_cursor":{"one":3}}'
    assert (await Attempt(both).work(plain)).ran == []
    assert (await Attempt(both).work(with_cursor)).cursors == [3]
    assert (await Attempt('{"river:resumable_step":"one"}').work(with_cursor)).ran == []


async def test_a_cursor_of_a_plain_step_outlives_its_success_as_in_go() -> None:
    async def work(attempt: Attempt) -> None:
        async def body() -> None:
            resumable_set_cursor(5)

        await resumable_step("one", body)
        await attempt.step("two", ValueError("two failed"))

    attempt = await Attempt().work(work)
    assert attempt.stored == ('{"river:resumable_cursor":{"one":5},"river:resumable_step":"one"}')


async def test_other_cursors_keep_their_digits() -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.cursor_step("a", sets=1)
        await attempt.cursor_step("b", sets=2, error=ValueError("b failed"))

    kept = '"river:resumable_cursor": {"a": 1, "z": {"n": 0.12345678901234567890123456789}}'
    attempt = await Attempt('{"river:resumable_step": "a", ' + kept + "}").work(fail)
    assert attempt.stored == (
        '{"river:resumable_cursor":{"b":2,"z":{"n": 0.12345678901234567890123456789}},'
        '"river:resumable_step":"a"}'
    )


async def test_an_earlier_step_that_is_gone_fails_the_attempt() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("one")

    attempt = await Attempt('{"river:resumable_step":"gone"}').work(work)
    assert attempt.ran == []
    assert isinstance(attempt.raised, ResumableStepNotFoundError)
    assert str(attempt.raised) == 'river: resumable step "gone" not found in Worker'
    assert (attempt.raised.step_name, attempt.stored) == ("gone", "{}")


async def test_a_worker_without_steps_cannot_succeed_over_saved_progress() -> None:
    async def work(attempt: Attempt) -> None:
        return None

    attempt = await Attempt('{"river:resumable_step":"gone"}').work(work)
    assert isinstance(attempt.raised, ResumableStepNotFoundError)


async def test_a_saved_cursor_whose_step_is_gone_fails_and_is_kept() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("later")
        await attempt.cursor_step("new", sets=1)

    attempt = await Attempt('{"river:resumable_cursor":{"loop":0}}').work(work)
    assert attempt.ran == ["later", "new"]
    assert str(attempt.raised) == 'river: resumable cursor step "loop" not found in Worker'
    assert attempt.stored == "{}"


async def test_a_saved_cursor_needs_a_cursor_step() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("loop")

    attempt = await Attempt('{"river:resumable_cursor":{"loop":0}}').work(work)
    assert isinstance(attempt.raised, ResumableCursorError)
    assert str(attempt.raised) == 'river: resumable cursor step "loop" requires a cursor step'
    assert (attempt.ran, attempt.stored) == ([], "{}")


@pytest.mark.parametrize("resumed", ["", "two"], ids=["running", "skipping"])
async def test_a_name_cannot_be_used_twice(resumed: str) -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("one")
        await attempt.cursor_step("one")
        await attempt.step("two")

    attempt = await Attempt(encode_json({"river:resumable_step": resumed})).work(work)
    assert isinstance(attempt.raised, ResumableStepNameError)
    assert str(attempt.raised) == 'river: duplicate resumable step name "one"'
    assert attempt.ran == ([] if resumed else ["one"])
    assert attempt.stored == ("{}" if resumed else '{"river:resumable_step":"one"}')


@pytest.mark.parametrize("parent", ["parent", ""])
async def test_steps_cannot_be_nested(parent: str) -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.step("before")

        async def body(cursor: int) -> None:
            resumable_set_cursor(1)
            with pytest.raises(ResumableUsageError):
                await attempt.step("child")

        async def plain() -> None:
            await attempt.cursor_step("child")

        if parent:
            await resumable_step_cursor(parent, body, 0)
        else:
            await resumable_step(parent, plain)

    attempt = await Attempt().work(work)
    assert attempt.ran == ["before"]
    assert str(attempt.raised) == "river: resumable steps cannot be nested"
    cursor = '"river:resumable_cursor":{"parent":1},' if parent else ""
    assert attempt.stored == "{" + cursor + '"river:resumable_step":"before"}'


async def test_a_cursor_outside_of_a_step_is_refused() -> None:
    async def work(attempt: Attempt) -> None:
        resumable_set_cursor(1)

    attempt = await Attempt().work(work)
    assert isinstance(attempt.raised, ResumableUsageError)
    with pytest.raises(RuntimeError, match="inside a running job"):
        await resumable_step("one", _nothing)


async def _nothing() -> None:
    return None


@pytest.mark.parametrize("stored", ["[]", "[1]"])
async def test_an_array_of_cursors_fails_before_the_work(stored: str) -> None:
    async def work(attempt: Attempt) -> None:
        attempt.ran.append("work")

    attempt = await Attempt('{"river:resumable_cursor": ' + stored + "}").work(work)
    assert attempt.ran == []
    assert str(attempt.raised).startswith("river: unmarshal resumable cursors: ")


@pytest.mark.parametrize("stored", ["null", "7", '"x"', "true", "{}"])
async def test_other_values_than_objects_are_no_cursors(stored: str) -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.cursor_step("one")

    metadata = f'{{"river:resumable_step": null, "river:resumable_cursor": {stored}}}'
    attempt = await Attempt(metadata).work(work)
    assert (attempt.raised, attempt.cursors) == (None, [0])


async def test_a_cursor_of_another_type_fails_the_step() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.cursor_step("loop")

    attempt = await Attempt('{"river:resumable_cursor":{"loop":"seven"}}').work(work)
    assert isinstance(attempt.raised, ResumableCursorError)
    assert str(attempt.raised).startswith('river: unmarshal resumable cursor for step "loop": ')
    assert "seven" not in str(attempt.raised)
    assert attempt.ran == []


async def test_a_null_cursor_is_the_initial_one() -> None:
    async def work(attempt: Attempt) -> None:
        await attempt.cursor_step("loop")

    attempt = await Attempt('{"river:resumable_cursor":{"loop":null}}').work(work)
    assert (attempt.raised, attempt.cursors) == (None, [0])


@dataclass(frozen=True)
class Place:
    """A cursor as a dataclass."""

    page: int
    seen: tuple[str, ...] = ()


class Struct(msgspec.Struct, frozen=True):
    """A cursor as a msgspec struct."""

    page: int


class Model(pydantic.BaseModel):
    """A cursor as a pydantic model."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(frozen=True)
    page: int
    at: datetime


@pytest.mark.parametrize(
    ("initial", "later"),
    [
        (0, 9007199254740993),
        ("", "a<b"),
        (0.0, 7.5),
        (False, True),
        (Place(0), Place(3, ("x", "y"))),
        (Struct(page=0), Struct(page=3)),
        (Model(page=0, at=NOW), Model(page=3, at=NOW + timedelta(hours=1))),
        (NOW, NOW + timedelta(microseconds=1)),
    ],
    ids=["int", "str", "float", "bool", "dataclass", "msgspec", "pydantic", "datetime"],
)
async def test_cursors_come_back_as_they_were_set(initial: object, later: object) -> None:
    seen: list[object] = []

    async def body(cursor: object) -> None:
        seen.append(cursor)
        if cursor == initial:
            resumable_set_cursor(later)
            raise ValueError("once more")

    async def work(attempt: Attempt) -> None:
        await resumable_step_cursor("loop", body, initial)

    first = await Attempt().work(work)
    # As PostgreSQL gives jsonb back: other spaces, the same values.
    second = await Attempt(json.dumps(json.loads(first.stored))).work(work)
    assert second.raised is None
    assert seen == [initial, later]
    assert type(seen[1]) is type(later)


async def test_a_cursor_may_start_as_none() -> None:
    seen: list[Place | None] = []

    async def body(cursor: Place | None) -> None:
        seen.append(cursor)

    async def work(attempt: Attempt) -> None:
        await resumable_step_cursor("loop", body, None, cursor_type=Place)

    await Attempt().work(work)
    await Attempt('{"river:resumable_cursor":{"loop":{"page":3,"more":1}}}').work(work)
    assert seen == [None, Place(3)]


async def test_a_cursor_that_json_cannot_hold_is_refused_where_it_is_set() -> None:
    async def work(attempt: Attempt) -> None:
        async def body(cursor: float) -> None:
            resumable_set_cursor(float("nan"))

        await resumable_step_cursor("loop", body, 0.0)

    attempt = await Attempt().work(work)
    assert isinstance(attempt.raised, ArgsEncodeError)
    assert attempt.stored == "{}"


async def test_plain_functions_have_steps_too() -> None:
    seen: list[object] = []

    def body(cursor: int) -> None:
        seen.append(cursor)
        if cursor == 0:
            resumable_set_cursor(3)
            raise ValueError("once more")

    def steps() -> None:
        resumable_step_sync("one", lambda: seen.append("one"))
        resumable_step_cursor_sync("two", body, 0)

    async def work(attempt: Attempt) -> None:
        await asyncio.to_thread(steps)

    first = await Attempt().work(work)
    second = await Attempt(first.stored).work(work)
    assert second.raised is None
    assert seen == ["one", 0, 3]


async def test_the_value_of_a_step_is_kept_for_later_attempts() -> None:
    ran: list[str] = []

    async def work(attempt: Attempt) -> None:
        async def charge() -> Place:
            ran.append("charge")
            return Place(7, ("a", "b"))

        found = await resumable_step_value("charge", charge, Place)
        number = await asyncio.to_thread(resumable_step_value_sync, "count", lambda: 3, int)
        attempt.cursors.append((found, number))
        await attempt.step("ship", None if len(ran) == 2 else ValueError("no lorry"))

    first = await Attempt().work(work)
    assert first.stored == (
        '{"river:resumable_step":"count",'
        '"riverengine:step_values":{"charge":{"page":7,"seen":["a","b"]},"count":3}}'
    )
    second = await Attempt(first.stored).work(work)
    assert ran == ["charge"]
    assert first.cursors == second.cursors == [(Place(7, ("a", "b")), 3)]


async def test_decoders_of_values_are_kept_by_type_not_by_step() -> None:
    async def work(attempt: Attempt) -> None:
        for number in range(20):
            await resumable_step_value(f"step {number}", three, int)

    async def three() -> int:
        return 3

    await Attempt().work(work)
    kept = text_decoder.cache_info().currsize
    await Attempt().work(work)
    assert text_decoder.cache_info().currsize == kept


async def test_a_value_is_the_same_in_every_attempt() -> None:
    async def pair() -> object:
        return (1, 2)

    async def work(attempt: Attempt) -> None:
        attempt.cursors.append(await resumable_step_value("pair", pair, object))
        await attempt.step("next", ValueError("again"))

    first = await Attempt().work(work)
    second = await Attempt(first.stored).work(work)
    # As JSON gives it back, from the first attempt on.
    assert first.cursors == second.cursors == [[1, 2]]


@pytest.mark.parametrize("values", ["", '"riverengine:step_values": {"one": "x"}, '])
async def test_a_value_that_is_missing_or_odd_fails_the_attempt(values: str) -> None:
    async def one() -> int:
        return 1

    async def work(attempt: Attempt) -> None:
        with pytest.raises(ResumableValueError):
            await resumable_step_value("one", one, int)

    attempt = await Attempt("{" + values + '"river:resumable_step": "one"}').work(work)
    assert isinstance(attempt.raised, ResumableValueError)
    assert attempt.raised.step_name == "one"


async def test_a_value_json_cannot_hold_fails_its_step() -> None:
    async def odd() -> object:
        return {1, 2}

    async def work(attempt: Attempt) -> None:
        await attempt.step("before")
        await resumable_step_value("odd", odd, object)

    attempt = await Attempt().work(work)
    assert isinstance(attempt.raised, ArgsEncodeError)
    assert attempt.stored == '{"river:resumable_step":"before"}'
