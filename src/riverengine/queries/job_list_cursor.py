"""Where a page of a list ended, as text that Go River reads and writes too.

Source: job_list_params.go (JobListCursor) at v0.51.1.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from datetime import UTC, datetime

from riverengine.types.errors import CursorError
from riverengine.types.job import JobRow, Json
from riverengine.work.go_json import encode_json

ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""Go's zero time: what a cursor holds where the list has no time."""

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\d*(Z|[+-]\d\d:\d\d)", re.ASCII
)
_TO_STANDARD = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class JobListCursor:
    """The last job of a page, for ``JobListParams(after=...)``.

    time: of the field the list was ordered by, to the microsecond; None where it is null, or where
    the order is by id.  Opaque to callers: keep it as :meth:`encode`'s text.
    """

    id: int
    kind: str
    queue: str
    sort_field: str
    time: datetime | None = None
    job: JobRow | None = field(default=None, repr=False)

    @classmethod
    def from_job(cls, job: JobRow) -> JobListCursor:
        """The place of a job, in whatever order the list it is used for has.

        It has no text, since its time depends on the list.
        """
        return cls(job.id, job.kind, job.queue, "", None, job)

    def encode(self) -> str:
        """The cursor's text, with Go River's bytes; raises ``CursorError`` for one of a job."""
        if self.job is not None:
            raise CursorError(
                "a cursor made of a job only has no text; take last_cursor of a JobListResult"
            )
        text = encode_json(
            {
                "id": self.id,
                "kind": self.kind,
                "queue": self.queue,
                "sort_field": self.sort_field,
                "time": self.time or ZERO_TIME,
            }
        )
        return urlsafe_b64encode(text.encode()).decode("ascii")

    @classmethod
    def decode(cls, text: str) -> JobListCursor:
        """The cursor of a text, from this library or from Go; raises ``CursorError``.

        Both alphabets of base64 are read: Go releases before 0.48 wanted the standard one.
        """
        try:
            value = json.loads(b64decode(text.translate(_TO_STANDARD), validate=True))
        except (Base64Error, ValueError, RecursionError) as error:
            raise CursorError(f"a cursor is base64 of JSON: {error}") from error
        if not isinstance(value, dict):
            raise CursorError("a cursor is a JSON object")
        job_id = value.get("id", 0)
        texts = [value.get(name, "") for name in ("kind", "queue", "sort_field")]
        if type(job_id) is not int or not -(2**63) <= job_id < 2**63:
            raise CursorError("a cursor's id is a 64-bit integer")
        if not all(isinstance(part, str) for part in texts):
            raise CursorError("a cursor's kind, queue and sort_field are texts")
        kind, queue, sort_field = texts
        return cls(job_id, kind, queue, sort_field, _time(value.get("time")))


def _time(value: Json) -> datetime | None:
    if value is None:
        return None
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise CursorError("a cursor's time is RFC 3339")
    try:
        time = datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CursorError(f"a cursor's time is out of range: {error}") from error
    return None if time == ZERO_TIME else time
