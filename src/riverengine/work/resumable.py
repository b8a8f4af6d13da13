"""Steps of a job that a later attempt does not repeat, and cursors inside a step.

Source: resumable.go and internal/riverplugin/plugin.go at v0.51.1 (protocol 2.4). Progress is kept
in the job's metadata, where Go River reads it as well: ``river:resumable_step`` names the last step
done, ``river:resumable_cursor`` is an object of cursors by step. It is written when an attempt ends
with an error, a snooze, a cancellation or the client's stop, and never after success.

One deviation: a step that fails raises, so that the code behind it does not run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from riverengine.types.errors import (
    ArgsDecodeError,
)
from riverengine.types.go_quote import quoted
from riverengine.types.job import Json
from riverengine.types.work_errors import (
    ResumableCursorError,
    ResumableStepNameError,
    ResumableStepNotFoundError,
    ResumableUsageError,
    ResumableValueError,
)
from riverengine.work.args import decode_args
from riverengine.work.context import WorkContext, work_context
from riverengine.work.go_json import RawJson, encode_json
from riverengine.work.json_text import object_members

CursorT = TypeVar("CursorT")
ValueT = TypeVar("ValueT")

STEP_KEY = "river:resumable_step"
CURSOR_KEY = "river:resumable_cursor"
VALUE_KEY = "riverengine:step_values"
"""An object of the values of steps; not a key of River's."""

_PREFIX = '"river:resumable_'


@dataclasses.dataclass(slots=True)
class ResumableState:
    """How far one attempt got, beside what the attempts before it left.

    resume_step: the last step done by earlier attempts, "" for none.  cursors: by step, as stored.
    pending: steps with a saved cursor that must be reached, when no step was done before.  values:
    by step, of those that keep one.
    """

    resume_step: str = ""
    cursors: dict[str, RawJson] = dataclasses.field(default_factory=dict)
    pending: list[str] = dataclasses.field(default_factory=list)
    is_resumed: bool = True
    completed_step: str = ""
    cursors_changed: bool = False
    error: BaseException | None = None
    values: dict[str, RawJson] = dataclasses.field(default_factory=dict)
    names: set[str] = dataclasses.field(default_factory=set)
    is_in_step: bool = False
    step_name: str = ""


async def resumable_step(name: str, step: Callable[[], Awaitable[object]]) -> None:
    """Run ``step``, unless an earlier attempt of the job completed it.

    name: unique in the worker.  What the step raises goes on to the caller and fails the attempt;
    no later step runs, even if the caller swallows it.  Raises ``ResumableError`` for a repeated
    name or a step inside a step, ``RuntimeError`` outside of a job.
    """
    state = _plain_step(name)
    if state is not None:
        with _running(state, name):
            await step()


def resumable_step_sync(name: str, step: Callable[[], object]) -> None:
    """:func:`resumable_step` for workers that are plain functions."""
    state = _plain_step(name)
    if state is not None:
        with _running(state, name):
            step()


async def resumable_step_value(
    name: str, step: Callable[[], Awaitable[ValueT]], value_type: type[ValueT]
) -> ValueT:
    """Run ``step`` and keep what it returns: later attempts get it without running the step.

    value_type: a scalar, collection, dataclass, msgspec struct or pydantic model; the value is
    returned as decoded from JSON, in every attempt alike.  Otherwise as :func:`resumable_step`; a
    step that was done without keeping its value, by an older release or in Go, raises
    ``ResumableValueError``.  Beyond Go River, which keeps no values.
    """
    state = _plain_step(name)
    if state is not None:
        with _running(state, name):
            state.values[name] = encode_cursor(await step())
    return _value(name, value_type)


def resumable_step_value_sync(
    name: str, step: Callable[[], ValueT], value_type: type[ValueT]
) -> ValueT:
    """:func:`resumable_step_value` for workers that are plain functions."""
    state = _plain_step(name)
    if state is not None:
        with _running(state, name):
            state.values[name] = encode_cursor(step())
    return _value(name, value_type)


