"""XMP packets: the properties of the item itself, without those of what it was made from (ISO 16684-1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_MAX_PROPERTIES = 2000
_MAX_VALUES = 50
_TEXT = 65_536

IPTC_EXTENSION = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
XMP_BASIC = "{http://ns.adobe.com/xap/1.0/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
EXIF_IN_XMP = "{http://ns.adobe.com/exif/1.0/}"
TC260 = "{http://www.tc260.org.cn/ns/AIGC/1.0/}"

Properties = Mapping[str, tuple[str, ...]]


class XmpUnreadable(ValueError):
    """The packet is no XML that we read: malformed, or with the entities of an attack."""


def read_xmp(packet: bytes) -> Properties:
    """Values by ``{namespace}name``; only what is said of the item itself. Raises XmpUnreadable."""
    try:
        root: Element = fromstring(packet.strip(b"\0 \t\r\n"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise XmpUnreadable(f"The XMP packet cannot be read: {error}"[:200]) from None
    properties: dict[str, tuple[str, ...]] = {}
    for rdf in [root] if root.tag == f"{_RDF}RDF" else root.findall(f"{_RDF}RDF"):
        for name, values in _described(rdf):
            if len(properties) < _MAX_PROPERTIES:
                properties[name] = (*properties.get(name, ()), *values)[:_MAX_VALUES]
    return properties


def _described(rdf: Element) -> Iterator[tuple[str, tuple[str, ...]]]:
    for description in rdf.findall(f"{_RDF}Description"):
        for name, value in description.attrib.items():
            if not name.startswith(_RDF):
                yield name, (value[:_TEXT],)
        for element in description:
            yield element.tag, tuple(_values(element))


def _values(element: Element) -> Iterator[str]:
    resource = element.get(f"{_RDF}resource")
    if resource is not None:
        yield resource[:_TEXT]
    if element.text and element.text.strip():
        yield element.text.strip()[:_TEXT]
    for container in ("Alt", "Bag", "Seq"):
        for item in element.findall(f"{_RDF}{container}/{_RDF}li"):
            text = item.get(f"{_RDF}resource") or (item.text or "").strip()
            if text:
                yield text[:_TEXT]
