"""Samples with Content Credentials (C2PA), signed with our own certificate: intact, altered, broken, remote."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import c2pa
import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dfbatch.samples.certificates import Identity
from dfbatch.samples.forgeries import splice
from dfbatch.samples.photographs import Album, camera_exif, encode_jpeg
from dfbatch.samples.pictures import drawn_picture
from dfbatch.samples.recordings import panning_video, spoken_sound, wav_bytes
from dfbatch.samples.sample import Sample, SampleFile

_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_REMOTE_URL = "https://credentials.invalid/c2pa-remote.c2pa"  # a name that can never resolve
_COORDINATE_BYTES = 32
_APP0 = 0xE0
_APP11 = 0xEB
_START_OF_SCAN = 0xDA

Action = dict[str, Any]


class CredentialSigner:
    """Signs media with one identity; remembers its last raw signature (64 bytes)."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._context = c2pa.Context.from_dict(
            {
                "builder": {"thumbnail": {"enabled": False}},
                "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            }
        )
        self.last_signature = b""

    def sign(
        self,
        data: bytes,
        media_type: str,
        title: str,
        actions: list[Action],
        *,
        parent: bytes | None = None,
        remote_url: str | None = None,
    ) -> bytes:
        """``data`` with a manifest of ``actions``; ``parent`` is the file it was edited from.

        With ``remote_url`` only that address is embedded, and the manifest is thrown away.
        """
        manifest = {
            "claim_generator_info": [{"name": "dfbatch samples", "version": "1"}],
            "title": title,
            "format": media_type,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
        }
        out = io.BytesIO()
        with c2pa.Builder(manifest, context=self._context) as builder, self._signer() as signer:
            if parent is not None:
                link = {"title": "capture.jpg", "relationship": "parentOf", "label": "parent"}
                builder.add_ingredient(link, media_type, io.BytesIO(parent))
            if remote_url is not None:
                builder.set_remote_url(remote_url)
                builder.set_no_embed()
            builder.sign(signer, media_type, io.BytesIO(data), out)
        return out.getvalue()

    def _signer(self) -> c2pa.Signer:
        chain = self._identity.chain_pem.decode("ascii")
        return c2pa.Signer.from_callback(self._raw_signature, c2pa.C2paSigningAlg.ES256, chain)

    def _raw_signature(self, claim: bytes) -> bytes:
        r, s = decode_dss_signature(self._identity.key.sign(claim, ec.ECDSA(hashes.SHA256())))
        self.last_signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return self.last_signature


def created(source_type: str) -> Action:
    """The first action of a file that came from a camera (``digitalCapture``) or a model."""
    return {"action": "c2pa.created", "digitalSourceType": _SOURCE_TYPE + source_type}


def credential_files(album: Album, identity: Identity, rng: np.random.Generator) -> Iterator[SampleFile]:
    """All samples of the group ``c2pa``."""
    signer = CredentialSigner(identity)
    capture = signer.sign(album.capture, "image/jpeg", "capture.jpg", [created("digitalCapture")])
    yield _signed("c2pa-capture.jpg", "image", "Photograph signed as a camera signs its captures.", capture)
    yield _broken_signature(signer.last_signature, capture)
    yield _altered(album, capture, rng)
    yield _edited(album, signer, capture)
    yield _remote(album, signer)
    yield _generated(signer, rng)
    yield from _recordings(album, signer, rng)


def broken_signature(signed: bytes, signature: bytes) -> bytes:
    """``signed`` with one bit of its raw ``signature`` flipped. Raises ValueError unless it is there exactly once."""
    if signed.count(signature) != 1:
        raise ValueError("the signature is not in the file exactly once")
    start = signed.index(signature) + _COORDINATE_BYTES // 2
    return signed[:start] + bytes([signed[start] ^ 1]) + signed[start + 1 :]