async def resumable_step_cursor(
    name: str,
    step: Callable[[CursorT], Awaitable[object]],
    initial: CursorT,
    *,
    cursor_type: type[CursorT] | None = None,
) -> None:
    """Run ``step`` with the cursor an earlier attempt saved in it, or with ``initial``.

    The step records how far it got with :func:`resumable_set_cursor`.  cursor_type: what saved
    cursors are decoded to, a scalar, dataclass, msgspec struct or pydantic model; None for the type
    of ``initial``.  Otherwise as :func:`resumable_step`; a saved cursor that does not fit raises
    ``ResumableCursorError``.
    """
    entered = _cursor_step(name, initial, cursor_type)
    if entered is not None:
        state, cursor = entered
        with _running(state, name, consumes=True):
            await step(cursor)


def resumable_step_cursor_sync(
    name: str,
    step: Callable[[CursorT], object],
    initial: CursorT,
    *,
    cursor_type: type[CursorT] | None = None,
) -> None:
    """:func:`resumable_step_cursor` for workers that are plain functions."""
    entered = _cursor_step(name, initial, cursor_type)
    if entered is not None:
        state, cursor = entered
        with _running(state, name, consumes=True):
            step(cursor)


def resumable_set_cursor(cursor: object) -> None:
    """Record how far the current step got; stored if the attempt does not succeed.

    cursor: any JSON value, dataclass, msgspec struct or pydantic model.  A process that dies loses
    it: see :func:`resumable_set_step_cursor_tx`.  Raises ``ResumableUsageError`` outside of a step,
    ``ArgsEncodeError`` for what JSON cannot hold.
    """
    state = _state()
    if not state.step_name:
        raise ResumableUsageError(
            "river: resumable cursor can only be used within ResumableStepCursor"
        )
    state.cursors[state.step_name] = encode_cursor(cursor)
    state.cursors_changed = True


def encode_cursor(cursor: object) -> RawJson:
    """The cursor as it is stored."""
    dump = getattr(cursor, "model_dump", None)
    return RawJson(encode_json(dump(mode="json") if callable(dump) else cursor, "cursor"))


def resumable_state_in_step() -> ResumableState | None:
    """The current attempt's state inside of a step; None elsewhere."""
    state = _state()
    return state if state.step_name else None


# Around the whole attempt


def begin_resumable(context: WorkContext, metadata_json: str) -> None:
    """Read what earlier attempts left; costs jobs without such metadata next to nothing.

    Raises ``ResumableCursorError`` when the cursors are an array.
    """
    if _PREFIX in metadata_json:
        context.resumable = _stored_state(metadata_json)


def end_resumable(context: WorkContext, error: BaseException | None) -> BaseException | None:
    """Add progress to the attempt's metadata if it failed; returns what ends the attempt.

    error: what ended the work.  Without one it is what the steps have against success: a failed
    step whose error was swallowed, or an earlier attempt's step that was not reached.
    """
    state = context.resumable
    if state is None:
        return error
    raised = error if error is not None else _objection(state)
    # A step written before the saved cursor was reached would make that cursor unreachable.
    if raised is not None and not state.pending:
        if state.cursors_changed:
            context.metadata[CURSOR_KEY] = dict(state.cursors) or None
        if state.completed_step:
            context.metadata[STEP_KEY] = state.completed_step
            if state.values:
                context.metadata[VALUE_KEY] = dict(state.values)
    return raised


def _objection(state: ResumableState) -> BaseException | None:
    if state.error is not None:
        return state.error
    if not state.is_resumed:
        return ResumableStepNotFoundError(state.resume_step, has_cursor=False)
    if state.pending:
        return ResumableStepNotFoundError(state.pending[0], has_cursor=True)
    return None


def _stored_state(metadata_json: str) -> ResumableState:
    stored = object_members(metadata_json)
    step = json.loads(stored[STEP_KEY]) if STEP_KEY in stored else ""
    resume_step = step if isinstance(step, str) else ""
    text = stored.get(CURSOR_KEY, "null")
    if text.startswith("["):
        raise ResumableCursorError(
            "unmarshal resumable cursors: an array instead of an object", step_name=None
        )
    cursors = {name: RawJson(cursor) for name, cursor in object_members(text).items()}
    return ResumableState(
        resume_step=resume_step,
        cursors=cursors,
        pending=[] if resume_step else sorted(cursors),
        is_resumed=not resume_step,
        values={
            name: RawJson(value)
            for name, value in object_members(stored.get(VALUE_KEY, "null")).items()
        },
    )


