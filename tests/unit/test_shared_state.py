"""What a test may leave changed in its process is seen, and nothing else is."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.shared_state import SharedState


@pytest.fixture
def _put_back() -> Iterator[None]:
    """Everything the changes below change."""
    handler = signal.getsignal(signal.SIGHUP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", os.environ.get("TZ", "UTC"))
        patch.setenv("RIVERJOBS_CHANGED", "no")
        patch.chdir(".")
        yield
    time.tzset()
    signal.signal(signal.SIGHUP, handler)
    logger = logging.getLogger("tests.changed")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


def _change_zone() -> None:
    os.environ["TZ"] = "Asia/Kathmandu"
    time.tzset()


CHANGES: dict[str, Callable[[], object]] = {
    "environment": lambda: os.environ.__setitem__("RIVERJOBS_CHANGED", "yes"),
    "folder": lambda: os.chdir("/"),
    "time zone": _change_zone,
    "signal": lambda: signal.signal(signal.SIGHUP, lambda *_: None),
    "level": lambda: logging.getLogger("tests.changed").setLevel(logging.DEBUG),
    "handler": lambda: logging.getLogger("tests.changed").addHandler(logging.StreamHandler()),
}


@pytest.mark.usefixtures("_put_back")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(change: Callable[[], object]) -> None:
    before = SharedState.now()
    assert SharedState.now() == before
    change()
    assert SharedState.now() != before


def test_values_of_the_environment_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVERJOBS_SECRET", "s3cret-value")
    shown = repr(SharedState.now())
    assert "RIVERJOBS_SECRET" in shown
    assert "s3cret-value" not in shown
