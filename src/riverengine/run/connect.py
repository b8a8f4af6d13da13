"""Opens connections beside a pool, with the pool's own settings."""

from __future__ import annotations

import socket

import asyncpg

_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
"""Seconds, number and milliseconds after which the kernel gives a silent link up, where it can."""


async def connect_beside(pool: asyncpg.Pool) -> asyncpg.Connection:
    """A connection to the pool's database that takes none of the pool's places.

    The caller closes it. It keeps no prepared statements, so that a transaction pooler may stand in
    between. asyncpg offers no public way to read a pool's settings.
    """
    settings = {**pool._connect_kwargs, "statement_cache_size": 0}
    connection: asyncpg.Connection = await asyncpg.connect(*pool._connect_args, **settings)
    keep_alive(connection)
    return connection


def keep_alive(connection: asyncpg.Connection) -> None:
    """Let the kernel notice a dead link; behind a proxy that acknowledges it cannot."""
    sock = connection._transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
