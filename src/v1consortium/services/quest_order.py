"""A drug-test order as Quest wants it written, checked against the field limits first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, tostring
from zoneinfo import ZoneInfo

from v1consortium.services.errors import PermanentError
from v1consortium.services.lab import LabOrderRequest, TestReason
from v1consortium.services.quest_xml import text_element

PROVIDER = "quest"
OPERATION = "CreateOrder"

REASON_IDS: Mapping[TestReason, str] = {
    TestReason.PRE_EMPLOYMENT: "1",
    TestReason.POST_ACCIDENT: "2",
    TestReason.RANDOM: "3",
    TestReason.REASONABLE_SUSPICION: "5",
    TestReason.RETURN_TO_DUTY: "6",
    TestReason.FOLLOW_UP: "23",
    TestReason.OTHER: "99",
}
"""Quest's ReasonForTestID; no id for a periodic test is known, it has to be configured."""

DOT_REASONS = frozenset(TestReason) - {TestReason.PERIODIC, TestReason.OTHER}
OBSERVED_DOT_REASONS = frozenset({TestReason.RETURN_TO_DUTY, TestReason.FOLLOW_UP})
"""Reasons for which a DOT collection is always observed (49 CFR 40.67)."""

AUTHORITIES = frozenset({"FMCSA", "PHMSA", "FAA", "FTA", "FRA", "USCG"})

TIME_ZONES: Mapping[str, tuple[str, str]] = {
    "America/New_York": ("1", "America/New_York"),
    "America/Detroit": ("1", "America/New_York"),
    "America/Indiana/Indianapolis": ("1", "America/New_York"),
    "America/Chicago": ("2", "America/Chicago"),
    "America/Denver": ("3", "America/Denver"),
    "America/Boise": ("3", "America/Denver"),
    "America/Phoenix": ("3", "America/Denver"),
    "America/Los_Angeles": ("4", "America/Los_Angeles"),
    "Pacific/Honolulu": ("5", "Pacific/Honolulu"),
    "America/Anchorage": ("6", "America/Anchorage"),
    "America/Puerto_Rico": ("7", "America/Puerto_Rico"),
    "Pacific/Guam": ("8", "Pacific/Guam"),
}
"""IANA name -> Quest's time-zone id and the zone in which it reads the time."""

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME_ILLEGAL = re.compile(r"[&<>]")
_TEN_DIGITS = re.compile(r"[0-9]{10}")


def _refuse(field: str, code: str) -> PermanentError:
    return PermanentError(PROVIDER, OPERATION, code, field=field)


def _text(field: str, value: str, limit: int, *, required: bool = False, name: bool = False) -> str:
    value = value.strip()
    if required and not value:
        raise _refuse(field, "field_required")
    if len(value) > limit:
        raise _refuse(field, "field_too_long")
    if _ILLEGAL.search(value) or (name and _NAME_ILLEGAL.search(value)):
        raise _refuse(field, "field_characters")
    return value


def _digits(field: str, value: str, limit: int, *, required: bool) -> str:
    digits = re.sub(r"[\s().+-]", "", value)
    if len(digits) == 11 and digits.startswith("1"):
        digits = digits[1:]
    if not digits and not required:
        return ""
    if not digits.isascii() or not digits.isdigit():
        raise _refuse(field, "field_required" if not digits else "field_characters")
    if limit == 10 and not _TEN_DIGITS.fullmatch(digits):
        raise _refuse(field, "field_length")
    if len(digits) > limit:
        raise _refuse(field, "field_too_long")
    return digits


def check_reason(request: LabOrderRequest, reason_ids: Mapping[TestReason, str]) -> str:
    """Quest's id of the reason; raises PermanentError where the order breaks the DOT rules."""
    if request.dot:
        if request.reason not in DOT_REASONS:
            raise _refuse("reason", "not_a_dot_reason")
        if not request.testing_authority:
            raise _refuse("testing_authority", "field_required")
        if request.testing_authority not in AUTHORITIES:
            raise _refuse("testing_authority", "unknown_value")
    elif request.testing_authority:
        raise _refuse("testing_authority", "only_for_dot")
    reason = reason_ids.get(request.reason)
    if reason is None:
        raise PermanentError(
            PROVIDER, OPERATION, "reason_not_configured", configuration=True, field="reason"
        )
    return reason


