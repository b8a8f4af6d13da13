"""What code inside a job may record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from riverengine import ArgsEncodeError, client_from_context, metadata_set, record_output
from riverengine.types.job import Json
from riverengine.work import context
from riverengine.work.context import WorkContext, enter_work
from tests.unit.riverengine.test_resumable import ROW

T = TypeVar("T")


async def _inside(function: Callable[[], T]) -> tuple[T, dict[str, Json]]:
    """Call the function inside of a job: its result, and the metadata recorded."""
    work = WorkContext(ROW, client=None)

    async def run() -> T:
        enter_work(work)
        return function()

    # A task of its own, as every attempt has: the context must not leak.
    return await asyncio.create_task(run()), work.metadata


async def test_an_output_is_kept_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"answer": [42]}

    def record() -> None:
        record_output(value)
        value["answer"].append(43)

    _, metadata = await _inside(record)
    assert metadata == {"output": {"answer": [42]}}


async def test_an_output_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert context.MAX_OUTPUT_BYTES == 32 * 1024 * 1024
    monkeypatch.setattr(context, "MAX_OUTPUT_BYTES", 10)
    # Ten bytes with its quotes; the limit counts bytes, not characters.
    _, metadata = await _inside(lambda: record_output("äöüß"))
    assert metadata == {"output": "äöüß"}
    with pytest.raises(ValueError, match="11 bytes, but the limit is 10"):
        await _inside(lambda: record_output("123456789"))


async def test_metadata_must_be_json_and_not_river_s() -> None:
    with pytest.raises(ValueError, match="reserved"):
        await _inside(lambda: metadata_set("river:log", 1))
    with pytest.raises(ArgsEncodeError):
        await _inside(lambda: metadata_set("mine", float("inf")))


def test_outside_of_a_job_there_is_nothing_to_record() -> None:
    for function in (lambda: record_output(1), lambda: metadata_set("a", 1), client_from_context):
        with pytest.raises(RuntimeError, match="inside a running job"):
            function()
