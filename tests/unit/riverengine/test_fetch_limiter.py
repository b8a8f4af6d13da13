"""How soon one fetch follows another."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from riverengine.run.fetch_limiter import FetchLimiter


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("announced", "found", "took", "rest"),
    [
        (True, False, 0.002, 0.098),
        (False, False, 0.002, 0.0),
        (True, True, 0.002, 0.018),
        (False, True, 0.002, 0.018),
        (True, True, 0.05, 0.05),
        (True, True, 0.3, 0.0),
    ],
)
def test_a_fetch_is_followed_by_a_rest(
    announced: bool, found: bool, took: float, rest: float
) -> None:
    clock = HandClock()
    limiter = FetchLimiter(0.1, clock)
    assert limiter.delay() == 0
    limiter.begin(announced=announced)
    clock.seconds += took
    limiter.end(found=found)
    assert limiter.delay() == pytest.approx(rest)


def test_an_empty_poll_does_not_shorten_a_cooldown() -> None:
    clock = HandClock()
    limiter = FetchLimiter(0.1, clock)
    limiter.begin(announced=True)
    limiter.end(found=False)
    clock.seconds += 0.05
    limiter.begin(announced=False)
    limiter.end(found=False)
    assert limiter.delay() == pytest.approx(0.05)


def test_a_fetch_that_failed_is_followed_by_the_cooldown() -> None:
    clock = HandClock()
    limiter = FetchLimiter(0.1, clock)
    limiter.begin(announced=True)
    clock.seconds += 0.03
    assert limiter.delay() == pytest.approx(0.07)
