"""The candidate's descriptor says what the adapter does, by the rules of the suite's schema."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from riverengine import Json
from riverengine.conformance.__main__ import APPLICATION_NAME
from riverengine.conformance.contract import IMPLEMENTATION, PROFILE
from tests.integration.riverengine.conformance.adapter import Adapter, running_adapter

DESCRIPTOR = Path(__file__).parents[4] / "conformance" / "candidate.json"
CANDIDATE: Json = json.loads(DESCRIPTOR.read_text(encoding="utf-8"))
KNOWN = {"application_name", "build_command", "command", "implementation", "performance"} | {
    *("profiles", "release_build_command", "release_command", "restart_command"),
    *("start_options", "version"),
}
TUNING = ("elect_interval_ms", "rescuer_interval_ms", "scheduler_interval_ms")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def expanded(command: list[str], **environment: str) -> list[str]:
    """A command as the harness expands it."""
    return [
        _VARIABLE.sub(lambda match: environment.get(match[1]) or match[2] or "", argument)
        for argument in command
    ]


def test_the_descriptor_has_the_members_of_the_schema() -> None:
    assert CANDIDATE.keys() <= KNOWN
    assert {"application_name", "command", "implementation"} <= CANDIDATE.keys()
    assert CANDIDATE["application_name"] == APPLICATION_NAME
    assert re.fullmatch(r"river-conformance-[a-zA-Z0-9._-]+", APPLICATION_NAME)
    assert CANDIDATE["implementation"] == IMPLEMENTATION
    assert CANDIDATE["profiles"] == [PROFILE]
    assert sorted(CANDIDATE["start_options"]) == sorted(TUNING)


def test_a_name_of_the_harness_s_own_making_fits_postgresql() -> None:
    # The harness appends its process id and a number; PostgreSQL cuts names at 63 bytes.
    assert len(f"{APPLICATION_NAME}-4194304-9999") <= 63


@pytest.mark.parametrize("command", ["command", "restart_command"])
async def test_the_candidate_s_commands_start_the_adapter_anywhere(
    conformance_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert expanded(CANDIDATE[command])[0] == "python3"
    arguments = expanded(CANDIDATE[command], RIVERJOBS_PYTHON=sys.executable)
    monkeypatch.chdir(tmp_path)
    async with running_adapter(conformance_url, arguments) as adapter:
        assert (await adapter.call("handshake"))["implementation"] == "python"


@pytest.mark.parametrize("option", CANDIDATE["start_options"])
async def test_every_start_option_is_honoured(adapter: Adapter, option: str) -> None:
    await adapter.call("start", client_id="tuned", **{option: 20})
    await adapter.call("stop")
