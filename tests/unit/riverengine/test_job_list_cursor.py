"""Cursors have Go River's bytes, and survive the way there and back."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverengine import CursorError, JobListCursor
from tests.unit.riverengine.test_outcome import ROW

GO_TEXT = (
    "eyJpZCI6NCwia2luZCI6ImV4cF9hIiwicXVldWUiOiJkZWZhdWx0Iiwic29ydF9maWVsZCI6ImlkIiwidGltZSI6I"
    "jAwMDEtMDEtMDFUMDA6MDA6MDBaIn0="
)
"""Printed by Go River 0.51.1."""

cursors = st.builds(
    JobListCursor,
    id=st.integers(-(2**63), 2**63 - 1),
    kind=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    queue=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    sort_field=st.sampled_from(["id", "finalized_at", "scheduled_at", "time"]),
    time=st.none() | st.datetimes(datetime(1, 1, 1, 0, 0, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


def test_go_s_text() -> None:
    cursor = JobListCursor(4, "exp_a", "default", "id")
    assert cursor.encode() == GO_TEXT
    assert JobListCursor.decode(GO_TEXT) == cursor


@given(cursors)
def test_a_cursor_survives_its_text(cursor: JobListCursor) -> None:
    assert JobListCursor.decode(cursor.encode()) == cursor


@given(cursors)
def test_the_standard_alphabet_is_read_too(cursor: JobListCursor) -> None:
    standard = cursor.encode().replace("-", "+").replace("_", "/")
    assert JobListCursor.decode(standard) == cursor


def test_the_text_uses_the_url_alphabet_and_go_s_escapes() -> None:
    cursor = JobListCursor(1, "k<>&~~~?", "q", "id")
    text = cursor.encode()
    assert not set(text) & {"+", "/"}
    decoded = JobListCursor.decode(text)
    assert decoded.kind == "k<>&~~~?"
    assert b"k\\u003c\\u003e\\u0026~" in urlsafe_b64decode(text)


def test_times_of_any_zone_and_precision_are_read() -> None:
    def read(time: str) -> datetime | None:
        return JobListCursor.decode(b64encode(f'{{"time":"{time}"}}'.encode()).decode()).time

    assert read("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read("2026-01-02T03:04:05.123456789+02:00") == datetime(
        *(2026, 1, 2, 3, 4, 5, 123456), tzinfo=timezone(timedelta(hours=2))
    )
    assert read("0001-01-01T00:00:00Z") is None


@pytest.mark.parametrize(
    "json",
    [
        "",
        "[]",
        "null",
        "nonsense",
        '{"id":"4"}',
        '{"id":1.5}',
        '{"id":true}',
        '{"id":9223372036854775808}',
        '{"kind":1}',
        '{"time":1}',
        '{"time":"yesterday"}',
        '{"time":"2026-01-02"}',
        '{"time":"2026-13-02T00:00:00Z"}',
        '{"time":"0001-01-01T00:00:00+01:00"}',
    ],
)
def test_nonsense_is_refused(json: str) -> None:
    with pytest.raises(CursorError):
        JobListCursor.decode(urlsafe_b64encode(json.encode()).decode())


@pytest.mark.parametrize("text", ["*", "é", "abc", "ab=c"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        JobListCursor.decode(text)


def test_a_job_s_cursor_has_no_text() -> None:
    with pytest.raises(CursorError):
        JobListCursor.from_job(ROW).encode()
