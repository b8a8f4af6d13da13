"""Faults that a simulator is told to show, and the middleware that shows the general ones.

A fault is a JSON object sent to ``POST /_control``: ``fault`` names it, ``times`` says how often
(default 1, null for always), ``match`` restricts it by ``method``, ``path`` (a part of it) and
``contains`` (text in the address, the decoded body or the headers).

Before the request is carried out: ``status`` (with ``status``, ``headers``, ``body``), ``hang``
(``seconds``), ``drop``, ``reset``, ``slow`` (``seconds``, then as usual), ``hold`` (until the
action ``release``, then as usual). After it was carried out: ``execute_then_hold`` (its own answer
follows on ``release``), ``execute_then_status``, ``execute_then_hang``, ``execute_then_drop``,
``execute_then_reset``, ``execute_then_garbage``, ``execute_then_huge``. Other names belong to one
simulator, which finds the fault in ``scope["state"]["fault"]``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from riverengine.types.job import Json

GENERAL = frozenset(
    {"status", "hang", "drop", "reset", "slow", "hold", "execute_then_hold"}
    | {f"execute_then_{what}" for what in ("status", "hang", "drop", "reset", "garbage", "huge")}
)
HUGE_BYTES = 6 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Fault:
    """One armed fault; ``times`` counts down, None means always."""

    name: str
    times: int | None = 1
    match: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)

    def fits(self, *, method: str, path: str, text: str) -> bool:
        """Whether the fault is meant for this request."""
        return (
            self.match.get("method", method) == method
            and self.match.get("path", "") in path
            and self.match.get("contains", "") in text
        )

    def number(self, option: str, default: float) -> float:
        """A numeric option."""
        return float(self.options.get(option, default))


@dataclass(slots=True)
class _Barrier:
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    released: bool = False


class FaultBoard:
    """The armed faults of one simulator; ``names`` are those it knows besides the general ones."""

    def __init__(self, *, names: frozenset[str] = frozenset(), general: bool = True) -> None:
        self._names = names | GENERAL if general else names
        self._armed: list[Fault] = []
        self._barrier = _Barrier()
        self.held = 0
        """Requests waiting for :meth:`release`."""

    async def hold(self) -> bool:
        """Wait for :meth:`release`; False when the simulator was reset instead."""
        barrier = self._barrier
        self.held += 1
        try:
            await barrier.opened.wait()
        finally:
            self.held -= 1
        return barrier.released

    def release(self) -> None:
        """Let every held request go on; later ones wait for the next release."""
        self._open(released=True)

    def _open(self, *, released: bool) -> None:
        barrier, self._barrier = self._barrier, _Barrier()
        barrier.released = released
        barrier.opened.set()

    def arm(self, request: Mapping[str, Json]) -> None:
        """Arm a fault from its JSON form; raises ValueError when it makes no sense."""
        options = dict(request)
        name = options.pop("fault", None)
        times = options.pop("times", 1)
        match = options.pop("match", {})
        if name not in self._names:
            raise ValueError(f"unknown fault; known: {', '.join(sorted(self._names))}")
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError("times is a positive number or null")
        if not isinstance(match, dict) or not set(match) <= {"method", "path", "contains"}:
            raise ValueError("match knows method, path and contains")
        self._armed.append(Fault(name=name, times=times, match=match, options=options))

    def take(self, *, method: str = "", path: str = "", text: str = "") -> Fault | None:
        """The first fault meant for this request, counted down, or None."""
        for fault in self._armed:
            if fault.fits(method=method, path=path, text=text):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._armed.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Disarm everything and cut held requests: they must not act on what comes next."""
        self._armed.clear()
        self._open(released=False)

    def listing(self) -> list[Json]:
        """The armed faults in their JSON form."""
        return [
            {"fault": f.name, "times": f.times, "match": dict(f.match), **f.options}
            for f in self._armed
        ]


class FaultMiddleware:
    """Shows the general faults around an application; ``/_control`` is never faulty."""

    def __init__(self, app: ASGIApp, board: FaultBoard) -> None:
        self._app = app
        self._board = board

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_control"):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        address = scope["path"] + "?" + unquote_plus(scope["query_string"].decode("latin-1"))
        headers = "\n".join(value.decode("latin-1") for _, value in scope["headers"])
        decoded = body.decode("utf-8", "replace")
        fault = self._board.take(
            method=scope["method"],
            path=scope["path"],
            text="\n".join((address, headers, decoded, unquote_plus(decoded))),
        )
        scope.setdefault("state", {})["fault"] = fault
        replay = _replay(body, receive)
        name = fault.name if fault is not None else ""
        if fault is None or name not in GENERAL:
            await self._app(scope, replay, send)
            return
        if name == "slow":
            await asyncio.sleep(fault.number("seconds", 0.2))
            await self._app(scope, replay, send)
            return
        if name in ("hold", "execute_then_hold"):
            await self._hold(name, scope, replay, send)
            return
        if name.startswith("execute_then_"):
            await self._app(scope, replay, _discard)
        await _show(name.removeprefix("execute_then_"), fault, scope, receive, send)

    async def _hold(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []
        if name == "execute_then_hold":
            await self._app(scope, receive, _keep_in(answer))
        if not await self._board.hold():
            abort(scope, reset=False)
            await _disconnected(receive)
        elif name == "hold":
            await self._app(scope, receive, send)
        else:
            for message in answer:
                await send(message)


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message: Mapping[str, Json] = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _keep_in(answer: list[Message]) -> Send:
    async def keep(message: Message) -> None:
        answer.append(message)

    return keep


async def _discard(message: Message) -> None:
    """The answer that nobody gets."""


async def _show(what: str, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    if what in ("drop", "reset"):
        abort(scope, reset=what == "reset")
        await _disconnected(receive)
    elif what == "hang":
        try:
            async with asyncio.timeout(fault.number("seconds", 3600)):
                await _disconnected(receive)
        except TimeoutError:
            abort(scope, reset=False)
            await _disconnected(receive)
    elif what == "huge":
        await _answer(send, 200, {"content-type": "application/json"}, b" " * HUGE_BYTES)
    elif what == "garbage":
        await _answer(send, 200, {"content-type": "text/html"}, b"<html><p>Gateway & co")
    else:
        body = str(fault.options.get("body", "")).encode()
        headers = cast("dict[str, str]", fault.options.get("headers", {}))
        await _answer(send, int(fault.number("status", 500)), headers, body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    raw = [(name.lower().encode(), str(value).encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def abort(scope: Scope, *, reset: bool) -> None:
    """Cut the connection without an answer: by a reset, or by closing it."""
    transport: asyncio.Transport = scope["state"]["transport"]()
    if reset:
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
