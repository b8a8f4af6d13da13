"""Stripe's customers, payment methods and subscriptions, with real idempotency keys.

A key's first answer is stored, a refusal included, and replayed for the same request; another
request under it is refused, one while the first is under way is a conflict. The cards are Stripe's
own test cards: ``pm_card_visa`` pays, ``pm_card_chargeDeclined`` is refused when attached,
``pm_card_chargeCustomerFail`` when charged.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
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

API_KEY = "sk_test_simulated"
WORKING_SECONDS = 0.02
"""How long a write is under way: a second request under its key meets a conflict meanwhile."""
_CUSTOMERS, _METHODS = "customers", "payment_methods"
_SUBSCRIPTIONS, _KEYS = "subscriptions", "idempotency_keys"
_MONTH = 30 * 24 * 3600
_REFUSED_AT_ATTACH = "pm_card_chargeDeclined"
_REFUSED_AT_CHARGE = "pm_card_chargeCustomerFail"

_STORED = frozenset({"store_failure", "store_failure_after", "store_decline"})

Answer = tuple[int, Record]


class _RefusedError(Exception):
    def __init__(self, status: int, kind: str, code: str, **more: str) -> None:
        super().__init__(code)
        message = f"The simulator refuses: {code}"
        self.answer: Answer = (
            status,
            {"error": {"type": kind, "code": code, "message": message, **more}},
        )


class StripeSimulator:
    """One account.

    Faults: the general ones, and those of a write under a key, whose failure is stored and replayed
    as Stripe does: ``store_failure`` (a 500, nothing done), ``store_failure_after`` (a 500 although
    it was done) and ``store_decline`` (``code``: a card refused for that reason).
    """

    def __init__(self, journal: Journal) -> None:
        self._store = Store("stripe", journal)
        self._board = FaultBoard(names=_STORED)
        self._under_way: set[str] = set()

    def app(self) -> Starlette:
        """The server."""
        return Starlette(
            routes=[
                control_route(
                    self._store, self._board, tables=[_CUSTOMERS, _METHODS, _SUBSCRIPTIONS]
                ),
                Route("/v1/{path:path}", self._serve, methods=["GET", "POST", "DELETE"]),
            ],
            middleware=[Middleware(FaultMiddleware, board=self._board)],
        )

    async def _serve(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return _json((401, {"error": {"type": "invalid_request_error", "message": "no key"}}))
        body = (await request.body()).decode()
        key = request.headers.get("idempotency-key")
        if request.method != "POST" or key is None:
            return _json(self._answer(request, body))
        print_of = hashlib.sha256(f"{request.url.path}\n{body}".encode()).hexdigest()
        stored = self._store.records(_KEYS).get(key)
        if stored is not None:
            if stored["request"] != print_of:
                error = {"type": "idempotency_error", "message": "the key was used otherwise"}
                return _json((400, {"error": error}))
            return _json((stored["status"], stored["body"]), replayed=True)
        if key in self._under_way:
            error = {"type": "invalid_request_error", "code": "idempotency_key_in_use"}
            return _json((409, {"error": error}))
        self._under_way.add(key)
        try:
            await asyncio.sleep(WORKING_SECONDS)
            status, answer = self._write(request, body)
        finally:
            self._under_way.discard(key)
        # Stripe does not keep what failed its validation: the key may be used again.
        if status != 400:
            record = {"request": print_of, "status": status, "body": answer}
            self._store.put(_KEYS, key, record)
        return _json((status, answer))

    def _write(self, request: Request, body: str) -> Answer:
        fault = request.scope["state"].get("fault")
        name = fault.name if fault is not None else ""
        if name == "store_decline":
            return _declined(str(fault.options.get("code", "generic_decline"))).answer
        if name != "store_failure":
            answer = self._answer(request, body)
        if name in _STORED:
            return 500, {"error": {"type": "api_error", "message": "The simulator fails"}}
        return answer

    def _answer(self, request: Request, body: str) -> Answer:
        form = dict(parse_qsl(body, keep_blank_values=True))
        parts = request.path_params["path"].strip("/").split("/")
        try:
            match request.method, parts:
                case "POST", ["customers"]:
                    return 200, self._create_customer(form)
                case "GET", ["customers"]:
                    wanted = request.query_params.get("email")
                    return 200, _page(c for c in self._newest(_CUSTOMERS) if c["email"] == wanted)
                case "POST", ["customers", customer_id]:
                    return 200, self._update_customer(customer_id, form)
                case "GET", ["payment_methods", method_id]:
                    return 200, self._find(_METHODS, method_id)
                case "POST", ["payment_methods", method_id, "attach"]:
                    return 200, self._attach(method_id, form)
                case "POST", ["subscriptions"]:
                    return 200, self._subscribe(form)
                case "GET", ["subscriptions"]:
                    owner = request.query_params.get("customer")
                    return 200, _page(
                        s for s in self._newest(_SUBSCRIPTIONS) if s["customer"] == owner
                    )
                case "DELETE", ["subscriptions", subscription_id]:
                    return 200, self._cancel(subscription_id)
        except _RefusedError as refusal:
            return refusal.answer
        return 404, {"error": {"type": "invalid_request_error", "message": "unknown path"}}

    def _create_customer(self, form: dict[str, str]) -> Record:
        customer: Record = {
            "id": f"cus_{uuid4().hex[:14]}",
            "object": "customer",
            "email": form.get("email"),
            "metadata": _nested(form, "metadata"),
            "invoice_settings": {"default_payment_method": None},
            "created": int(time.time()),
        }
        self._store.put(_CUSTOMERS, customer["id"], customer)
        self._store.accept("customers", customer["metadata"].get("workflow_id", customer["id"]))
        return customer

    def _update_customer(self, customer_id: str, form: dict[str, str]) -> Record:
        customer = dict(self._find(_CUSTOMERS, customer_id))
        method = form.get("invoice_settings[default_payment_method]")
        if method is not None:
            if self._find(_METHODS, method)["customer"] != customer_id:
                raise _RefusedError(400, "invalid_request_error", "resource_missing")
            customer["invoice_settings"] = {"default_payment_method": method}
        self._store.put(_CUSTOMERS, customer_id, customer)
        return customer

    def _attach(self, method_id: str, form: dict[str, str]) -> Record:
        customer_id = form.get("customer", "")
        self._find(_CUSTOMERS, customer_id)
        if method_id == _REFUSED_AT_ATTACH:
            raise _declined()
        known = self._store.records(_METHODS).get(method_id)
        if known is not None and known["customer"] not in (None, customer_id):
            raise _RefusedError(400, "invalid_request_error", "payment_method_unexpected_state")
        if known is None and not method_id.startswith("pm_card_"):
            raise _RefusedError(404, "invalid_request_error", "resource_missing")
        # A test card stands for a fresh method of the customer, as at Stripe.
        own_id = method_id if known is not None else f"pm_{uuid4().hex[:14]}"
        method: Record = {
            "id": own_id,
            "object": "payment_method",
            "type": "card",
            "customer": customer_id,
            "card": {"brand": "visa", "last4": "4242"},
            "metadata": {"test_card": method_id},
        }
        self._store.put(_METHODS, own_id, method)
        return method

    def _subscribe(self, form: dict[str, str]) -> Record:
        customer = self._find(_CUSTOMERS, form.get("customer", ""))
        price = form.get("items[0][price]", "")
        if not price.startswith("price_"):
            raise _RefusedError(
                400, "invalid_request_error", "resource_missing", param="items[0][price]"
            )
        trial = int(form.get("trial_period_days", "0"))
        method_id = customer["invoice_settings"]["default_payment_method"]
        if not trial:
            if method_id is None:
                raise _RefusedError(400, "invalid_request_error", "resource_missing")
            card = self._store.records(_METHODS)[method_id]["metadata"]["test_card"]
            if card == _REFUSED_AT_CHARGE:
                raise _declined()
        now = int(time.time())
        metadata = _nested(form, "metadata")
        end = now + (trial * 24 * 3600 if trial else _MONTH)
        subscription: Record = {
            "id": f"sub_{uuid4().hex[:14]}",
            "object": "subscription",
            "customer": customer["id"],
            "status": "trialing" if trial else "active",
            "metadata": metadata,
            "created": now,
            "items": {
                "object": "list",
                "data": [{"id": f"si_{uuid4().hex[:14]}", "current_period_end": end}],
            },
        }
        self._store.put(_SUBSCRIPTIONS, subscription["id"], subscription)
        business_key = str(metadata.get("workflow_id", subscription["id"]))
        self._store.accept("subscriptions", business_key)
        if not trial:
            self._store.accept("payments", business_key)
        return subscription

    def _cancel(self, subscription_id: str) -> Record:
        subscription = {**self._find(_SUBSCRIPTIONS, subscription_id), "status": "canceled"}
        self._store.put(_SUBSCRIPTIONS, subscription_id, subscription)
        return subscription

    def _find(self, table: str, record_id: str) -> Record:
        found = self._store.records(table).get(record_id)
        if found is None:
            raise _RefusedError(404, "invalid_request_error", "resource_missing")
        return found

    def _newest(self, table: str) -> list[Record]:
        return list(self._store.records(table).values())[::-1]


def _declined(decline_code: str = "generic_decline") -> _RefusedError:
    return _RefusedError(402, "card_error", "card_declined", decline_code=decline_code)


def _nested(form: dict[str, str], name: str) -> Record:
    prefix = f"{name}["
    return {
        field[len(prefix) : -1]: value
        for field, value in form.items()
        if field.startswith(prefix) and field.endswith("]")
    }


def _page(records: Iterable[Record]) -> Record:
    return {"object": "list", "data": list(records), "has_more": False}


def _json(answer: Answer, *, replayed: bool = False) -> JSONResponse:
    status, body = answer
    headers = {"idempotent-replayed": "true"} if replayed else {}
    return JSONResponse(body, status_code=status, headers=headers)
