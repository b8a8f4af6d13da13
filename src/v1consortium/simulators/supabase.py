"""Supabase Auth's admin API, held to what was measured on the real server.

A violated unique constraint is 500 ``unexpected_failure``; an address that is seen to be taken is
422 ``email_exists``. The pause for hashing lies between looking and inserting, as in the original,
so parallel creates race.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from v1consortium.simulators.control import control_route
from v1consortium.simulators.faults import FaultBoard, FaultMiddleware
from v1consortium.simulators.store import Journal, Record, Store

JWT_SECRET = "simulated-secret-of-at-least-32-characters"  # noqa: S105 - guards nothing
HASHING_SECONDS = 0.02
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+")
_USERS = "users"


def sign_key(role: str, secret: str = JWT_SECRET) -> str:
    """An API key (HS256 JWT) with that role."""
    parts = [_b64(json.dumps(part).encode()) for part in ({"alg": "HS256"}, {"role": role})]
    signed = ".".join(parts)
    return f"{signed}.{_b64(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _role_of(token: str) -> str | None:
    """The role in a token of ours, or None."""
    signed, _, signature = token.rpartition(".")
    wanted = _b64(hmac.digest(JWT_SECRET.encode(), signed.encode(), hashlib.sha256))
    if not hmac.compare_digest(signature.encode(), wanted.encode()):
        return None
    payload = signed.rpartition(".")[2]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims.get("role"))


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": status, "error_code": code, "msg": message}, status_code=status)


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


class SupabaseSimulator:
    """Users of one project. Faults: the general ones."""

    def __init__(self, journal: Journal) -> None:
        self._store = Store("supabase", journal)
        self._board = FaultBoard()

    def app(self) -> Starlette:
        """The server, with and without the gateway's ``/auth/v1`` prefix."""
        routes = [
            Route("/admin/users", self._users, methods=["GET", "POST"]),
            Route("/admin/users/{user_id}", self._user, methods=["GET", "DELETE"]),
        ]
        return Starlette(
            routes=[
                control_route(self._store, self._board, tables=[_USERS]),
                Mount("/auth/v1", routes=routes),
                *routes,
            ],
            middleware=[Middleware(FaultMiddleware, board=self._board)],
        )

    async def _users(self, request: Request) -> Response:
        refusal = _refused(request)
        if refusal is not None:
            return refusal
        return await (self._create(request) if request.method == "POST" else self._list(request))

    async def _list(self, request: Request) -> Response:
        wanted = request.query_params.get("filter", "").casefold()
        users = [
            user
            for user in self._store.records(_USERS).values()
            if wanted in str(user["email"]).casefold()
        ]
        return JSONResponse(
            {"users": users, "aud": "authenticated"}, headers={"x-total-count": str(len(users))}
        )

    async def _create(self, request: Request) -> Response:
        try:
            wish = await request.json()
        except ValueError:
            return _error(400, "bad_json", "Could not parse request body as JSON")
        email = str(wish.get("email") or "").strip().lower()
        phone = str(wish.get("phone") or "")
        if not email and not phone:
            return _error(400, "validation_failed", "An email or a phone is needed")
        if email and not _EMAIL.fullmatch(email):
            return _error(400, "validation_failed", "The email has an invalid format")
        user_id = _uuid(str(wish.get("id") or uuid4()))
        if user_id is None:
            return _error(400, "validation_failed", "The id is no UUID")
        if self._taken("email", email):
            return _error(422, "email_exists", "A user with this email is registered already")
        if self._taken("phone", phone):
            return _error(422, "phone_exists", "A user with this phone is registered already")
        await asyncio.sleep(HASHING_SECONDS)
        if user_id in self._store.records(_USERS) or self._taken("email", email):
            return _error(500, "unexpected_failure", "Database error creating new user")
        now = datetime.now(UTC).isoformat()
        user: Record = {
            "id": user_id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": email,
            "phone": phone,
            "email_confirmed_at": now if wish.get("email_confirm") else None,
            "app_metadata": {
                "provider": "email",
                "providers": ["email"],
                **(wish.get("app_metadata") or {}),
            },
            "user_metadata": wish.get("user_metadata") or {},
            "identities": [],
            "created_at": now,
            "updated_at": now,
            "is_anonymous": False,
        }
        self._store.put(_USERS, user_id, user)
        self._store.accept("users_by_id", user_id)
        self._store.accept("users_by_email", email)
        return JSONResponse(user)

    async def _user(self, request: Request) -> Response:
        refusal = _refused(request)
        if refusal is not None:
            return refusal
        user_id = _uuid(request.path_params["user_id"])
        if user_id is None:
            return _error(404, "validation_failed", "The id is no UUID")
        user = self._store.records(_USERS).get(user_id)
        if user is None:
            return _error(404, "user_not_found", "User not found")
        if request.method == "DELETE":
            self._store.delete(_USERS, user_id)
            self._store.accept("deleted_users_by_id", user_id)
            return JSONResponse({})
        return JSONResponse(user)

    def _taken(self, column: str, value: str) -> bool:
        users = self._store.records(_USERS).values()
        return bool(value) and any(user[column] == value for user in users)


def _refused(request: Request) -> Response | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return _error(401, "no_authorization", "This endpoint requires a Bearer token")
    role = _role_of(token)
    if role is None:
        return _error(403, "bad_jwt", "invalid JWT")
    if role != "service_role":
        return _error(403, "not_admin", "User not allowed")
    return None
