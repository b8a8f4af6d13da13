"""Logs of each attempt, stored with the job and shown by River UI.

Install :class:`Middleware` on the client or a worker; inside the work :func:`logger` gives a logger
whose output is kept in the job's metadata under ``river:log``, an array of ``{attempt, log}``.
Source: riverlog/river_log.go at v0.51.1.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import TextIO

from riverengine.types.job import JobRow, Json
from riverengine.work.context import work_context
from riverengine.work.go_json import RawJson, encode_json
from riverengine.work.json_text import array_elements, object_members
from riverengine.work.middleware import WorkNext

LOG_KEY = "river:log"
MAX_SIZE_BYTES = 2 * 1024 * 1024
"""Default for one attempt's log; the rest is cut off."""
MAX_TOTAL_BYTES = 8 * 1024 * 1024
"""Default for all logs of a job; the oldest are dropped, the newest is always kept."""
MAX_TOTAL_BYTES_LIMIT = 64 * 1024 * 1024
"""Larger totals are lowered to this."""

_RECORD_MARK = "_riverlog"
_module_logger = logging.getLogger("riverengine.riverlog")


class LogStream(io.StringIO):
    """A text stream that keeps its first ``limit`` bytes, in UTF-8."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._kept = bytearray()
        self._limit = limit
        self.written: int = 0
        """Bytes written in all, kept or not."""

    def write(self, text: str, /) -> int:
        """Append; what goes beyond the limit is only counted."""
        # PostgreSQL stores neither NUL nor lone surrogates.
        encoded = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
        self.written += len(encoded)
        self._kept += encoded[: max(self._limit - len(self._kept), 0)]
        return len(text)

    def text(self) -> str:
        """What was kept, without a character that was cut in two."""
        return self._kept.decode(errors="ignore")


class _AttemptLog:
    """The log of one attempt, as the code inside of it finds it."""

    def __init__(self, stream: LogStream, handler: logging.Handler | None, level: int) -> None:
        self.stream = stream
        self.handler = handler
        self.is_open = True
        self.logger = logging.Logger("riverengine.job", level)
        if handler is not None:
            self.logger.addHandler(_Marking(self))
        # What the attempt logs appears among the process's logs as well, if they want it.
        self.logger.parent = logging.getLogger("riverengine.job")

    def keep(self, record: logging.LogRecord) -> None:
        """Write the record, unless the attempt is over."""
        if self.is_open and self.handler is not None:
            self.handler.handle(record)


_current: ContextVar[_AttemptLog | None] = ContextVar("riverengine_riverlog", default=None)


class _Marking(logging.Handler):
    """Keeps records of the attempt's own logger, and marks them as kept."""

    def __init__(self, log: _AttemptLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        setattr(record, _RECORD_MARK, True)
        self._log.keep(record)


class Handler(logging.Handler):
    """A handler of the standard library that adds what a job logs anywhere to the job's log.

    Add it once, to the root logger or to the loggers wanted. Records from outside of jobs, or of
    jobs without the middleware, are ignored. Works in threads that run plain workers.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to the log of the attempt that is running here."""
        log = _current.get()
        if log is not None and not hasattr(record, _RECORD_MARK):
            log.keep(record)


def logger() -> logging.Logger:
    """The logger of the attempt being worked.

    Its records are kept with the job, and go on to the logger ``riverengine.job``. Raises
    ``RuntimeError`` outside of a job with the middleware.
    """
    found = logger_or_none()
    if found is None:
        raise RuntimeError("no logger here; is riverlog.Middleware installed?")
    return found


def logger_or_none() -> logging.Logger | None:
    """The logger of the attempt being worked; None outside of a job with the middleware."""
    log = _current.get()
    return None if log is None or log.handler is None else log.logger


def structlog_processor(
    logger: object, method_name: str, event_dict: MutableMapping[str, Json]
) -> MutableMapping[str, Json]:
    """A structlog processor that adds each event to the log of the attempt running here.

    Place it before the renderer; the event goes on unchanged. structlog itself is not needed by
    this module.
    """
    log = _current.get()
    if log is not None and log.is_open:
        log.stream.write(_event_line(method_name, event_dict) + "\n")
    return event_dict


def _event_line(level: str, event: Mapping[str, Json]) -> str:
    moment = event.get("timestamp") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rest = " ".join(
        f"{key}={value!r}"
        for key, value in event.items()
        if key not in ("event", "timestamp", "level")
    )
    return f"{moment} {level.upper()} {event.get('event', '')} {rest}".rstrip()


def _default_handler(stream: TextIO) -> logging.Handler:
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    return handler


class Middleware:
    """Gives each attempt a log of its own and stores it when the attempt ends, however it ends."""

    def __init__(
        self,
        new_handler: Callable[[TextIO], logging.Handler] | None = None,
        *,
        level: int = logging.INFO,
        max_size_bytes: int = MAX_SIZE_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
    ) -> None:
        """new_handler: makes the handler that writes an attempt's records to the stream; None for
        lines of time, level and message.  level: of the logger that :func:`logger` gives.
        max_size_bytes: per attempt; the end is cut off.  max_total_bytes: of all the job's logs, at
        most 64 MiB; the oldest are dropped.
        """
        self._new_handler: Callable[[TextIO], logging.Handler] | None = (
            new_handler or _default_handler
        )
        self._bind: Callable[[TextIO], object] | None = None
        self._level = level
        self._set_limits(max_size_bytes, max_total_bytes)

    @classmethod
    def custom(
        cls,
        bind: Callable[[TextIO], object],
        *,
        max_size_bytes: int = MAX_SIZE_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
    ) -> Middleware:
        """For other logging libraries: ``bind`` is called at the begin of each attempt.

        It is handed the stream to write to, and puts a logger where the work finds it, usually
        into a context variable. :func:`logger` is not available then.
        """
        made = cls(max_size_bytes=max_size_bytes, max_total_bytes=max_total_bytes)
        made._new_handler, made._bind = None, bind
        return made

    def _set_limits(self, size: int, total: int) -> None:
        if size < 1 or total < 1:
            raise ValueError("max_size_bytes and max_total_bytes must be at least 1")
        self._max_size = size
        self._max_total = min(total, MAX_TOTAL_BYTES_LIMIT)

    async def work(self, job: JobRow, next_: WorkNext) -> None:
        """Run the job with a log, and store the log with the attempt's metadata."""
        stream = LogStream(self._max_size)
        handler = self._new_handler(stream) if self._new_handler is not None else None
        log = _AttemptLog(stream, handler, self._level)
        token = _current.set(log)
        try:
            if self._bind is not None:
                self._bind(stream)
            await next_()
        finally:
            log.is_open = False
            _current.reset(token)
            if stream.written:
                self._store(job, stream)

    def _store(self, job: JobRow, stream: LogStream) -> None:
        if stream.written > self._max_size:
            _module_logger.warning(
                "the log of job %d has %d bytes; only the first %d are kept",
                *(job.id, stream.written, self._max_size),
            )
        entry = encode_json({"attempt": job.attempt, "log": stream.text()}, LOG_KEY)
        kept = object_members(job.metadata_json).get(LOG_KEY, "[]")
        if not kept.startswith("["):
            _module_logger.error("the log of job %d is lost: %s is no array", job.id, LOG_KEY)
            return
        text, dropped = appended(kept, entry, self._max_total)
        if dropped:
            _module_logger.warning(
                "the logs of job %d exceed %d bytes; the oldest %d are dropped",
                *(job.id, self._max_total, dropped),
            )
        work_context().metadata[LOG_KEY] = RawJson(text)


def appended(array: str, entry: str, max_total_bytes: int) -> tuple[str, int]:
    """The JSON array with one more entry, and how many of the oldest were dropped for it.

    Sizes are of the stored text, blanks between entries included. The new entry is always kept.
    """
    bounds = array_elements(array)
    size = len(entry.encode()) + 2
    kept = len(array[bounds[0][0] : bounds[-1][1]].encode()) if bounds else 0
    for first, (start, _) in enumerate(bounds):
        if size + 1 + kept <= max_total_bytes:
            return f"[{array[start : bounds[-1][1]]},{entry}]", first
        if first + 1 < len(bounds):
            kept -= len(array[start : bounds[first + 1][0]].encode())
    return f"[{entry}]", len(bounds)
