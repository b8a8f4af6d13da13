"""Quest's order service: SOAP whose arguments and results are XML inside strings.

It has no duplicate check, like the original: the same order sent twice is two orders, and the
counters say so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from v1consortium.services.quest import ORDER_PATH, SITE_PATH
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
_FAULTS = frozenset(
    {
        "failure",
        "soap_fault",
        "execute_then_soap_fault",
        "escaped",
        "utf16",
        "without_ids",
        "result",
    }
)
SITES = (
    {
        "SiteCode": "Q1001",
        "Name": "Downtown & Main",
        "Address1": "1 Main Street",
        "City": "New York",
        "State": "NY",
        "Zip": "10001",
        "Latitude": "40.7128",
        "Longitude": "-74.0060",
        "TimeZone": "Eastern",
        "PrimaryPhoneNumber": "2125550100",
        "HoursOfOperation": "M-F 8:00 am-5:00 pm",
        "IsActive": "true",
        "OpenToPublic": "T",
        "NIDACollections": "Y",
        "SAPCollections": "1",
        "ElectronicCCF": "yes",
        "CollectionSiteTypeId": "1",
    },
    {"SiteCode": "Q1002", "Name": "Gaps", "Latitude": "", "Longitude": "0", "IsActive": "false"},
    {"SiteCode": "Q1001", "Name": "The same code again"},
    {"Name": "No code"},
)
"""The list of sites, with the oddities of the real one."""


class QuestSimulator:
    """One client's orders, and the list of sites.

    Faults: the general ones; ``failure`` (``id``, ``detail``), a refused order; ``soap_fault``
    (``code``, ``status``) before, ``execute_then_soap_fault`` after it was carried out; ``escaped``
    and ``utf16``, a result escaped once more or with a wrong declaration; ``without_ids``, a
    success that names no order; ``result`` (``text``), those words for a document.
    """

    def __init__(self, journal: Journal) -> None:
        self._store = Store("quest", journal)
        self._board = FaultBoard(names=_FAULTS)

    def app(self) -> Starlette:
        """The server."""
        return Starlette(
            routes=[
                control_route(self._store, self._board, tables=[_ORDERS]),
                Route(ORDER_PATH, self._serve, methods=["POST"]),
                Route(SITE_PATH, self._serve, methods=["POST"]),
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
        name = fault.name if fault is not None else ""
        option = dict(fault.options) if fault is not None else {}
        if name == "failure":
            detail = str(option.get("detail", "The simulator refuses"))
            return _result(operation, _failure(str(option.get("id", "100")), detail))
        if name == "result":
            return _result(operation, str(option.get("text", "")))
        soap_fault = _fault(str(option.get("code", "Server")), "told to", option.get("status", 500))
        if name == "soap_fault":
            return soap_fault
        text = self._carry_out(operation, call)
        if text is None:
            return _fault("Client", f"unknown operation {operation}")
        match name:
            case "execute_then_soap_fault":
                return soap_fault
            case "escaped":
                text = escape(text)
            case "utf16":
                text = f'\ufeff<?xml version="1.0" encoding="utf-16"?>\n{text}'
            case "without_ids":
                text = text.replace("QuestOrderID", "Other")
        return _result(operation, text)

    def _carry_out(self, operation: str, call: Element) -> str | None:
        match operation:
            case "CreateOrder":
                return self._create(text_of(call, "orderXml"))
            case "CancelOrder":
                return self._cancel(call)
            case "GetOrderDetails":
                return self._details(call)
            case "FullRetrieveCollectionSiteDetails":
                return _sites()
        return None

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


def _sites() -> str:
    root = Element("CollectionSiteDetails")
    for site in SITES:
        element = SubElement(root, "CollectionSiteDetail")
        for name, value in site.items():
            text_element(element, name, value)
    return tostring(root, encoding="unicode")


def _failure(error_id: str, detail: str = "The simulator refuses") -> str:
    root = Element("QuestOrderResponse")
    text_element(root, "ResponseStatusID", "FAILURE")
    error = SubElement(SubElement(root, "Errors"), "Error")
    text_element(error, "ErrorID", error_id)
    text_element(error, "ErrorDetail", detail)
    return tostring(root, encoding="unicode")


def _result(operation: str, text: str) -> Response:
    root = Element("soap:Envelope", {"xmlns:soap": _SOAP})
    response = SubElement(
        SubElement(root, "soap:Body"), f"{operation}Response", {"xmlns": NAMESPACE}
    )
    text_element(response, f"{operation}Result", text)
    return Response(tostring(root, encoding="utf-8"), media_type="text/xml")


def _fault(code: str, text: str, status: int = 500) -> Response:
    root = Element("soap:Envelope", {"xmlns:soap": _SOAP})
    fault = SubElement(SubElement(root, "soap:Body"), "soap:Fault")
    text_element(fault, "faultcode", f"soap:{code}")
    text_element(fault, "faultstring", text)
    return Response(tostring(root, encoding="utf-8"), status_code=status, media_type="text/xml")
