"""Who the adapter says it is, and which lines it answers how."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

import asyncpg
import pytest

from tests.integration.riverengine.conformance.adapter import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Adapter,
    running_adapter,
)

METHODS = Path(__file__).with_name("methods.txt").read_text(encoding="utf-8").split()


async def test_handshake_lists_the_contract_s_methods_in_their_order(adapter: Adapter) -> None:
    handshake = await adapter.call("handshake")
    assert handshake["methods"] == METHODS
    assert len(METHODS) == 65


async def test_handshake_identifies_the_implementation(adapter: Adapter) -> None:
    handshake = await adapter.call("handshake")
    del handshake["methods"], handshake["capabilities"]
    assert handshake == {
        "adapter_version": 18,
        "application_name": "river-conformance-python",
        "backend": "postgres",
        "implementation": "python",
        "implementation_version": version("riverjobs"),
        "migration_lines": {"main": 8},
        "profile": "postgres-full-v1",
        "protocol_revision": 1,
    }


async def test_handshake_claims_every_complete_capability_and_not_the_planned_one(
    adapter: Adapter,
) -> None:
    capabilities = (await adapter.call("handshake"))["capabilities"]
    assert len(capabilities) == len(set(capabilities)) == 25
    assert "subscriber_lag" not in capabilities


async def test_every_connection_carries_the_name_the_harness_asks_for(
    conformance_url: str, database: asyncpg.Connection
) -> None:
    name = "river-conformance-python-7-1"
    async with running_adapter(conformance_url, RIVER_CONFORMANCE_APPLICATION_NAME=name) as adapter:
        assert (await adapter.call("handshake"))["application_name"] == name
        await adapter.call("reset")
        await adapter.call("start", client_id="named", max_workers=1)
        names = await database.fetch(
            "SELECT DISTINCT application_name FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'river-conformance-%-7-%'"
        )
        counted = (await adapter.call("connection_count"))["count"]
        await adapter.call("stop")
    assert [record[0] for record in names] == [name]
    assert counted >= 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", PARSE_ERROR),
        (b"{", PARSE_ERROR),
        (b'{"id":1,"jsonrpc":"2.0","method":"handshake","params":{"x":NaN}}', PARSE_ERROR),
        (b'"\xff"', PARSE_ERROR),
        (b"[" * 100_000, PARSE_ERROR),
        (b"[]", INVALID_REQUEST),
        (b"7", INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","method":"handshake"}', INVALID_REQUEST),
        (b'{"id":true,"jsonrpc":"2.0","method":"handshake"}', INVALID_REQUEST),
        (b'{"id":1.5,"jsonrpc":"2.0","method":"handshake"}', INVALID_REQUEST),
        (b'{"id":null,"jsonrpc":"2.0","method":"handshake"}', INVALID_REQUEST),
        (b'{"id":1,"method":"handshake"}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"1.0","method":"handshake"}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"2.0"}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"2.0","method":""}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"2.0","method":7}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"2.0","method":"handshake","params":7}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"2.0","method":"handshake","more":1}', INVALID_REQUEST),
        (b'{"id":1,"jsonrpc":"2.0","method":"handshake","params":[]}', INVALID_PARAMS),
        (b'{"id":1,"jsonrpc":"2.0","method":"hand_shake","params":{}}', METHOD_NOT_FOUND),
    ],
    ids=lambda value: repr(value)[:70] if isinstance(value, bytes) else str(value),
)
async def test_a_line_that_is_no_request_is_answered_with_its_error(
    adapter: Adapter, line: bytes, code: int
) -> None:
    answer = await adapter.ask(line)
    assert answer["error"]["code"] == code
    assert answer["jsonrpc"] == "2.0"
    readable = b'"id":1,' in line and code != PARSE_ERROR
    assert answer["id"] == (1 if readable else None)


async def test_params_may_be_left_out_and_an_id_may_be_text(adapter: Adapter) -> None:
    answer = await adapter.ask('{"id":"a","jsonrpc":"2.0","method":"listener_count"}')
    assert answer == {"id": "a", "jsonrpc": "2.0", "result": {"count": 0}}


@pytest.mark.parametrize(
    "environment",
    [
        {"RIVER_CONFORMANCE_DATABASE_URL": ""},
        {"RIVER_CONFORMANCE_DATABASE_URL": "sqlite:///x"},
        {"RIVER_CONFORMANCE_DATABASE_KIND": "sqlite"},
        {"RIVER_CONFORMANCE_APPLICATION_NAME": "psql"},
    ],
    ids=str,
)
async def test_wrong_settings_end_the_process_with_a_message(environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "riverengine.conformance"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"RIVER_CONFORMANCE_DATABASE_URL": "postgres://localhost/x", **environment},
    )
    output, errors = await process.communicate()
    assert process.returncode == 2
    assert output == b""
    assert errors.startswith(b"Error: RIVER_CONFORMANCE_")


async def test_logs_go_to_stderr_only(conformance_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "riverengine.conformance"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"RIVER_CONFORMANCE_DATABASE_URL": conformance_url, "LOG_LEVEL": "INFO"},
    )
    output, errors = await process.communicate(b"{\n")
    assert process.returncode == 0
    assert output.count(b"\n") == 1
    assert b"ParseError" in errors
