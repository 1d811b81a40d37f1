"""Bytes come from anywhere, once, bounded, and what is wrong has a name."""

import hashlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.locate import read_media
from dfbatch.errors import (
    DfbatchError,
    MediaEmpty,
    MediaMissing,
    MediaNotPermitted,
    MediaTooLarge,
    MediaUnreadable,
    MediaUnsupported,
    TransientError,
)


@pytest.fixture
def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    return path


def test_the_same_bytes_come_by_path_uri_and_value(tmp_path: Path, picture: bytes) -> None:
    path = tmp_path / "a 100% real#1?.png"
    path.write_bytes(picture)
    fsspec.filesystem("memory").pipe("/held.png", picture)
    uri = path.as_uri()
    sources = [path, str(path), uri, uri.replace("file:///", "file:/"), uri.replace("file://", "file://localhost")]
    for source in [*sources, "memory://held.png", picture, bytearray(picture)]:
        located = read_media(source)
        assert located.data == picture
        assert located.sha256 == hashlib.sha256(picture).hexdigest()


def test_a_name_that_is_no_valid_text_is_found_by_its_uri(tmp_path: Path, picture: bytes) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(picture)
    assert read_media(f"{tmp_path.as_uri()}/caf%E9.png").data == picture


def test_a_file_larger_than_one_request_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "big.bin").write_bytes(data)
    assert read_media(tmp_path / "big.bin").data == data


@pytest.mark.parametrize(
    "where",
    [
        "nowhere.jpg",
        "file:///nowhere/at/all.jpg",
        "file://otherhost/a.jpg",
        "memory://nowhere.jpg",
        "a\0b.jpg",
        "x" * 9000,
    ],
)
def test_what_is_not_there_is_missing(where: str) -> None:
    with pytest.raises(MediaMissing, match=r"(?i)nowhere|otherhost|no file"):
        read_media(where)


def test_a_path_through_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(MediaMissing, match="not a folder"):
        read_media(tmp_path / "file" / "photo.jpg")


@pytest.mark.parametrize("empty", [b"", "empty.jpg"])
def test_no_bytes_are_said_to_be_empty(empty: bytes | str, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(MediaEmpty):
        read_media(empty if isinstance(empty, bytes) else tmp_path / empty)


def test_what_is_no_file_is_unreadable_and_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "ring.jpg").symlink_to(tmp_path / "ring.jpg")
    short = Path(os.path.relpath(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short))
        for path in (tmp_path, tmp_path / "pipe.jpg", tmp_path / "ring.jpg", tmp_path / "s", Path("/dev/zero")):
            with pytest.raises(MediaUnreadable, match=r"folder|pipe|link"):
                read_media(path)


def test_a_remote_folder_is_unreadable() -> None:
    fsspec.filesystem("memory").pipe("/album/one.jpg", b"x")
    with pytest.raises(MediaUnreadable, match="folder"):
        read_media("memory://album")


@pytest.fixture
def _without_privileges(secret: Path) -> Iterator[None]:
    """Root may read everything, so a test as root is somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("_without_privileges")
def test_a_file_of_others_is_not_permitted(secret: Path) -> None:
    path = secret
    with pytest.raises(MediaNotPermitted, match="may not read"):
        read_media(path)


def test_the_limit_is_that_of_the_kind_and_asked_before_reading(tmp_path: Path, picture: bytes) -> None:
    limits = MediaLimits(max_image_bytes=len(picture) - 1)
    (tmp_path / "photo.png").write_bytes(picture)
    with open(tmp_path / "sparse.mp4", "wb") as file:
        file.truncate(1 << 40)  # a terabyte that needs no disk, and must need no memory
    for source in (tmp_path / "photo.png", picture, tmp_path / "sparse.mp4"):
        with pytest.raises(MediaTooLarge, match="limit is"):
            read_media(source, limits)
    assert read_media(picture, MediaLimits(max_image_bytes=len(picture))).data == picture
    assert read_media(b"x" * len(picture), limits).data  # no image, so another limit


def test_a_scheme_that_nobody_reads_is_unsupported() -> None:
    with pytest.raises(MediaUnsupported, match="gopher"):
        read_media("gopher://example.org/photo.jpg")


class _Refusal(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Failing(fsspec.AbstractFileSystem):
    """A server that answers every request with the error named by the path."""

    protocol = "failing"
    cachable = False

    def info(self, path: str, **kwargs: object) -> dict[str, object]:
        what = path.rsplit("/", 1)[-1]
        raise _Refusal(int(what)) if what.isdigit() else OSError(what)


@pytest.fixture
def _failing_server() -> None:
    fsspec.register_implementation("failing", _Failing, clobber=True)


@pytest.mark.usefixtures("_failing_server")
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("403", MediaNotPermitted),
        ("404", MediaMissing),
        ("400", MediaUnreadable),
        ("429", TransientError),
        ("503", TransientError),
        ("AWS Error ACCESS_DENIED during HeadObject", MediaNotPermitted),
        ("AWS Error NO_SUCH_BUCKET", MediaMissing),
    ],
)
def test_a_server_says_whether_another_try_can_help(answer: str, error: type[DfbatchError]) -> None:
    with pytest.raises(error):
        read_media(f"failing://server/{answer}")


@pytest.mark.usefixtures("_failing_server")
def test_trouble_of_the_network_is_no_fault_of_the_item() -> None:
    with pytest.raises(OSError, match="timed out") as caught:
        read_media("failing://server/connection timed out")
    assert not isinstance(caught.value, DfbatchError)
