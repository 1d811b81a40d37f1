from __future__ import annotations

import pytest
from PIL import Image

from dfbatch.samples import SampleSet

pytestmark = pytest.mark.integration


def test_the_png_has_the_parameters_text_of_generation_tools(made: SampleSet):
    with Image.open(made.path("declared-ai-parameters.png")) as image:
        assert "Steps: 28" in image.text["parameters"]
        assert "Negative prompt:" in image.text["parameters"]


def test_the_jpeg_declares_its_source_type_in_xmp(made: SampleSet):
    with Image.open(made.path("declared-ai-xmp.jpg")) as image:
        description = image.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert description["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")


def test_a_mention_in_prose_is_there_and_expected_to_count_for_nothing(made: SampleSet):
    with Image.open(made.path("photo-mentions-ai.jpg")) as image:
        assert "Midjourney" in image.getexif()[0x010E]
        assert "xmp" not in image.info
    assert made["photo-mentions-ai.jpg"].verdict == "inconclusive"
