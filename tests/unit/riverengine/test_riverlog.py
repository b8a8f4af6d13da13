"""Size limits of the logs kept with a job: Go River's results."""

from __future__ import annotations

import json

import pytest

from riverengine import riverlog
from riverengine.riverlog import LogStream, appended


def _entry(attempt: int, log: str = "x") -> str:
    return f'{{"attempt":{attempt},"log":"{log}"}}'


def test_an_entry_is_appended_to_none_and_to_some() -> None:
    assert appended("[]", _entry(1), 100) == (f"[{_entry(1)}]", 0)
    # Stored text keeps its blanks and its digits.
    stored = '[{"log": "a", "n": 0.10, "attempt": 1}, {"attempt": 2}]'
    assert appended(stored, _entry(3), 1000) == (f"{stored[:-1]},{_entry(3)}]", 0)


def test_the_oldest_are_dropped_until_the_rest_fits() -> None:
    stored = f"[{_entry(1)}, {_entry(2)}, {_entry(3)}]"
    one = len(_entry(1))
    exact = 2 + (one + 2 + one) + 1 + one
    text, dropped = appended(stored, _entry(4), exact)
    assert (text, dropped) == (f"[{_entry(2)}, {_entry(3)},{_entry(4)}]", 1)
    assert len(text) == exact
    assert appended(stored, _entry(4), exact - 1) == (f"[{_entry(3)},{_entry(4)}]", 2)


def test_the_newest_is_kept_even_above_the_limit() -> None:
    assert appended(f"[{_entry(1)}]", _entry(2), 10) == (f"[{_entry(2)}]", 1)
    assert appended("[]", _entry(2), 10) == (f"[{_entry(2)}]", 0)


def test_sizes_are_bytes() -> None:
    stored = '[{"log":"ööö"}]'
    whole = len(f"[{stored[1:-1]},{_entry(1)}]".encode())
    assert appended(stored, _entry(1), whole)[1] == 0
    assert appended(stored, _entry(1), whole - 1)[1] == 1


def test_many_logs_are_trimmed_in_one_go() -> None:
    stored = json.dumps([{"attempt": number, "log": "x" * 100} for number in range(20_000)])
    text, dropped = appended(stored, _entry(20_000), 10_000)
    assert len(text) <= 10_000
    kept = json.loads(text)
    assert [each["attempt"] for each in kept] == list(range(dropped, 20_001))


def test_a_stream_keeps_its_first_bytes() -> None:
    stream = LogStream(5)
    for text in ("ab", "", "cd\n", "ef"):
        assert stream.write(text) == len(text)
    assert (stream.text(), stream.written) == ("abcd\n", 7)


def test_a_stream_cuts_no_character_in_two() -> None:
    stream = LogStream(4)
    print("aöö", file=stream)
    assert (stream.text(), stream.written) == ("aö", 6)


def test_a_stream_takes_what_postgresql_would_not() -> None:
    stream = LogStream(100)
    stream.write("a\x00b\udc80")
    assert stream.text() == "a\N{REPLACEMENT CHARACTER}b?"


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        riverlog.Middleware(max_size_bytes=0)
    with pytest.raises(ValueError, match="at least 1"):
        riverlog.Middleware.custom(print, max_total_bytes=-1)


def test_outside_of_a_job_there_is_no_logger() -> None:
    assert riverlog.logger_or_none() is None
    with pytest.raises(RuntimeError, match="Middleware installed"):
        riverlog.logger()
    event = {"event": "outside"}
    assert riverlog.structlog_processor(None, "info", event) == {"event": "outside"}
