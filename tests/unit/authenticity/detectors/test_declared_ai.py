"""What metadata declares of AI is believed; what it mentions is not."""

import io
import json
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfbatch.authenticity.detectors.declared_ai import DeclaredAi
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.opening import open_media

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def xmp(**properties: str) -> bytes:
    spaces = (
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    )
    written = " ".join(f'{name.replace("_", ":")}="{value}"' for name, value in properties.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {written}/></rdf:RDF></x:xmpmeta>'
    ).encode()


def examined(form: str = "JPEG", **options: Any) -> Finding:
    out = io.BytesIO()
    Image.effect_noise((32, 32), 60).save(out, form, **options)
    return DeclaredAi().examine(open_media(out.getvalue()))


def exif(software: str = "", comment: bytes = b"", description: str = "") -> Image.Exif:
    block = Image.Exif()
    for tag, value in ((0x0131, software), (0x010E, description)):
        if value:
            block[tag] = value
    if comment:
        block.get_ifd(0x8769)[0x9286] = comment
    return block


@pytest.mark.parametrize(
    ("source", "ai"),
    [
        ("trainedAlgorithmicMedia", "generated"),
        ("compositeWithTrainedAlgorithmicMedia", "edited"),
        ("algorithmicMedia", "none"),
        ("digitalCapture", "none"),
        ("notTrainedAlgorithmicMedia", "none"),
    ],
)
def test_the_source_type_in_xmp_is_believed(source: str, ai: str) -> None:
    for form in ("JPEG", "WEBP", "AVIF"):
        found = examined(form, xmp=xmp(Iptc4xmpExt_DigitalSourceType=SOURCE + source))
        assert found.facts["ai"] == ai
        assert found.facts["ai_declared"] == (ai == "generated")
        assert found.facts["source_types"] == [source]


@pytest.mark.parametrize(
    "options",
    [
        {"xmp": xmp(xmp_CreatorTool="Adobe Firefly")},
        {"xmp": xmp(photoshop_Credit="Made with Google AI")},
        {"xmp": xmp(Iptc4xmpExt_AISystemUsed="Imagen 4")},
        {"exif": exif(software="Midjourney")},
        {"exif": exif(comment=b"UNICODE\0" + "a cat\nSteps: 20, Sampler: DDIM, Seed: 1".encode("utf-16-be"))},
        {"comment": json.dumps({"uc": "", "steps": 28, "seed": 1}).encode()},
    ],
)
def test_other_declarations_are_believed(options: dict[str, Any]) -> None:
    found = examined(**options)
    assert found.facts["ai"] == "generated"
    assert "was made with AI" in found.reason


def test_an_exact_source_type_wins_over_the_name_of_a_tool() -> None:
    """Firefly also fills holes in photographs; the source type says that it did only that."""
    packet = xmp(
        xmp_CreatorTool="Adobe Firefly", Iptc4xmpExt_DigitalSourceType=SOURCE + "compositeWithTrainedAlgorithmicMedia"
    )
    assert examined(xmp=packet).facts["ai"] == "edited"


@pytest.mark.parametrize(
    "options",
    [
        {"exif": exif(description="Seen next to pictures of Midjourney and Stable Diffusion")},
        {"exif": exif(software="Adobe Photoshop 25.0", comment=b"ASCII\0\0\0trainedAlgorithmicMedia? No.")},
        {"xmp": xmp(dc_description="trainedAlgorithmicMedia", xmp_CreatorTool="Adobe Lightroom 7")},
        {"xmp": xmp(photoshop_Credit="AP Photo / made with Google AI in mind")},
        {"comment": b"Stable Diffusion would not have made this"},
    ],
)
def test_a_mention_declares_nothing(options: dict[str, Any]) -> None:
    found = examined(**options)
    assert found.applicable
    assert found.facts["ai"] == "none"
    assert found.facts["declarations"] == []


def test_png_texts_are_searched() -> None:
    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5")
    found = examined("PNG", pnginfo=info)
    assert found.facts["declarations"] == [
        {"use": "generated", "where": "text 'parameters'", "text": "settings of a Stable Diffusion tool"}
    ]


def test_a_file_without_metadata_is_missing_evidence() -> None:
    found = examined("PNG")
    assert not found.applicable
    assert found.facts["ai_declared"] is False


def test_hostile_xmp_is_told_and_does_no_harm() -> None:
    found = examined(xmp=b'<!DOCTYPE a [<!ENTITY b "bb">]><x:xmpmeta>&b;</x:xmpmeta>')
    assert found.applicable
    assert "cannot be read" in found.facts["problem"]


def test_types_whose_metadata_is_not_read_are_left_out(as_media: Any) -> None:
    from dfbatch.authenticity.media.media import MediaKind

    assert "not searched" in str(DeclaredAi().applies_to(as_media(b"BM", "image/bmp", MediaKind.IMAGE)))
