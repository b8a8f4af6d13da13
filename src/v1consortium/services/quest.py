"""Drug-test orders at Quest Diagnostics (Employer Solutions), by SOAP over HTTPS.

Quest documents no duplicate check and no look-up by our reference, so the difference between "not
sent" and "may have been carried out" is kept sharp: see :mod:`.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NoReturn
from xml.etree.ElementTree import Element

from v1consortium.services.errors import (
    AmbiguousError,
    PermanentError,
    ProviderError,
    TransientError,
)
from v1consortium.services.http import (
    ProviderHTTP,
    Reply,
    bad_answer,
    problem_of_status,
    retry_after,
)
from v1consortium.services.lab import (
    CollectionSite,
    LabOrder,
    LabOrderDetails,
    LabOrderRequest,
    TestReason,
)
from v1consortium.services.quest_order import PROVIDER, REASON_IDS, order_xml
from v1consortium.services.quest_sites import parse_sites
from v1consortium.services.quest_xml import (
    NAMESPACE,
    WireError,
    envelope,
    fault_code,
    find,
    parse,
    parse_result,
    result_text,
    text_of,
)

ORDER_PATH = "/services/ESPService.asmx"
SITE_PATH = "/services/ESService.asmx"

_CREDENTIAL_ANSWERS = frozenset({"identifier not found", "invalid credentials", "access denied"})
"""The service's only sign of wrong credentials: these words instead of a document."""

_UNKNOWN_ORDER = frozenset({"ORDER_NOT_FOUND", "404"})


