"""The runner's own parts: what drives adapters, and what takes their database away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.conformance import adapter as driver
from tests.conformance.adapter import Adapter, AdapterError, AdapterGoneError, Program, RawJson
from tests.conformance.observer import Observer
from tests.conformance.proxy import FaultProxy

SCRIPT = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    answer = {"jsonrpc": "2.0", "id": request["id"]}
    match request["method"]:
        case "echo":
            answer["result"] = {"line": line}
        case "refuse":
            answer["error"] = {"code": -32002, "message": "no"}
        case "say":
            print("not JSON", flush=True)
            print("a diagnosis", file=sys.stderr, flush=True)
            answer["result"] = {}
        case "keep_silent":
            continue
        case "crash":
            sys.exit(3)
        case _:
            answer["result"] = {}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
async def script() -> AsyncIterator[Adapter]:
    """A program that is not an adapter of River, but talks like one."""
    adapter = Adapter(Program("script", [sys.executable, "-c", SCRIPT], "1"), "script")
    await adapter.open("postgresql://nowhere")
    yield adapter
    await adapter.kill()


async def test_requests_under_way_get_their_own_answers(script: Adapter) -> None:
    answers = await asyncio.gather(*[script.call("echo", number=number) for number in range(20)])
    for number, answer in enumerate(answers):
        assert f'"number": {number}}}' in answer["line"]


async def test_raw_json_is_sent_as_it_is(script: Adapter) -> None:
    answer = await script.call("echo", first=RawJson('{"b":1.0, "a":-0}'), second=RawJson("1e400"))
    assert '"first": {"b":1.0, "a":-0}, "second": 1e400' in answer["line"]


async def test_a_refusal_needs_the_right_reason(script: Adapter) -> None:
    assert (await script.refused("refuse", "not_found", "rejected")).reason == "rejected"
    with pytest.raises(AssertionError, match="rejected: no instead of not_found"):
        await script.refused("refuse", "not_found")
    with pytest.raises(AssertionError, match="passed"):
        await script.refused("echo", "not_found")
    with pytest.raises(AdapterError, match="rejected"):
        await script.call("refuse")


async def test_what_is_no_answer_is_kept_for_the_report(script: Adapter) -> None:
    await script.call("say")
    await script.close()
    assert sorted(script.diagnostics) == ["a diagnosis", "not an answer: b'not JSON\\n'"]


async def test_a_crash_fails_the_request_and_the_scenario(script: Adapter) -> None:
    with pytest.raises(AdapterGoneError, match="ended during crash"):
        await script.call("crash")
    with pytest.raises(AdapterGoneError, match="by itself with 3"):
        await script.settle()


async def test_silence_ends_with_the_process(
    script: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ANSWER_WITHIN", 0.2)
    with pytest.raises(AdapterGoneError, match="no answer to keep_silent"):
        await script.call("keep_silent")
    assert not script.alive
    await script.settle()
    with pytest.raises(AdapterGoneError):
        await script.call("echo")


async def test_the_proxy_takes_the_database_away_and_gives_it_back(database_url: str) -> None:
    async with FaultProxy(database_url) as proxy:
        connection = await asyncpg.connect(proxy.url, ssl=False)
        assert await connection.fetchval("SELECT 1") == 1
        proxy.take_down()
        with pytest.raises((OSError, asyncpg.InterfaceError, asyncpg.PostgresError)):
            await connection.fetchval("SELECT 1")
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await asyncpg.connect(proxy.url, ssl=False)
        await proxy.rejections(1)
        proxy.restore()
        connection = await asyncpg.connect(proxy.url, ssl=False)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_the_observer_hears_what_was_committed_before(database_url: str) -> None:
    async with Observer.open(database_url) as observer:
        before = await observer.next_transaction_id()
        async with observer.listen("river_insert") as listener:
            await observer.execute("SELECT pg_notify('public.river_insert', 'one')")
            assert await listener.until_marker() == ["one"]
            assert await listener.until_marker() == []
        await observer.execute("INSERT INTO river_queue (name) VALUES ('counted')")
        assert await observer.next_transaction_id() > before