# Around one step


def _state() -> ResumableState:
    context = work_context()
    if context.resumable is None:
        context.resumable = ResumableState()
    return context.resumable


def _enter(name: str) -> ResumableState:
    """Register a step; raises when it may not run."""
    state = _state()
    if state.error is not None:
        raise state.error
    if state.is_in_step:
        state.error = ResumableUsageError("river: resumable steps cannot be nested")
        raise state.error
    if name in state.names:
        state.error = ResumableStepNameError(name)
        raise state.error
    state.names.add(name)
    return state


def _plain_step(name: str) -> ResumableState | None:
    """Enter a step without cursor; None when it is done already."""
    state = _enter(name)
    if name in state.pending:
        state.error = ResumableCursorError(
            f"resumable cursor step {quoted(name)} requires a cursor step", step_name=name
        )
        raise state.error
    if state.is_resumed:
        return state
    _skip(state, name)
    return None


def _cursor_step(
    name: str, initial: CursorT, cursor_type: type[CursorT] | None
) -> tuple[ResumableState, CursorT] | None:
    """Enter a step with its cursor; None when it is done already."""
    state = _enter(name)
    if not state.is_resumed and not (_skip(state, name) and name in state.cursors):
        # With a cursor, the last step written was left in the middle and runs again.
        return None
    saved = state.cursors.get(name)
    cursor = initial
    if saved is not None and saved.text != "null":
        try:
            cursor = _decode(cursor_type or _type_of(initial), saved.text)
        except ArgsDecodeError as error:
            state.error = ResumableCursorError(
                f"unmarshal resumable cursor for step {quoted(name)}: {error.reason}",
                step_name=name,
            )
            raise state.error from error
    if name in state.pending:
        state.pending.remove(name)
    return state, cursor


def _value(name: str, value_type: type[ValueT]) -> ValueT:
    """The value of a step that is done."""
    state = _state()
    kept = state.values.get(name)
    try:
        if kept is None:
            raise ResumableValueError(name, "none was kept")
        try:
            return _decode(value_type, kept.text)
        except ArgsDecodeError as error:
            raise ResumableValueError(name, error.reason) from error
    except ResumableValueError as error:
        state.error = error
        raise


def _skip(state: ResumableState, name: str) -> bool:
    """Pass a step done by an earlier attempt; whether it was the last of them."""
    if name == state.resume_step:
        state.completed_step = name
        state.is_resumed = True
    return state.is_resumed


@contextmanager
def _running(state: ResumableState, name: str, *, consumes: bool = False) -> Iterator[None]:
    """Around a step's code. consumes: whether its success ends its cursor."""
    state.is_in_step = True
    state.step_name = name
    try:
        yield
        if state.error is not None:
            raise state.error
    except BaseException as error:
        state.error = error
        raise
    else:
        state.completed_step = name
        if consumes and state.cursors.pop(name, None) is not None:
            state.cursors_changed = True
    finally:
        state.is_in_step = False
        state.step_name = ""


def _type_of(initial: CursorT) -> type[CursorT]:
    """What to decode to when no type was given; anything for None."""
    return type(initial) if initial is not None else object  # type: ignore[return-value]


def _decode(cursor_type: type[CursorT], text: str) -> CursorT:
    if any(
        hasattr(cursor_type, mark)
        for mark in ("model_validate", "__struct_fields__", "__dataclass_fields__")
    ):
        return decode_args(cursor_type, text, kind="cursor")
    decoded: Json = decode_args(
        _holder(cursor_type),  # type: ignore[arg-type] # every class can be hashed
        f'{{"cursor":{text}}}',
        kind="cursor",
    )
    cursor: CursorT = decoded.cursor
    return cursor


@cache
def _holder(cursor_type: type) -> type:
    """A dataclass with one field, so that scalars and collections are decoded as args are."""
    # One for each type: the decoder of every class is kept.
    return dataclasses.make_dataclass("Cursor", [("cursor", cursor_type)])
