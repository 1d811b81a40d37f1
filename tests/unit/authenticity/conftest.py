"""Small video, sound and PDF files, made here so that their truth is known."""

from __future__ import annotations

import datetime
import hashlib
import io
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pikepdf
import pytest
import soundfile
from asn1crypto import keys, x509
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from dfbatch.authenticity.media.media import Media, MediaKind

TICKS = 60_000


class AvBench:
    """Makes video and sound."""

    def video(
        self,
        steps: list[int] | None = None,
        *,
        frames: int = 25,
        container: str = "mp4",
        size: tuple[int, int] = (64, 48),
        keyframe_every: int = 10,
        codec: str = "mpeg4",
        metadata: dict[str, str] | None = None,
        sound_s: float = 0.0,
        options: dict[str, str] | None = None,
    ) -> bytes:
        """Frames of blocks that move in a circle of 64 frames.

        ``steps`` are the times between them in 1/60000 s (default: 25 a second).
        """
        steps = [TICKS // 25] * (frames - 1) if steps is None else steps
        rng = np.random.default_rng(7)
        base = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        # A real file: the muxer opens it a second time to move the index to its front.
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / "video"
        with folder, av.open(path, "w", format=container, options=options or {}) as target:
            for name, value in (metadata or {}).items():
                target.metadata[name] = value
            stream = target.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.options = {"qmin": "4", "qmax": "4"}
            stream.codec_context.gop_size = keyframe_every
            stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS if container == "mp4" else 25)
            unit = 1 if container == "mp4" else TICKS // 25
            sound = target.add_stream("aac", rate=16_000) if sound_s else None
            time = 0
            for index, step in enumerate([0, *steps]):
                time += step
                frame = av.VideoFrame.from_ndarray(np.roll(base, index, axis=1), format="rgb24")
                frame.pts, frame.time_base = time // unit, Fraction(unit, TICKS)
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
            if sound is not None:
                self._add_tone(target, sound, sound_s)
            target.close()
            return path.read_bytes()

    def _add_tone(self, target: Any, stream: Any, seconds: float) -> None:
        tone = (8000 * np.sin(np.arange(int(16_000 * seconds)) * 0.1)).astype(np.int16)[None, :]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))

    def sound(self, samples: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
        out = io.BytesIO()
        soundfile.write(out, samples, rate, format=format, subtype=subtype)
        return out.getvalue()

    def noise(self, seconds: float = 1.0, rate: int = 16_000, level: float = 0.2) -> np.ndarray:
        return np.random.default_rng(3).normal(0, level / 3, int(seconds * rate)).clip(-0.9, 0.9)

    def transcode(self, samples: np.ndarray, rate: int, codec: str, container: str, bit_rate: int) -> bytes:
        """``samples`` (mono, -1..1) through a lossy encoder."""
        out = io.BytesIO()
        with av.open(out, "w", format=container) as target:
            stream = target.add_stream(codec, rate=rate, layout="mono")
            stream.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            for part in av.AudioResampler(format=stream.format, layout="mono", rate=rate).resample(frame):
                target.mux(stream.encode(part))
            target.mux(stream.encode(None))
        return out.getvalue()


@dataclass
class PdfBench:
    """Makes PDFs, signs them with certificates of its own, and changes them afterwards."""

    key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def plain(self, text: str = "Pay 100 EUR", pages: int = 1, **info: str) -> bytes:
        pdf = pikepdf.new()
        for _ in range(pages):
            page = pdf.add_blank_page(page_size=(200, 200))
            font = pikepdf.Dictionary(
                Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
            )
            page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
            page.Contents = pdf.make_stream(f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode())
        for name, value in info.items():
            pdf.docinfo[f"/{name}"] = value
        return self.saved(pdf)

    def saved(self, pdf: pikepdf.Pdf, **options: Any) -> bytes:
        out = io.BytesIO()
        pdf.save(out, **options)
        return out.getvalue()

    def certificate(self, name: str = "Ada Example") -> pyca.Certificate:
        subject = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        usage = pyca.KeyUsage(True, True, False, False, False, True, False, False, False)
        return (
            pyca.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(pyca.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(pyca.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def signer(self, certificate: pyca.Certificate | None = None) -> signers.SimpleSigner:
        certificate = certificate or self.certificate()
        own = x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
        key = self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return signers.SimpleSigner(
            signing_cert=own,
            signing_key=keys.PrivateKeyInfo.load(key),
            cert_registry=SimpleCertificateStore.from_certs([own]),
        )

    def signed(self, data: bytes | None = None, field: str = "Sig1", signer: Any = None, **metadata: Any) -> bytes:
        writer = IncrementalPdfFileWriter(io.BytesIO(self.plain() if data is None else data))
        meta = signers.PdfSignatureMetadata(field_name=field, **metadata)
        return signers.sign_pdf(writer, meta, signer=signer or self.signer()).getvalue()

    def with_form(self) -> bytes:
        """A PDF with one text field, ``name``, still empty."""
        pdf = pikepdf.open(io.BytesIO(self.plain()))
        text = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Widget, FT=pikepdf.Name.Tx, T=pikepdf.String("name"),
                Rect=pikepdf.Array([20, 20, 120, 40]), F=4, P=pdf.pages[0].obj,
            )
        )  # fmt: skip
        pdf.pages[0].obj.Annots = pdf.make_indirect(pikepdf.Array([text]))
        pdf.Root.AcroForm = pdf.make_indirect(pikepdf.Dictionary(Fields=pdf.make_indirect(pikepdf.Array([text]))))
        return self.saved(pdf)

    def updated(self, data: bytes, change: Any) -> bytes:
        """An incremental update: ``change(writer)`` is applied and appended."""
        writer = IncrementalPdfFileWriter(io.BytesIO(data))
        change(writer)
        out = io.BytesIO()
        writer.write(out)
        return out.getvalue()

    def reserved(self) -> bytes:
        """A PDF with a signature field that nobody signed."""
        return self.updated(
            self.plain(), lambda writer: fields.append_signature_field(writer, fields.SigFieldSpec("Sig1"))
        )


@pytest.fixture(scope="session")
def av_bench() -> AvBench:
    return AvBench()


@pytest.fixture(scope="session")
def pdf_bench() -> PdfBench:
    return PdfBench()


@pytest.fixture(scope="session")
def as_media() -> Any:
    """``as_media(data, media_type, kind)``: a Media as the opener would make it."""

    def make(data: bytes, media_type: str, kind: MediaKind) -> Media:
        return Media(data, hashlib.sha256(data).hexdigest(), kind, media_type)

    return make