def moved_credentials(signed: bytes, other: bytes) -> bytes:
    """The JPEG ``other`` with the credentials (APP11 segments) of the JPEG ``signed``."""
    credentials = b"".join(segment for marker, segment in _segments(signed) if marker == _APP11)
    # The signature covers all but the bytes where the credentials lie, so they go to the same place: behind APP0.
    place = 2 + sum(len(segment) for marker, segment in _segments(other) if marker == _APP0)
    return other[:place] + credentials + other[place:]


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, whole segment) from after the start of the image to before its scan."""
    position = 2
    while jpeg[position] == 0xFF and jpeg[position + 1] != _START_OF_SCAN:
        length = 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        yield jpeg[position + 1], jpeg[position : position + length]
        position += length


def _signed(file: str, kind: str, what: str, data: bytes) -> SampleFile:
    sample = Sample(file, kind, what, "no_manipulation_found", provenance_state="valid", trusted_verdict="authentic")
    return SampleFile(sample, data)


def _broken_signature(signature: bytes, capture: bytes) -> SampleFile:
    what = "The signed capture with one bit of its signature flipped; that alone does not make the picture a fake."
    sample = Sample("c2pa-broken-signature.jpg", "image", what, provenance_state="invalid")
    return SampleFile(sample, broken_signature(capture, signature))


def _altered(album: Album, capture: bytes, rng: np.random.Generator) -> SampleFile:
    forged = splice(album.pixels("coffee.png"), album.pixels("flower.jpg"), rng)
    what = "Pixels changed after signing: the capture's credentials on a spliced picture, whose hash they do not match."
    sample = Sample("c2pa-altered.jpg", "image", what, provenance_state="invalid", control="c2pa-capture.jpg")
    return SampleFile(sample, moved_credentials(capture, encode_jpeg(forged.pixels, exif=camera_exif())))


def _edited(album: Album, signer: CredentialSigner, capture: bytes) -> SampleFile:
    cropped = np.ascontiguousarray(album.pixels("coffee.png")[20:380, 30:570])
    actions: list[Action] = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}},
        {"action": "c2pa.cropped"},
        {"action": "c2pa.edited"},
    ]
    data = signer.sign(encode_jpeg(cropped), "image/jpeg", "edited.jpg", actions, parent=capture)
    what = "The signed capture opened, cropped and signed again: an edit that is declared."
    sample = Sample("c2pa-edited.jpg", "image", what, "no_manipulation_found", provenance_state="valid")
    return SampleFile(sample, data)


def _remote(album: Album, signer: CredentialSigner) -> SampleFile:
    actions = [created("digitalCapture")]
    data = signer.sign(album.capture, "image/jpeg", "remote.jpg", actions, remote_url=_REMOTE_URL)
    what = "Only the address of its credentials is in the file, and that is never fetched."
    return SampleFile(Sample("c2pa-remote.jpg", "image", what, provenance_state="remote_only"), data)


def _generated(signer: CredentialSigner, rng: np.random.Generator) -> SampleFile:
    picture = encode_jpeg(drawn_picture(rng))
    data = signer.sign(picture, "image/jpeg", "generated.jpg", [created("trainedAlgorithmicMedia")])
    what = "Signed credentials declare it made by AI (it was drawn by arithmetic; the declaration is what counts)."
    return SampleFile(Sample("c2pa-ai-generated.jpg", "image", what, "ai_generated", provenance_state="valid"), data)


def _recordings(album: Album, signer: CredentialSigner, rng: np.random.Generator) -> Iterator[SampleFile]:
    sound = signer.sign(wav_bytes(spoken_sound(rng)), "audio/wav", "sound.wav", [created("digitalCapture")])
    yield _signed("c2pa-sound.wav", "audio", "Sound signed as a recorder signs its captures.", sound)
    clip = signer.sign(panning_video(album), "video/mp4", "clip.mp4", [created("digitalCapture")])
    yield _signed("c2pa-clip.mp4", "video", "Video signed as a camera signs its captures.", clip)
