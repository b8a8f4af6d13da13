"""Durations of the command line, as Go reads and writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from riverengine.cli.durations import format_duration, parse_duration, truncated


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0s"),
        (1, "1µs"),
        (999, "999µs"),
        (1_000, "1ms"),
        (3_330, "3.33ms"),
        (100_000, "100ms"),
        (1_000_000, "1s"),
        (1_230_000, "1.23s"),
        (60_000_000, "1m0s"),
        (90_500_000, "1m30.5s"),
        (3_600_000_000, "1h0m0s"),
        (100 * 3_600_000_000 + 61_000_001, "100h1m1.000001s"),
        (-1_500_000, "-1.5s"),
    ],
)
def test_durations_are_written_and_read_back(micros: int, text: str) -> None:
    duration = timedelta(microseconds=micros)
    assert format_duration(duration) == text
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0", timedelta(0)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("1.s", timedelta(seconds=1)),
        ("+2us", timedelta(microseconds=2)),
        ("3µs2μs", timedelta(microseconds=5)),
        ("1500ns", timedelta(microseconds=1)),
        ("-1m", timedelta(minutes=-1)),
    ],
)
def test_other_ways_of_writing_are_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1 s", "1s x", "--1s", "1e3s", "١s", "."])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("micros", "cut"),
    [
        (999, 999),
        (1_000, 1_000),
        (3_339, 3_330),
        (1_000_000, 1_000_000),
        (1_000_001, 1_000_000),
        (1_239_999, 1_230_000),
    ],
)
def test_digits_nobody_reads_are_cut(micros: int, cut: int) -> None:
    assert truncated(timedelta(microseconds=micros)) == timedelta(microseconds=cut)
