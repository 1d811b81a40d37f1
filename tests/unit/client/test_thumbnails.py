import base64
import hashlib
import io
import os
import struct
import zlib

import pytest
from PIL import Image

from dfbatch.client.thumbnails import artifact_thumbnail, item_thumbnail, thumbnail


def picture(mode="RGB", size=(400, 200), form="PNG"):
    target = io.BytesIO()
    Image.new(mode, size).save(target, format=form)
    return target.getvalue()


def decoded(made):
    head, _, text = made.data_uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    return path


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("CMYK", "JPEG"),
     ("RGB", "WEBP"), ("P", "GIF"), ("RGB", "BMP"), ("F", "TIFF")],
)  # fmt: skip
def test_a_picture_is_made_small_and_made_anew(mode, form):
    made = thumbnail(picture(mode, form=form), 100)

    assert decoded(made).size == (made.width, made.height) == (100, 50)


def test_it_is_turned_as_its_exif_says():
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    target = io.BytesIO()
    image.save(target, format="JPEG", exif=exif)

    assert decoded(thumbnail(target.getvalue())).size == (20, 40)


def png_of(width, height):
    """A PNG that claims this size and holds no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", picture()[:60], b"<svg onload='alert(1)'/>", png_of(60_000, 60_000), png_of(9000, 9000),
     b"%!PS\n(quit) run", os.urandom(2000)],
    ids=["empty", "head", "truncated", "svg", "bomb", "many pixels", "postscript", "noise"],
)  # fmt: skip
def test_hostile_bytes_give_a_note_and_never_an_exception(data):
    made = thumbnail(data)

    assert made.data_uri is None
    assert made.note.startswith("No preview")


def test_a_local_file_is_shown_if_it_is_still_the_one_that_was_verified(photo):
    assert item_thumbnail(str(photo), sha(photo.read_bytes())).data_uri
    assert item_thumbnail(photo.as_uri(), None).data_uri

    changed = item_thumbnail(str(photo), sha(b"what it was"))

    assert changed.data_uri is None
    assert "changed since it was verified" in changed.note


@pytest.mark.parametrize(
    "uri", ["/gone.jpg", "https://example.org/x.jpg", "s3://b/x.jpg", "relative.jpg", "/tmp", "\0"]
)
def test_what_is_gone_or_far_away_is_not_shown(uri):
    assert item_thumbnail(uri, None).data_uri is None


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")

    assert item_thumbnail(str(tmp_path / "pipe.jpg"), None).data_uri is None


def test_an_item_given_by_value_is_read_from_the_ledger():
    data = picture()
    blobs = {f"blobs/{sha(data)}": data, "artifacts/map1": data}

    assert item_thumbnail(None, sha(data), read=blobs.get).data_uri
    assert artifact_thumbnail("map1", 100, blobs.get).width == 100
    assert artifact_thumbnail("artifacts/map1", 100, blobs.get).data_uri
    assert artifact_thumbnail("gone", 100, blobs.get).data_uri is None


def test_storage_that_is_away_costs_the_picture_only():
    def away(path):
        raise OSError("no route")

    assert item_thumbnail(None, "0" * 64, read=away).data_uri is None
