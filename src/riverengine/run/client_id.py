"""Names this process among the clients of a database."""

from __future__ import annotations

import socket
from datetime import datetime

MARK = "_py"
"""Ends the ids our clients give themselves: they have heartbeats, Go's have none."""


def new_client_id(now: datetime, hostname: str | None = None) -> str:
    """River's form, host and start time, and the mark of our clients.

    hostname: None for this machine's.
    """
    host = (socket.gethostname() if hostname is None else hostname) or "unknown_host"
    safe = host.replace(".", "_").encode(errors="replace")[:60].decode(errors="ignore")
    return f"{safe}_{now:%Y_%m_%dT%H_%M_%S_%f}{MARK}"
