"""A mail server that keeps what it is sent.

Faults (one per message): ``reject`` (550 to the recipient), ``later`` (451), ``drop`` before the
message, ``accept_then_drop`` and ``accept_then_hang`` (``seconds``): the mail is taken, the answer
is not given.
"""

from __future__ import annotations

import asyncio
import re
import socket
from email import message_from_bytes
from email.policy import default as default_policy

from starlette.applications import Starlette

from v1consortium.simulators.control import control_route
from v1consortium.simulators.faults import Fault, FaultBoard
from v1consortium.simulators.store import Journal, Record, Store

_MAILS = "mails"
_FAULTS = frozenset({"reject", "later", "drop", "accept_then_drop", "accept_then_hang"})
_PATH = re.compile(rb"(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)
_MAX_LINE = 1024 * 1024


class SmtpSimulator:
    """Plain SMTP without TLS or login."""

    def __init__(self, journal: Journal) -> None:
        self._store = Store("smtp", journal)
        self._board = FaultBoard(names=_FAULTS, general=False)
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """The HTTP server of the switchboard."""
        return Starlette(routes=[control_route(self._store, self._board, tables=[_MAILS])])

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket."""
        self._server = await asyncio.start_server(self._session, sock=sock, limit=_MAX_LINE)

    async def stop(self) -> None:
        """Serve no more; sessions under way are cut."""
        if self._server is not None:
            self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._sessions.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _say(writer, "220 simulator ESMTP")
        recipients: list[str] = []
        fault: Fault | None = None
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                await _say(writer, "250-simulator\r\n250 8BITMIME")
            elif verb in (b"HELO", b"MAIL", b"NOOP", b"RSET"):
                recipients = [] if verb in (b"MAIL", b"RSET") else recipients
                await _say(writer, "250 OK")
            elif verb == b"RCPT":
                match = _PATH.search(line)
                address = match.group(1).decode() if match else ""
                fault = self._board.take(text=address)
                if fault is not None and fault.name in ("reject", "later"):
                    await _say(writer, "550 no" if fault.name == "reject" else "451 later")
                    continue
                recipients.append(address)
                await _say(writer, "250 OK")
            elif verb == b"DATA":
                if fault is not None and fault.name == "drop":
                    return
                await _say(writer, "354 go on")
                self._keep(await _read_data(reader), recipients)
                if fault is not None and fault.name.startswith("accept_then"):
                    if fault.name.endswith("hang"):
                        await asyncio.sleep(fault.number("seconds", 3600))
                    return
                await _say(writer, "250 OK")
            elif verb == b"QUIT":
                await _say(writer, "221 bye")
                return
            else:
                await _say(writer, "502 unknown")

    def _keep(self, data: bytes, recipients: list[str]) -> None:
        message = message_from_bytes(data, policy=default_policy)
        message_id = str(message["Message-ID"])
        part = message.get_body(("plain",))
        mail: Record = {
            "message_id": message_id,
            "to": recipients,
            "subject": str(message["Subject"]),
            "text": part.get_content() if part is not None else "",
        }
        self._store.put(_MAILS, message_id, mail)
        self._store.accept("mails", message_id)


async def _say(writer: asyncio.StreamWriter, line: str) -> None:
    writer.write(f"{line}\r\n".encode())
    await writer.drain()


async def _read_data(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
    return b"".join(lines)
