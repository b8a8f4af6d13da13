"""Names this process among the clients of a database."""

from __future__ import annotations

import socket
from datetime import datetime

LOCKED = "_py"
"""Ends the ids that are held by a lock for as long as their process lives."""


def new_client_id(now: datetime, hostname: str | None = None, *, locked: bool = True) -> str:
    """River's form, host and start time, and for ids that will be locked the mark of it.

    hostname: None for this machine's.
    """
    host = (socket.gethostname() if hostname is None else hostname) or "unknown_host"
    safe = host.replace(".", "_").encode(errors="replace")[:60].decode(errors="ignore")
    return f"{safe}_{now:%Y_%m_%dT%H_%M_%S_%f}{LOCKED if locked else ''}"
