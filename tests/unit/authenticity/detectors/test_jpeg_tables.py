"""Tables of a JPEG tell quality and encoder, and no score."""

import io
from typing import Any

import pytest
from PIL import Image

from dfbatch.authenticity.detectors.jpeg_tables import JpegTables
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.opening import open_media


def examined(mode: str = "RGB", **options: Any) -> Finding:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert(mode).save(out, "JPEG", **options)
    return JpegTables().examine(open_media(out.getvalue()))


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 99, 100])
def test_the_quality_of_the_usual_tables_is_exact(quality: int) -> None:
    facts = examined(quality=quality).facts
    assert (facts["quality"], facts["standard_tables"], facts["n_tables"]) == (quality, True, 2)


def test_tables_of_its_own_are_told_with_the_nearest_quality() -> None:
    tables = [[7] * 64, [9] * 64]
    found = examined(qtables=tables)
    assert found.facts["standard_tables"] is False
    assert 80 <= found.facts["quality"] <= 95
    assert found.facts["tables_sha256"] != examined(quality=found.facts["quality"]).facts["tables_sha256"]
    assert found.score is None


def test_a_known_table_is_read_in_the_right_order() -> None:
    """Pillow is the witness: it reads the same tables from the same stream."""
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).save(out, "JPEG", qtables=[list(range(1, 65))])
    with Image.open(io.BytesIO(out.getvalue())) as image:
        witnessed = image.quantization[0]
    from dfbatch.authenticity.detectors.jpeg_tables import _tables
    from dfbatch.authenticity.media.jpeg import jpeg_structure

    ((_, table),) = _tables(out.getvalue(), jpeg_structure(out.getvalue()))
    assert table.tolist() == list(witnessed)


@pytest.mark.parametrize("name", ["4:4:4", "4:2:2", "4:2:0"])
def test_the_colour_subsampling_is_named(name: str) -> None:
    assert examined(subsampling=name).facts["subsampling"] == name


def test_grey_has_no_subsampling_and_cmyk_four_components() -> None:
    assert examined("L").facts["subsampling"] is None
    assert examined("CMYK").facts["components"] == 4


def test_scans_and_bytes_behind_the_end_are_counted() -> None:
    facts = examined(progressive=True).facts
    assert facts["progressive"] is True
    assert facts["scans"] > 1
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    found = JpegTables().examine(open_media(out.getvalue() + b"hidden"))
    assert found.facts["bytes_after_end"] == 6
