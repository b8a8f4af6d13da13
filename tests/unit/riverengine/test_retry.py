"""River's retry policy at every number of errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverengine.work.retry import MAX_DELAY, delay_after

NOW = datetime(2026, 11, 26, tzinfo=UTC)
JITTER = st.floats(-0.1, 0.1)


@given(st.integers(1, 10**6), JITTER)
def test_the_next_retry_is_later_and_within_the_cap(errors: int, jitter: float) -> None:
    delay = delay_after(errors, jitter=jitter)
    assert timedelta(0) < delay <= MAX_DELAY
    assert NOW + delay > NOW


@pytest.mark.parametrize("errors", [309, 310, 311, 10**6])
def test_no_number_of_errors_overflows_into_the_past(errors: int) -> None:
    assert delay_after(errors, jitter=0.1) == MAX_DELAY


@given(st.integers(1, 300))
def test_more_errors_wait_longer(errors: int) -> None:
    assert delay_after(errors + 1, jitter=0) > delay_after(errors, jitter=0)


@given(st.integers(1, 300), JITTER)
def test_the_jitter_is_a_tenth(errors: int, jitter: float) -> None:
    exact = delay_after(errors, jitter=0)
    assert abs(delay_after(errors, jitter=jitter) - exact) <= exact / 10 + timedelta(microseconds=1)
