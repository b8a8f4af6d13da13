"""Twilio's messages. It has no idempotency keys, like the original; the counters tell doubles."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from v1consortium.simulators.control import control_route
from v1consortium.simulators.faults import FaultBoard, FaultMiddleware
from v1consortium.simulators.store import Journal, Record, Store

ACCOUNT_SID = "AC00000000000000000000000000000000"
AUTH_TOKEN = "simulated"  # noqa: S105 - guards nothing
_MESSAGES = "messages"
_INVALID_NUMBER = "+15005550001"
"""Twilio's own number for "not a valid number"."""


class TwilioSimulator:
    """One account. Faults: the general ones."""

    def __init__(self, journal: Journal) -> None:
        self._store = Store("twilio", journal)
        self._board = FaultBoard()

    def app(self) -> Starlette:
        """The server."""
        path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        return Starlette(
            routes=[
                control_route(self._store, self._board, tables=[_MESSAGES]),
                Route(path, self._messages, methods=["GET", "POST"]),
            ],
            middleware=[Middleware(FaultMiddleware, board=self._board)],
        )

    async def _messages(self, request: Request) -> Response:
        login = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return JSONResponse({"code": 20003, "message": "Authenticate"}, status_code=401)
        if request.method == "POST":
            return self._send(dict(parse_qsl((await request.body()).decode())))
        wanted = request.query_params.get("To")
        found = [m for m in self._store.records(_MESSAGES).values() if m["to"] == wanted]
        return JSONResponse({"messages": found[::-1], "next_page_uri": None})

    def _send(self, form: dict[str, str]) -> Response:
        to, body = form.get("To", ""), form.get("Body", "")
        if not body:
            return JSONResponse({"code": 21602, "message": "no body"}, status_code=400)
        if not to.startswith("+") or to == _INVALID_NUMBER:
            return JSONResponse({"code": 21211, "message": "invalid number"}, status_code=400)
        message: Record = {
            "sid": f"SM{uuid4().hex}",
            "to": to,
            "from": form.get("From"),
            "body": body,
            "status": "queued",
            "date_created": format_datetime(datetime.now(UTC)),
        }
        self._store.put(_MESSAGES, message["sid"], message)
        self._store.accept("messages", to)
        return JSONResponse(message, status_code=201)
