"""Quest's order service: SOAP whose arguments and results are XML inside strings.

It has no duplicate check, like the original: the same order sent twice is two orders, and the
counters say so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4
from xml.etree.ElementTree import Element, SubElement, tostring

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from v1consortium.services.quest import ORDER_PATH
from v1consortium.services.quest_xml import (
    NAMESPACE,
    WireError,
    find,
    find_all,
    name_of,
    parse,
    parse_result,
    text_element,
    text_of,
)
from v1consortium.simulators.control import control_route
from v1consortium.simulators.faults import FaultBoard, FaultMiddleware
from v1consortium.simulators.store import Journal, Record, Store

USERNAME = "simulated"
PASSWORD = "simulated"  # noqa: S105 - guards nothing
LAB_ACCOUNT = "11223344"
_ORDERS = "orders"
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


class QuestSimulator:
    """One client's orders. Faults: the general ones, and ``failure`` (``id``): a refused order."""

    def __init__(self, journal: Journal) -> None:
        self._store = Store("quest", journal)
        self._board = FaultBoard(names=frozenset({"failure"}))

    def app(self) -> Starlette:
        """The server."""
        return Starlette(
            routes=[
                control_route(self._store, self._board, tables=[_ORDERS]),
                Route(ORDER_PATH, self._serve, methods=["POST"]),
            ],
            middleware=[Middleware(FaultMiddleware, board=self._board)],
        )

    async def _serve(self, request: Request) -> Response:
        try:
            body = find(parse(await request.body()), "Body")
            call = body[0] if body is not None else None
        except (WireError, IndexError):
            call = None
        if call is None:
            return _fault("Client", "no call in the envelope")
        operation = name_of(call)
        if (text_of(call, "username"), text_of(call, "password")) != (USERNAME, PASSWORD):
            return _result(operation, "Identifier not found")
        fault = request.scope["state"].get("fault")
        if fault is not None and fault.name == "failure":
            return _result(operation, _failure(str(fault.options.get("id", "100"))))
        match operation:
            case "CreateOrder":
                return _result(operation, self._create(text_of(call, "orderXml")))
            case "CancelOrder":
                return _result(operation, self._cancel(call))
            case "GetOrderDetails":
                return _result(operation, self._details(call))
        return _fault("Client", f"unknown operation {operation}")

    def _create(self, document: str) -> str:
        try:
            order = parse_result(document)
        except WireError:
            return _failure("INVALID_XML")
        reference = text_of(order, "ClientReferenceID")
        needed = ("CollectionSiteID", "FirstName", "LastName", "PrimaryID", "PrimaryPhone")
        if not reference or not all(text_of(order, name) for name in needed):
            return _failure("MISSING_FIELD")
        record: Record = {
            "quest_order_id": str(uuid4().int % 10**12),
            "reference_test_id": uuid4().hex[:10].upper(),
            "client_reference_id": reference,
            "site": text_of(order, "CollectionSiteID"),
            "unit_codes": [code.text for code in find_all(order, "UnitCode")],
            "comments": text_of(order, "OrderComments"),
            "status": "ORDERED",
            "created": datetime.now(UTC).isoformat(),
        }
        self._store.put(_ORDERS, record["quest_order_id"], record)
        self._store.accept("orders", reference)
        return _success(record)

    def _cancel(self, call: Element) -> str:
        record = self._found(call)
        if record is None:
            return _failure("ORDER_NOT_FOUND")
        cancelled = {**record, "status": "CANCELLED"}
        self._store.put(_ORDERS, record["quest_order_id"], cancelled)
        self._store.accept("cancelled_orders", record["client_reference_id"])
        return _success(cancelled)

    def _details(self, call: Element) -> str:
        record = self._found(call)
        return _failure("ORDER_NOT_FOUND") if record is None else _success(record)

    def _found(self, call: Element) -> Record | None:
        record = self._store.records(_ORDERS).get(text_of(call, "questOrderId"))
        if record is None or record["reference_test_id"] != text_of(call, "referenceTestId"):
            return None
        return record


def _success(record: Record) -> str:
    root = Element("QuestOrderResponse")
    text_element(root, "ResponseStatusID", "SUCCESS")
    text_element(root, "QuestOrderID", record["quest_order_id"])
    text_element(root, "ReferenceTestID", record["reference_test_id"])
    text_element(root, "ClientReferenceID", record["client_reference_id"])
    text_element(root, "OrderStatusID", record["status"])
    text_element(root, "DisplayURL", "https://quest.invalid/authorization")
    return tostring(root, encoding="unicode")


def _failure(error_id: str) -> str:
    root = Element("QuestOrderResponse")
    text_element(root, "ResponseStatusID", "FAILURE")
    error = SubElement(SubElement(root, "Errors"), "Error")
    text_element(error, "ErrorID", error_id)
    text_element(error, "ErrorDetail", "The simulator refuses")
    return tostring(root, encoding="unicode")


def _result(operation: str, text: str) -> Response:
    root = Element("soap:Envelope", {"xmlns:soap": _SOAP})
    response = SubElement(
        SubElement(root, "soap:Body"), f"{operation}Response", {"xmlns": NAMESPACE}
    )
    text_element(response, f"{operation}Result", text)
    return Response(tostring(root, encoding="utf-8"), media_type="text/xml")


def _fault(code: str, text: str) -> Response:
    root = Element("soap:Envelope", {"xmlns:soap": _SOAP})
    fault = SubElement(SubElement(root, "soap:Body"), "soap:Fault")
    text_element(fault, "faultcode", f"soap:{code}")
    text_element(fault, "faultstring", text)
    return Response(tostring(root, encoding="utf-8"), status_code=500, media_type="text/xml")
