"""Quest's wire format: SOAP 1.1 whose payloads and results are XML inside a string.

Answers are read leniently: results come escaped once or twice, sometimes with an UTF-16
declaration, and with names in differing capitals. Documents with a DOCTYPE are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import (
    Element,
    ParseError,
    SubElement,
    TreeBuilder,
    XMLParser,
    tostring,
)
from xml.sax.saxutils import unescape

NAMESPACE = "http://wssim.labone.com/"
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>\s*")
_ENTITIES = {"&quot;": '"', "&apos;": "'"}


class WireError(ValueError):
    """An answer that is not what the service sends; holds nothing of it."""


class _NoDoctype(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise WireError("an answer with a DOCTYPE")


def parse(document: str | bytes) -> Element:
    """The document's root; raises WireError."""
    parser = XMLParser(target=_NoDoctype())  # noqa: S314
    try:
        parser.feed(document)
        root = parser.close()
    except (ParseError, LookupError, ValueError):
        root = None
    if not isinstance(root, Element):
        raise WireError("not XML")
    return root


def name_of(element: Element) -> str:
    """An element's name without namespace."""
    return element.tag.rpartition("}")[2]


def find(root: Element, name: str) -> Element | None:
    """The first element of that name at any depth, capitals ignored."""
    return next(find_all(root, name), None)


def find_all(root: Element, name: str) -> Iterator[Element]:
    """All elements of that name at any depth, capitals ignored."""
    wanted = name.casefold()
    return (element for element in root.iter() if name_of(element).casefold() == wanted)


def text_of(root: Element, name: str) -> str:
    """The trimmed text of the first element of that name, or an empty string."""
    element = find(root, name)
    return (element.text or "").strip() if element is not None else ""


def text_element(parent: Element, name: str, value: str) -> None:
    """Append ``<name>value</name>``."""
    SubElement(parent, name).text = value


def envelope(operation: str, arguments: Mapping[str, str]) -> bytes:
    """The SOAP request that calls ``operation``; every argument is escaped text."""
    root = Element("soap:Envelope", {"xmlns:soap": _SOAP})
    call = SubElement(SubElement(root, "soap:Body"), operation, {"xmlns": NAMESPACE})
    for name, value in arguments.items():
        text_element(call, name, value)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def fault_code(root: Element) -> str | None:
    """``Client``, ``Server`` or another local code where the answer is a SOAP fault."""
    fault = find(root, "Fault")
    if fault is None:
        return None
    return text_of(fault, "faultcode").rpartition(":")[2] or "unknown"


def result_text(root: Element, operation: str) -> str:
    """The result string of the operation, its outer escaping removed; raises WireError."""
    result = find(root, f"{operation}Result")
    if result is None:
        raise WireError("no result element")
    if len(result):
        return tostring(result[0], encoding="unicode")
    text = (result.text or "").strip().lstrip("\ufeff")
    if text.startswith("&lt;"):
        text = unescape(text, _ENTITIES).lstrip("\ufeff")
    return text


def parse_result(text: str) -> Element:
    """The document inside a result string; raises WireError."""
    # The declaration speaks of the bytes the string once was: it is wrong about the string.
    return parse(_DECLARATION.sub("", text))
