"""A TCP proxy before PostgreSQL that takes the database away from one adapter."""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit


class FaultProxy:
    """Forwards connections; while it is down, live ones are reset and new ones closed at once."""

    def __init__(self, database_url: str) -> None:
        self._parts = urlsplit(database_url)
        self._down = False
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._refused = asyncio.Condition()
        self.rejected = 0

    @property
    def url(self) -> str:
        """The DSN through the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))

    def take_down(self) -> None:
        """Cut what is connected and refuse what comes."""
        self._down = True
        for writer in list(self._open):
            writer.transport.abort()

    def restore(self) -> None:
        """Let connections pass again."""
        self._down = False

    async def rejections(self, number: int) -> None:
        """Wait until so many connections were refused."""
        async with asyncio.timeout(60), self._refused:
            await self._refused.wait_for(lambda: self.rejected >= number)

    async def __aenter__(self) -> FaultProxy:
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
        self.take_down()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._down:
            writer.transport.abort()
            async with self._refused:
                self.rejected += 1
                self._refused.notify_all()
            return
        self._open.add(writer)
        try:
            host, port = self._parts.hostname or "127.0.0.1", self._parts.port or 5432
            server_reader, server_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            self._open.discard(writer)
            return
        self._open.add(server_writer)
        if self._down:
            writer.transport.abort()
            server_writer.transport.abort()
        await asyncio.gather(
            self._forward(reader, server_writer), self._forward(server_reader, writer)
        )
        self._open -= {writer, server_writer}

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except (ConnectionError, OSError):
            target.transport.abort()
        else:
            target.close()
