"""Structured logs: one line per record, for people or for machines.

A record's ``fields`` (``logger.info("job ended", extra={"fields": {...}})``) become keys. Nothing
else of a record is printed than its time, level, logger, message, fields and a traceback without
values.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up_logs(level: str, form: Literal["console", "json"]) -> None:
    """Log to standard error from now on. level: a key of :data:`LEVELS`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in ("httpx", "httpcore", "asyncio", "stripe"):
        # These tell of every request; their debug level would tell of headers.
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        return json.dumps(entry, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message and ``key=value`` pairs."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        pairs = "".join(f" {name}={_plain(value)}" for name, value in _fields(record).items())
        return f"{_time(record)} {record.levelname.lower():7} {record.getMessage()}{pairs}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = getattr(record, "fields", None)
    fields: dict[str, object] = dict(given) if isinstance(given, Mapping) else {}
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        # An unknown error's text may quote private data: its type and frames say enough.
        fields["error_type"] = type(error).__name__
        fields["frames"] = [
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-8:]
        ]
    return fields


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return json.dumps(text) if any(char.isspace() for char in text) or not text else text
