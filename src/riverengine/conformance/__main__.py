"""``python -m riverengine.conformance``: settings from the environment, answers on stdout.

``RIVER_CONFORMANCE_DATABASE_URL`` names the database; ``..._DATABASE_KIND``, if set, must be
``postgres``; ``..._APPLICATION_NAME`` is the name of every connection, which starts with
``river-conformance-``. Exit codes: 0 after the end of stdin, 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import BinaryIO

from riverengine.conformance.server import serve
from riverengine.conformance.session import Session

APPLICATION_NAME = "river-conformance-python"
"""The name of the connections where the harness asks for none."""

_PREFIX = "river-conformance-"
_EXIT_USAGE = 2


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Serve until stdin ends; returns the exit code."""
    logging.basicConfig(stream=sys.stderr, level=environment.get("LOG_LEVEL", "WARNING").upper())
    url = environment.get("RIVER_CONFORMANCE_DATABASE_URL", "")
    kind = environment.get("RIVER_CONFORMANCE_DATABASE_KIND", "postgres")
    name = environment.get("RIVER_CONFORMANCE_APPLICATION_NAME", "") or APPLICATION_NAME
    if not url.startswith(("postgres://", "postgresql://")):
        return _refuse("RIVER_CONFORMANCE_DATABASE_URL must be a postgres:// URL")
    if kind != "postgres":
        return _refuse(f"RIVER_CONFORMANCE_DATABASE_KIND {kind!r} is not offered, only postgres")
    if not name.startswith(_PREFIX):
        return _refuse(f"RIVER_CONFORMANCE_APPLICATION_NAME must start with {_PREFIX}")
    answers = sys.stdout.buffer
    # Whatever else prints, in workers or libraries, must not mix with the answers.
    with redirect_stdout(sys.stderr), asyncio.Runner() as runner:
        runner.run(_run(url, name, answers))
        answers.flush()
        if [task for task in asyncio.all_tasks(runner.get_loop()) if not task.done()]:
            # A job that ignores its cancellation would hold up the end of the process for ever.
            logging.shutdown()
            os._exit(0)
    return 0


async def _run(url: str, name: str, answers: BinaryIO) -> None:
    session = Session(url, name)
    await session.open()
    try:
        await serve(session, sys.stdin.buffer, answers)
    finally:
        await session.close()


def _refuse(message: str) -> int:
    sys.stderr.write(f"Error: {message}\n")
    return _EXIT_USAGE


if __name__ == "__main__":
    raise SystemExit(main())
