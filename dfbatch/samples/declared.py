"""Pictures whose plain metadata says that AI made them, and one that only talks about it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfbatch.samples.photographs import Album, camera_exif, encode_jpeg
from dfbatch.samples.pictures import drawn_picture
from dfbatch.samples.sample import Sample, SampleFile

_GENERATION_TEXT = """a quiet field under evening clouds, wide angle
Negative prompt: people, text
Steps: 28, Sampler: Euler a, CFG scale: 7, Seed: 20240518, Size: 512x384, Model: sample-model"""

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
   Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

_PROSE = "Seen at the exhibition next to pictures made with Midjourney and Stable Diffusion; this one is a photograph."


def declared_files(album: Album, rng: np.random.Generator) -> Iterator[SampleFile]:
    """Two declarations that count, and a mention in prose that must not."""
    what = "PNG with the 'parameters' text that Stable Diffusion tools write (itself drawn by arithmetic)."
    info = PngInfo()
    info.add_text("parameters", _GENERATION_TEXT)
    out = io.BytesIO()
    Image.fromarray(drawn_picture(rng), "RGB").save(out, "PNG", pnginfo=info)
    yield SampleFile(Sample("declared-ai-parameters.png", "image", what, "ai_generated"), out.getvalue())

    what = "JPEG whose XMP gives the IPTC source type 'trainedAlgorithmicMedia' (itself drawn by arithmetic)."
    data = encode_jpeg(drawn_picture(rng), xmp=_XMP.encode("utf-8"))
    yield SampleFile(Sample("declared-ai-xmp.jpg", "image", what, "ai_generated"), data)

    what = "Photograph whose description mentions AI generators in prose, which declares nothing."
    data = encode_jpeg(album.pixels("coffee.png"), exif=camera_exif(description=_PROSE))
    yield SampleFile(Sample("photo-mentions-ai.jpg", "image", what), data)