def _expiry(event: Element, expires_at: datetime | None, time_zone: str) -> None:
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise _refuse("expires_at", "no_time_zone")
    zone = TIME_ZONES.get(time_zone)
    if zone is None:
        raise _refuse("time_zone", "unknown_value")
    zone_id, zone_name = zone
    local = expires_at.astimezone(ZoneInfo(zone_name))
    text_element(event, "EndDateTime", local.strftime("%m/%d/%Y %H:%M:%S"))
    text_element(event, "EndDateTimeTimeZoneID", zone_id)


def order_xml(
    request: LabOrderRequest,
    *,
    lab_account: str,
    contact_name: str,
    contact_phone: str,
    csl: str,
    response_url: str,
    reason_ids: Mapping[TestReason, str],
) -> str:
    """The ``<Order>`` document; raises PermanentError naming the field that breaks a limit."""
    reason_id = check_reason(request, reason_ids)
    reference = _text("client_reference_id", request.client_reference_id, 36, required=True)
    order = Element("Order")

    event = SubElement(order, "EventInfo")
    site = _text("site_code", request.site_code, 6, required=True)
    text_element(event, "CollectionSiteID", site)
    if request.email:
        addresses = SubElement(event, "EmailAuthorizationAddresses")
        text_element(addresses, "EmailAddress", _text("email", request.email, 254))
    _expiry(event, request.expires_at, request.time_zone)

    donor = SubElement(order, "DonorInfo")
    first = _text("first_name", request.first_name, 20, required=True, name=True)
    text_element(donor, "FirstName", first)
    middle = _text("middle_name", request.middle_name, 20, name=True)
    if middle:
        text_element(donor, "MiddleName", middle)
    last = _text("last_name", request.last_name, 25, required=True, name=True)
    text_element(donor, "LastName", last)
    text_element(donor, "PrimaryID", _text("primary_id", request.primary_id, 25, required=True))
    id_type = _text("primary_id_type", request.primary_id_type, 5)
    if id_type:
        text_element(donor, "PrimaryIDType", id_type)
    if request.birth_date is not None:
        text_element(donor, "DOB", request.birth_date.strftime("%m/%d/%Y"))
    phone = _digits("primary_phone", request.primary_phone, 10, required=True)
    text_element(donor, "PrimaryPhone", phone)
    second = _digits("secondary_phone", request.secondary_phone, 12, required=False)
    if second:
        text_element(donor, "SecondaryPhone", second)
    zip_code = _text("zip_code", request.zip_code, 10)
    if zip_code:
        text_element(SubElement(donor, "PostalAddress"), "ZipCode", zip_code)

    client = SubElement(order, "ClientInfo")
    contact = _text("contact_name", contact_name, 45, name=True)
    text_element(client, "ContactName", contact)
    number = _digits("contact_phone", contact_phone, 10, required=False)
    text_element(client, "TelephoneNumber", number)
    account = _text("lab_account", request.lab_account or lab_account, 20, required=True)
    text_element(client, "LabAccount", account)
    if csl:
        text_element(client, "CSL", _text("csl", csl, 20))

    test = SubElement(order, "TestInfo")
    text_element(test, "ClientReferenceID", reference)
    text_element(test, "DOTTest", "T" if request.dot else "F")
    if request.testing_authority:
        text_element(test, "TestingAuthority", request.testing_authority)
    text_element(test, "ReasonForTestID", reason_id)
    observed = request.observed or (request.dot and request.reason in OBSERVED_DOT_REASONS)
    text_element(test, "ObservedRequested", "Y" if observed else "N")
    split = request.dot if request.split_specimen is None else request.split_specimen
    text_element(test, "SplitSpecimenRequested", "Y" if split else "N")
    # The format has no element for urgency; the site's staff read the comment.
    comments = f"RUSH {request.comments}" if request.rush else request.comments
    comments = _text("comments", comments, 250)
    if comments:
        text_element(test, "OrderComments", comments)
    if not request.unit_codes:
        raise _refuse("unit_codes", "field_required")
    codes = SubElement(SubElement(test, "Screenings"), "UnitCodes")
    for code in request.unit_codes:
        text_element(codes, "UnitCode", _text("unit_codes", code, 15, required=True))

    if response_url:
        custom = SubElement(order, "ClientCustom")
        text_element(custom, "ResponseURL", _text("response_url", response_url, 255))
    return tostring(order, encoding="unicode")
