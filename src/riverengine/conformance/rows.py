"""Jobs and queues in the form in which the suite compares them."""

from __future__ import annotations

import json
import re
from datetime import datetime

from riverengine.conformance.json_text import fits_float, write_json
from riverengine.types.insert import InsertResult
from riverengine.types.job import AttemptError, JobRow, Json
from riverengine.types.queue import Queue
from riverengine.work.go_json import RawJson, format_time

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_FRACTION = re.compile(r"\.(\d+)", re.ASCII)


def job_json(row: JobRow) -> RawJson:
    """A job with every field the suite knows.

    Args and metadata are the stored texts.  metadata: null where it is no object, or holds a number
    beyond a float's range.
    """
    states = row.unique_states
    plain = {
        "attempt": row.attempt,
        "attempted_at": time_json(row.attempted_at),
        "attempted_by": list(row.attempted_by),
        "created_at": time_json(row.created_at),
        "errors": [
            {
                "at": _error_time(error),
                "attempt": error.attempt,
                "error": error.error,
                "trace": error.trace,
            }
            for error in row.errors
        ],
        "finalized_at": time_json(row.finalized_at),
        "id": row.id,
        "kind": row.kind,
        "max_attempts": row.max_attempts,
        "priority": row.priority,
        "queue": row.queue,
        "scheduled_at": time_json(row.scheduled_at),
        "state": row.state.value,
        "tags": list(row.tags),
        "unique_key": None if row.unique_key is None else row.unique_key.hex(),
        "unique_states": None if states is None else sorted(state.value for state in states),
    }
    metadata = row.metadata_json
    if not metadata.startswith("{") or not fits_float(metadata):
        metadata = "null"
    rest = _ENCODER.encode(plain)[1:]
    return RawJson(f'{{"args":{row.encoded_args},"metadata":{metadata},{rest}')


def _error_time(error: AttemptError) -> str:
    """In UTC, with the nanoseconds Go writes."""
    text = format_time(error.at)
    fraction = _FRACTION.search(error.at_text)
    if fraction is None or error.at.year == 1:
        return text
    seconds = format_time(error.at.replace(microsecond=0)).removesuffix("Z")
    digits = fraction[1].rstrip("0")
    return f"{seconds}.{digits}Z" if digits else f"{seconds}Z"


def insert_result_json(result: InsertResult) -> Json:
    """One result of a batch."""
    return {
        "job": job_json(result.job),
        "unique_skipped_as_duplicate": result.unique_skipped_as_duplicate,
    }


def queue_json(queue: Queue) -> RawJson:
    """A queue with every field the suite knows."""
    metadata = queue.metadata_json
    return RawJson(
        write_json(
            {
                "created_at": time_json(queue.created_at),
                "metadata": RawJson(metadata if metadata.startswith("{") else "{}"),
                "name": queue.name,
                "paused_at": time_json(queue.paused_at),
                "updated_at": time_json(queue.updated_at),
            }
        )
    )


def time_json(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, without trailing zeros; None for an absent time."""
    return None if value is None else format_time(value)
