"""``v1consortium demo``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from v1consortium.cli.session import run


def demo(
    folder: Annotated[Path, typer.Option(help="where database and logs are kept")] = Path(".demo"),
) -> None:
    """Run both workflows against simulated providers, on an embedded PostgreSQL.

    Eight workflows, good ones and failing ones; exits with 0 only if each ended as it must.
    """
    from v1consortium.demo.run import run_demo

    # Whoever ends the demo, it ends what it started; a shell's background job ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    code = run(lambda: run_demo(folder))
    if code:
        raise typer.Exit(code)
