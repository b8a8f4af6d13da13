"""A TCP proxy in front of PostgreSQL that delays, falls silent, or cuts, as tests tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 65536


class _Link:
    """One client's connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.silent = False
        self.server_ended = asyncio.Event()
        self.greeting = b""
        """The first bytes of the client: the start-up packet with user, database and settings."""

    def cut(self) -> None:
        """Reset both sides."""
        for side in (self.client, self.server):
            side.transport.abort()


class TcpProxy:
    """Forwards to the server of ``url``; :attr:`url` is the way through it.

    Silent links still read, so that the kernel acknowledges, and deliver nothing: not even the end
    of the connection. That is what a client sees of a machine behind a proxy that vanished.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._links: list[_Link] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: Callable[[_Link], bool] | None = None
        self._cut_at: bytes | None = None
        self._swallow_answer = False
        self._hold_at: tuple[bytes, ...] = ()
        self._arrives = asyncio.Event()
        self.delay = 0.0
        """Seconds by which every packet of the client is held back."""
        self.bytes_per_second: int | None = None
        """How fast answers arrive on each connection; None for at once."""
        self.held = 0
        """Packets held by :meth:`hold_at`."""
        self.accepted = 0
        """Connections taken since the start."""
        self.cuts = 0
        """Connections cut by :meth:`cut_at`."""

    @property
    def url(self) -> str:
        """The DSN of the same database through the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, _, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}"))

    @property
    def open_links(self) -> int:
        """Connections through the proxy at the moment."""
        return len(self._links)

    def fall_silent(self, of: str | None = None) -> None:
        """Deliver nothing any more, on open connections and fresh ones, until :meth:`recover`.

        of: only for connections whose application name contains this text.
        """
        wanted = b"" if of is None else of.encode()
        self._silent = lambda link: wanted in link.greeting
        for link in self._links:
            link.silent = link.silent or self._silent(link)

    def recover(self) -> None:
        """Deliver on fresh connections; those that fell silent stay so."""
        self._silent = None

    def cut_all(self) -> None:
        """Reset every connection; fresh ones work."""
        for link in list(self._links):
            link.cut()

    def cut_at(self, text: bytes, *, delivered: bool) -> None:
        """Reset the next connection on which a client sends ``text``.

        delivered: whether the server still gets the packet; its answer never arrives.
        """
        self._cut_at, self._swallow_answer = text, delivered

    def hold_at(self, *texts: bytes) -> None:
        """Hold the next packet with all of ``texts``, though its client goes.

        It arrives after :meth:`let_arrive`.
        """
        self._hold_at = texts
        self._arrives.clear()

    def let_arrive(self) -> None:
        """Deliver to the server what was held."""
        self._arrives.set()

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets a moment later

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            server_reader, server = await asyncio.open_connection(
                self._parts.hostname, self._parts.port
            )
            link = _Link(writer, server)
            self._links.append(link)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._forward(link, reader, server, from_client=True))
                    group.create_task(self._forward(link, server_reader, writer, from_client=False))
            finally:
                self._links.remove(link)
                link.cut()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _forward(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        from_client: bool,
    ) -> None:
        while data := await reader.read(_CHUNK):
            if from_client:
                if not link.greeting:
                    link.greeting = data
                if self._silent is not None and self._silent(link):
                    link.silent = True
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self._cut_at is not None and self._cut_at in data and not link.silent:
                    await self._cut(link, writer, data)
                    return
                if self._hold_at and all(text in data for text in self._hold_at):
                    self._hold_at = ()
                    self.held += 1
                    await self._arrives.wait()
            elif self.bytes_per_second is not None:
                await asyncio.sleep(len(data) / self.bytes_per_second)
            if not link.silent:
                writer.write(data)
                await writer.drain()
        if not from_client:
            link.server_ended.set()
        if link.silent:
            # The end is not delivered either.
            await asyncio.Event().wait()
        link.cut()

    async def _cut(self, link: _Link, server: asyncio.StreamWriter, data: bytes) -> None:
        self._cut_at = None
        self.cuts += 1
        if self._swallow_answer:
            link.silent = True
            server.write(data)
            await server.drain()
            # The server does what it was sent before it sees the end, and ends the connection.
            server.write_eof()
            await link.server_ended.wait()
        link.cut()
