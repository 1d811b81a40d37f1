"""IPTC terms are told in every way they are written."""

import pytest

from dfbatch.authenticity.detectors.digital_source import source_term


@pytest.mark.parametrize(
    "value",
    [
        "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
        " https://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture/ ",
        "digsrctype:digitalCapture",
        "digitalCapture",
    ],
)
def test_a_term_is_bare(value: str) -> None:
    assert source_term(value) == "digitalCapture"
