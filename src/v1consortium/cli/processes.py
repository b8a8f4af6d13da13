"""``river_worker --processes N``: one parent that starts, watches and stops N workers."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import sys
from collections.abc import Sequence

logger = logging.getLogger("v1consortium")

_RESTART_PAUSE = 1.0
_PR_SET_PDEATHSIG = 1


class ProcessGroup:
    """Worker processes; one that ends by itself is started again, until a signal stops them all."""

    def __init__(self, arguments: Sequence[Sequence[str]]) -> None:
        """arguments: of each worker, without the program's own name."""
        self._arguments = arguments
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; 0 if every worker stopped cleanly then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._pass_on, number)
        codes = await asyncio.gather(
            *(self._keep(place, arguments) for place, arguments in enumerate(self._arguments))
        )
        return 0 if not any(codes) else 1

    def _pass_on(self, number: int) -> None:
        self._stopping.set()
        for child in self._children.values():
            if child.returncode is None:
                child.send_signal(number)

    async def _keep(self, place: int, arguments: Sequence[str]) -> int:
        """Keep one worker running; its exit code once all are to stop, or when it cannot start."""
        while True:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "v1consortium", "river_worker", *arguments),
                start_new_session=True,
                preexec_fn=_stop_with_parent,
            )
            self._children[place] = child
            if self._stopping.is_set():
                child.terminate()
            code = await child.wait()
            if self._stopping.is_set():
                return code
            logger.error("a worker ended", extra={"fields": {"place": place, "exit_code": code}})
            if code in (2, 3):
                # Wrong settings or no database: another try would end the same way.
                self._pass_on(signal.SIGTERM)
                return code
            await asyncio.sleep(_RESTART_PAUSE)


def _stop_with_parent() -> None:
    """In a new worker: be asked to stop when the parent is gone, however it ended (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
