"""The simulators themselves: their process, their switchboards, faults and what they keep."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.test_stripe import customer
from v1consortium.providers import Providers
from v1consortium.simulators.client import Simulators
from v1consortium.simulators.store import Journal, Store

PROVIDERS = ["supabase", "stripe", "quest", "twilio", "smtp"]


class Command:
    """``python -m v1consortium.simulators``, started as a user would."""

    def __init__(self, folder: Path) -> None:
        self.ports = folder / "ports.json"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "v1consortium.simulators", "--host", "127.0.0.1"),
                *("--ports-file", str(self.ports), "--journal", str(folder / "journal")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, dict[str, str]]:
        """What it printed, read up to the end of the document."""
        assert self.process.stdout is not None
        text = ""
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            text += line
            if line == "}\n":
                return dict(json.loads(text))


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    started = Command(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.kill()
    started.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_tells_its_addresses_and_ends_when_asked(
    command: Command, number: signal.Signals
) -> None:
    told = command.told()
    assert json.loads(command.ports.read_text(encoding="utf-8")) == told
    assert [path.name for path in command.ports.parent.glob("ports.json*")] == ["ports.json"]
    assert sorted(told["urls"]) == sorted(PROVIDERS)
    for url in told["urls"].values():
        assert httpx.get(f"{url}/_control", trust_env=False).status_code == 200
    command.process.send_signal(number)
    out, error = command.process.communicate(timeout=20)
    assert (command.process.returncode, out, error) == (0, "", "")


def test_a_request_that_hangs_does_not_hold_up_the_end(command: Command) -> None:
    url = command.told()["urls"]["stripe"]
    httpx.post(f"{url}/_control", json={"fault": "hold"}, trust_env=False)
    with httpx.Client(trust_env=False, timeout=1) as http, pytest.raises(httpx.ReadTimeout):
        http.get(f"{url}/v1/customers")
    command.process.terminate()
    command.process.communicate(timeout=20)
    assert command.process.returncode == 0


def test_what_was_accepted_outlives_a_kill(tmp_path: Path) -> None:
    first = Command(tmp_path)
    told = first.told()
    body = {"email": "ann@example.com"}
    headers = {"authorization": f"Bearer {told['env']['SUPABASE_SERVICE_ROLE_KEY']}"}
    with httpx.Client(trust_env=False, headers=headers) as http:
        assert http.post(f"{told['urls']['supabase']}/admin/users", json=body).status_code == 200
        first.process.kill()
        first.process.communicate()
        second = Command(tmp_path)
        try:
            url = second.told()["urls"]["supabase"]
            answer = http.post(f"{url}/admin/users", json=body)
            assert (answer.status_code, answer.json()["error_code"]) == (422, "email_exists")
            effects = http.get(f"{url}/_control").json()["effects"]
            assert effects["users_by_email"] == {"ann@example.com": 1}
        finally:
            second.process.kill()
            second.process.communicate()


def test_a_torn_line_ends_the_reading_of_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    store = Store("p", journal)
    store.put("t", "1", {"a": 1})
    store.accept("made", "k")
    journal.close()
    path.write_text(path.read_text(encoding="utf-8") + '{"provider":"p","op":"acc', "utf-8")
    again = Store("p", Journal(path))
    assert again.records("t") == {"1": {"a": 1}}
    assert again.effects() == {"made": {"k": 1}}
    assert Store("other", Journal(path)).effects() == {}


def test_each_provider_has_its_environment(simulators: Simulators) -> None:
    assert all(name == name.upper() for name in simulators.env)
    assert simulators.env["SUPABASE_URL"] == simulators.urls["supabase"]
    assert simulators.env["QUEST_URL"] == simulators.urls["quest"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "wish",
    [
        {"fault": "nonsense"},
        {"fault": "drop", "times": 0},
        {"fault": "drop", "times": "2"},
        {"fault": "drop", "match": {"colour": "red"}},
        {"fault": "drop", "match": "x"},
        {"action": "nonsense"},
        {},
        [],
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(
    simulators: Simulators, provider: str, wish: object
) -> None:
    url = f"{simulators.urls[provider]}/_control"
    answer = httpx.post(url, json=wish, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert simulators.armed(provider) == []


def test_the_client_tells_of_a_refused_wish(simulators: Simulators) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        simulators.arm("stripe", "nonsense")


async def test_a_fault_counts_down_and_fits_only_its_match(
    providers: Providers, simulators: Simulators
) -> None:
    assert providers.payments is not None
    simulators.arm("stripe", "status", times=2, status=503, match={"contains": "bob@example.com"})
    await customer(providers.payments)
    assert simulators.armed("stripe")[0]["times"] == 2
    for left in (1, 0):
        with pytest.raises(Exception, match="http_503"):
            await providers.payments.find_customer(email="bob@example.com", workflow_id="w")
        assert len(simulators.armed("stripe")) == bool(left)
    await providers.payments.find_customer(email="bob@example.com", workflow_id="w")


def test_faults_are_forgotten_alone_or_with_everything(simulators: Simulators) -> None:
    url = f"{simulators.urls['twilio']}/_control"
    simulators.arm("twilio", "drop", times=None)
    assert httpx.delete(url, params={"only": "faults"}, trust_env=False).status_code == 204
    assert simulators.armed("twilio") == []
    simulators.arm("twilio", "drop")
    simulators.reset()
    assert simulators.armed("twilio") == []


@pytest.mark.parametrize(("fault", "effects"), [("hold", 0), ("execute_then_hold", 1)])
async def test_a_held_request_waits_for_its_release(
    providers: Providers, simulators: Simulators, fault: str, effects: int
) -> None:
    assert providers.payments is not None
    simulators.arm("stripe", fault)
    making = asyncio.create_task(customer(providers.payments))
    await _until_held(simulators)
    assert simulators.count("stripe", "customers") == effects
    assert not making.done()
    simulators.release("stripe")
    assert await making == await customer(providers.payments)
    assert simulators.effects("stripe")["customers"] == {"w1": 1}
    assert simulators.held("stripe") == 0


async def test_a_reset_cuts_held_requests_before_they_act(
    providers: Providers, simulators: Simulators
) -> None:
    assert providers.payments is not None
    simulators.arm("stripe", "hold")
    making = asyncio.create_task(customer(providers.payments))
    await _until_held(simulators)
    simulators.reset()
    with pytest.raises(Exception, match="connection_lost"):
        await making
    assert simulators.count("stripe", "customers") == 0


async def test_a_held_request_acts_without_its_caller(
    providers: Providers, simulators: Simulators
) -> None:
    """A killed worker's request may still have its effect; the next one finds it by its key."""
    assert providers.payments is not None
    simulators.arm("stripe", "hold")
    making = asyncio.create_task(customer(providers.payments))
    await _until_held(simulators)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    simulators.release("stripe")
    async with asyncio.timeout(20):
        while True:
            if await asyncio.to_thread(simulators.count, "stripe", "customers"):
                break
            await asyncio.sleep(0.01)
    assert await customer(providers.payments)
    assert simulators.effects("stripe")["customers"] == {"w1": 1}


async def _until_held(simulators: Simulators) -> None:
    async with asyncio.timeout(20):
        while True:
            if await asyncio.to_thread(simulators.held, "stripe"):
                return
            await asyncio.sleep(0.01)


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from v1consortium.simulators.client import Simulators\n"
        "s = Simulators()\n"
        "print(s._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        # The second, when it ends between opening and reading.
        return False
    return not stat.rpartition(")")[2].lstrip().startswith("Z")
