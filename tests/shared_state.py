"""What the tests of one process share: a test must leave all of it as it was."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_OUR_LOGGERS = {"", "riverengine", "riverjobs", "v1consortium", "tests"}


@dataclass(frozen=True)
class SharedState:
    """The state at one moment; equal when nothing was changed."""

    environment: Mapping[str, int]
    folder: str
    time_zone: Sequence[str]
    import_path: Sequence[str]
    signals: Mapping[signal.Signals, object]
    loggers: Mapping[str, tuple[object, ...]]

    @staticmethod
    def now() -> SharedState:
        """The state as it is."""
        handled = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
        return SharedState(
            environment=dict(_environment()),
            folder=str(Path.cwd()),
            time_zone=time.tzname,
            import_path=tuple(sys.path),
            signals={number: signal.getsignal(number) for number in handled},
            loggers=dict(_loggers()),
        )


def _environment() -> Iterator[tuple[str, int]]:
    # Hashes, since a failure prints them and some values are secrets.
    for name, value in os.environ.items():
        # pytest itself tells there which test runs.
        if name != "PYTEST_CURRENT_TEST":
            yield name, hash(value)


def _loggers() -> Iterator[tuple[str, tuple[object, ...]]]:
    """How the root logger and ours are set up."""
    for name, logger in [("", logging.getLogger()), *logging.Logger.manager.loggerDict.items()]:
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _OUR_LOGGERS:
            # pytest's own come and go.
            handlers = [
                each for each in logger.handlers if type(each).__module__ != "_pytest.logging"
            ]
            if handlers or logger.level or logger.filters or logger.disabled:
                yield name, (logger.level, *handlers, *logger.filters, logger.disabled)
