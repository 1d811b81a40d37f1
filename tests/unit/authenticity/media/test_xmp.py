"""XMP tells of the item itself; attacks in XML are refused."""

import pytest

from dfbatch.authenticity.media.xmp import IPTC_EXTENSION, XMP_BASIC, XmpUnreadable, read_xmp

pytestmark = pytest.mark.integration

HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
)
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"


@pytest.mark.parametrize(
    "body",
    [
        ' Iptc4xmpExt:DigitalSourceType="digitalCapture">',
        "><Iptc4xmpExt:DigitalSourceType>digitalCapture</Iptc4xmpExt:DigitalSourceType>",
        '><Iptc4xmpExt:DigitalSourceType rdf:resource="digitalCapture"/>',
        "><Iptc4xmpExt:DigitalSourceType><rdf:Bag><rdf:li>digitalCapture</rdf:li></rdf:Bag></Iptc4xmpExt:DigitalSourceType>",
    ],
)
def test_all_ways_to_write_a_value_are_read(body: str) -> None:
    packet = b"\0 " + (HEAD + body + TAIL).encode() + b"\n\0"
    assert read_xmp(packet)[f"{IPTC_EXTENSION}DigitalSourceType"] == ("digitalCapture",)


def test_a_packet_may_come_with_its_wrapper() -> None:
    packet = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>' + HEAD + ' xmp:CreatorTool="GIMP">' + TAIL
    assert read_xmp((packet + '<?xpacket end="w"?>').encode())[f"{XMP_BASIC}CreatorTool"] == ("GIMP",)


def test_what_is_said_of_ingredients_is_not_said_of_the_item() -> None:
    body = (
        "><xmpMM:Ingredients><rdf:Bag><rdf:li><rdf:Description "
        'Iptc4xmpExt:DigitalSourceType="trainedAlgorithmicMedia"/></rdf:li></rdf:Bag></xmpMM:Ingredients>'
    )
    assert f"{IPTC_EXTENSION}DigitalSourceType" not in read_xmp((HEAD + body + TAIL).encode())


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        b"<x:xmpmeta",
        b'<?xml version="1.0" encoding="no-such-charset"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 99 + b'">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<a>" * 50_000,
    ],
)
def test_broken_and_hostile_packets_are_unreadable(packet: bytes) -> None:
    with pytest.raises(XmpUnreadable):
        read_xmp(packet)


def test_other_xml_says_nothing() -> None:
    assert read_xmp(b"<html><body/></html>") == {}
