"""Quest's list of collection sites, read leniently: the real one has gaps and oddities."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from v1consortium.services.lab import CollectionSite
from v1consortium.services.quest_xml import find_all, text_of

_TRUE = frozenset({"true", "t", "y", "yes", "1"})


def _number(text: str, limit: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if -limit <= value <= limit and value != 0 else None


def _flag(element: Element, name: str) -> bool:
    return text_of(element, name).casefold() in _TRUE


def _site(element: Element) -> CollectionSite:
    site_type = text_of(element, "CollectionSiteTypeId")
    return CollectionSite(
        site_code=text_of(element, "SiteCode"),
        name=text_of(element, "Name"),
        address1=text_of(element, "Address1"),
        city=text_of(element, "City"),
        state=text_of(element, "State"),
        zip_code=text_of(element, "Zip"),
        phone=text_of(element, "PrimaryPhoneNumber"),
        time_zone=text_of(element, "TimeZone"),
        latitude=_number(text_of(element, "Latitude"), 90),
        longitude=_number(text_of(element, "Longitude"), 180),
        hours=text_of(element, "HoursOfOperation"),
        drug_hours=text_of(element, "DrugOperationHours"),
        active=_flag(element, "IsActive"),
        open_to_public=_flag(element, "OpenToPublic"),
        open_24_7=_flag(element, "Hours24_7"),
        open_weekend=_flag(element, "HoursWeekend"),
        dot_urine=_flag(element, "NIDACollections"),
        non_dot_urine=_flag(element, "SAPCollections"),
        observed=_flag(element, "ObservedCollection"),
        hair=_flag(element, "HairCollections"),
        oral_fluid=_flag(element, "OralFluidCollections"),
        breath_alcohol=_flag(element, "BreathAlcohol"),
        electronic_ccf=_flag(element, "ElectronicCCF"),
        site_type=int(site_type) if site_type.isascii() and site_type.isdigit() else None,
    )


def parse_sites(root: Element) -> list[CollectionSite]:
    """The sites in the list's order; one without a SiteCode cannot be ordered at and is left out.

    A code that comes twice is kept once, as it came first.
    """
    sites: dict[str, CollectionSite] = {}
    for element in find_all(root, "CollectionSiteDetail"):
        site = _site(element)
        if site.site_code:
            sites.setdefault(site.site_code, site)
    return list(sites.values())