class QuestLab:
    """The laboratory's services at ``base_url``.

    ``lab_account``, ``contact_name``, ``contact_phone`` and ``csl`` name the client on every order;
    ``response_url`` is where results are pushed. ``reason_ids`` adds or replaces ids of reasons.
    ``transient_error_ids`` are error ids of a rejected order that may succeed later.
    ``unknown_order_ids`` are those that say the order does not exist. ``timeout`` bounds one call,
    ``sites_timeout`` the download of all sites.
    """

    def __init__(
        self,
        base_url: str,
        username: str,
        password: str,
        *,
        lab_account: str,
        contact_name: str = "",
        contact_phone: str = "",
        csl: str = "",
        response_url: str = "",
        reason_ids: Mapping[TestReason, str] | None = None,
        transient_error_ids: frozenset[str] = frozenset(),
        unknown_order_ids: frozenset[str] = _UNKNOWN_ORDER,
        timeout: timedelta = timedelta(seconds=60),
        sites_timeout: timedelta = timedelta(seconds=600),
        max_sites_bytes: int = 64 * 1024 * 1024,
        proxy: str | None = None,
    ) -> None:
        self._username = username
        self._password = password
        self._lab_account = lab_account
        self._contact_name = contact_name
        self._contact_phone = contact_phone
        self._csl = csl
        self._response_url = response_url
        self._reason_ids = {**REASON_IDS, **(reason_ids or {})}
        self._transient_error_ids = transient_error_ids
        self._unknown_order_ids = unknown_order_ids
        self._sites_timeout = sites_timeout
        self._http = ProviderHTTP(PROVIDER, base_url=base_url, timeout=timeout, proxy=proxy)
        self._sites_http = ProviderHTTP(
            PROVIDER,
            base_url=base_url,
            timeout=sites_timeout,
            max_bytes=max_sites_bytes,
            proxy=proxy,
        )

    async def submit(self, request: LabOrderRequest) -> LabOrder:
        """See :class:`.lab.DrugTestLab`."""
        document = order_xml(
            request,
            lab_account=self._lab_account,
            contact_name=self._contact_name,
            contact_phone=self._contact_phone,
            csl=self._csl,
            response_url=self._response_url,
            reason_ids=self._reason_ids,
        )
        result = await self._call("CreateOrder", {"orderXml": document}, write=True)
        order = LabOrder(
            quest_order_id=text_of(result, "QuestOrderID"),
            reference_test_id=text_of(result, "ReferenceTestID"),
            client_reference_id=text_of(result, "ClientReferenceID"),
            display_url=text_of(result, "DisplayURL") or None,
        )
        if not order.quest_order_id or not order.reference_test_id:
            raise AmbiguousError(PROVIDER, "CreateOrder", "order_ids_missing")
        if order.client_reference_id != request.client_reference_id:
            raise AmbiguousError(PROVIDER, "CreateOrder", "reference_mismatch")
        return order

    async def cancel(self, *, quest_order_id: str, reference_test_id: str) -> None:
        """See :class:`.lab.DrugTestLab`."""
        arguments = {"referenceTestId": reference_test_id, "questOrderId": quest_order_id}
        await self._call("CancelOrder", arguments, write=True)

    async def details(
        self, *, quest_order_id: str, reference_test_id: str
    ) -> LabOrderDetails | None:
        """See :class:`.lab.DrugTestLab`."""
        arguments = {"referenceTestId": reference_test_id, "questOrderId": quest_order_id}
        try:
            result = await self._call("GetOrderDetails", arguments, write=False)
        except PermanentError as error:
            if error.code.removeprefix("failure.") not in self._unknown_order_ids:
                raise
            return None
        return LabOrderDetails(
            quest_order_id=text_of(result, "QuestOrderID"),
            reference_test_id=text_of(result, "ReferenceTestID"),
            client_reference_id=text_of(result, "ClientReferenceID"),
            status=text_of(result, "OrderStatusID"),
        )

    async def collection_sites(self) -> Sequence[CollectionSite]:
        """See :class:`.lab.DrugTestLab`."""
        operation = "FullRetrieveCollectionSiteDetails"
        return parse_sites(await self._call(operation, {}, write=False, sites=True))

    async def aclose(self) -> None:
        """Close the connections; the next call makes new ones."""
        await self._http.aclose()
        await self._sites_http.aclose()

    async def _call(
        self, operation: str, arguments: Mapping[str, str], *, write: bool, sites: bool = False
    ) -> Element:
        credentials = {"username": self._username, "password": self._password}
        http = self._sites_http if sites else self._http
        reply = await http.send(
            operation,
            "POST",
            SITE_PATH if sites else ORDER_PATH,
            write=write,
            content=envelope(operation, {**credentials, **arguments}),
            headers={
                "Content-Type": "text/xml; charset=utf-8",
                "SOAPAction": f'"{NAMESPACE}{operation}"',
            },
        )
        try:
            root: Element | None = parse(reply.body)
        except WireError:
            root = None
        fault = fault_code(root) if root is not None else None
        if reply.status != 200 or fault is not None:
            raise _problem(operation, reply, root, fault, write=write)
        try:
            text = result_text(root, operation) if root is not None else None
            if text is not None and text.strip().casefold() in _CREDENTIAL_ANSWERS:
                raise PermanentError(PROVIDER, operation, "credentials", configuration=True)
            result = parse_result(text) if text is not None else None
        except WireError:
            result = None
        if result is None:
            raise bad_answer(PROVIDER, operation, write=write)
        if not sites:
            self._check(operation, result, write=write)
        return result

    def _check(self, operation: str, result: Element, *, write: bool) -> None:
        """Raise unless the result says SUCCESS."""
        status = text_of(result, "ResponseStatusID").upper()
        if status == "SUCCESS":
            return
        if status != "FAILURE":
            raise bad_answer(PROVIDER, operation, write=write)
        self._failure(operation, result)

    def _failure(self, operation: str, result: Element) -> NoReturn:
        error = find(result, "Error")
        error_id = text_of(error, "ErrorID") if error is not None else ""
        detail = text_of(error, "ErrorDetail").casefold() if error is not None else ""
        code = f"failure.{error_id or 'unknown'}"
        if detail in _CREDENTIAL_ANSWERS:
            raise PermanentError(PROVIDER, operation, "credentials", configuration=True)
        if error_id in self._transient_error_ids:
            raise TransientError(PROVIDER, operation, code)
        raise PermanentError(PROVIDER, operation, code)


def _problem(
    operation: str, reply: Reply, root: Element | None, fault: str | None, *, write: bool
) -> ProviderError:
    if fault is not None and reply.status in (200, 500):
        if fault == "Client":
            return PermanentError(PROVIDER, operation, "fault.Client")
        kind = AmbiguousError if write else TransientError
        return kind(PROVIDER, operation, f"fault.{fault}")
    if reply.status == 503 and root is None:
        # The front server's answer: the service itself was never reached.
        return TransientError(PROVIDER, operation, "http_503", retry_after(reply.headers))
    return problem_of_status(PROVIDER, operation, reply.status, reply.headers, write=write)
