"""Bytes of an item from wherever it lies: read once, bounded, and with its size known before.

A path, ``file://``, any URI that pyarrow.fs knows (s3, gs, abfs, hdfs), else fsspec.
What can never succeed is a MediaError. A failing network is not: OSError and
TransientError pass, so that the item is tried again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.authenticity.media.sniff import HEAD_BYTES, sniff
from dfbatch.errors import (
    DfbatchError,
    MediaEmpty,
    MediaError,
    MediaMissing,
    MediaNotPermitted,
    MediaTooLarge,
    MediaUnreadable,
    MediaUnsupported,
    TransientError,
)

_AT_ONCE_BYTES = 1 << 20
"""Most media are read with one request of this size; only of larger ones the kind is asked before the rest."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://|(file):/")
_ARROW_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
_CLOUD_REFUSALS = ("ACCESS_DENIED", "AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "PERMISSION_DENIED")
_CLOUD_ABSENCES = ("NO_SUCH_BUCKET", "NO_SUCH_KEY", "NoSuchBucket", "does not exist", "Not Found", "404")

_BY_ERRNO: dict[int, tuple[type[MediaError], str]] = {
    errno.ENOENT: (MediaMissing, "There is no file {where}. Check the path, or whether the worker sees that folder."),
    errno.ENOTDIR: (MediaMissing, "There is no file {where}: a part of its path is not a folder."),
    errno.ENAMETOOLONG: (MediaMissing, "There is no file {where}: the name is longer than the file system allows."),
    errno.EACCES: (MediaNotPermitted, "The worker may not read {where}. Give its user the right to read it."),
    errno.EPERM: (MediaNotPermitted, "The worker may not read {where}. Give its user the right to read it."),
    errno.EISDIR: (MediaUnreadable, "{where} is a folder. Give the files in it, or verify the folder itself."),
    errno.ELOOP: (MediaUnreadable, "{where} is a symbolic link that leads back to itself."),
    errno.ENXIO: (MediaUnreadable, "{where} is a pipe or a device, not a file."),
}


class Located(NamedTuple):
    """All bytes of an item, and their SHA-256 in hexadecimal, taken before anything looked inside."""

    data: bytes
    sha256: str


def read_media(source: str | os.PathLike[str] | bytes, limits: MediaLimits = DEFAULT_LIMITS) -> Located:
    """Read an item. Bytes are taken as they are; anything else is a path or URI.

    Raises MediaMissing, MediaNotPermitted, MediaEmpty, MediaTooLarge, MediaUnreadable
    or MediaUnsupported (a scheme nobody here can read); OSError or TransientError for
    trouble that may pass.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = _by_value(bytes(source), limits)
    else:
        data = _read_from(os.fspath(source), limits)
    return Located(data, hashlib.sha256(data).hexdigest())


def _by_value(data: bytes, limits: MediaLimits) -> bytes:
    if not data:
        raise MediaEmpty("The item has no bytes. Give the content of a media file.")
    _check_size(len(data), data[:HEAD_BYTES], "The item", limits)
    return data


def _read_from(where: str, limits: MediaLimits) -> bytes:
    match = _SCHEME.match(where)
    scheme = (match[1] or match[2]).lower() if match else ""
    if not scheme:
        return _read_local(where, where, limits)
    if scheme == "file":
        return _read_local(_path_of(where), where, limits)
    return _read_remote(where, scheme, limits)


def _path_of(uri: str) -> str:
    rest = uri.partition(":")[2]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise MediaMissing(f"{uri} names the host '{host}'; file:// reads only files that the worker sees.")
        rest = slash + path
    return unquote(rest, errors="surrogateescape")  # '?' and '#' are letters of a file name, not parts of a query


def _read_local(path: str, where: str, limits: MediaLimits) -> bytes:
    try:
        _refuse_unless_file(os.stat(path).st_mode, where)  # before opening: a device may act when it is opened
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            _refuse_unless_file(status.st_mode, where)  # again: the name may have got another file meanwhile
            return _read_bounded(file, status.st_size, where, limits)
    except ValueError:
        raise MediaMissing(f"There is no file {where!r}: no path can have such a character.") from None
    except OSError as error:
        if error.errno not in _BY_ERRNO:
            raise
        kind, sentence = _BY_ERRNO[error.errno]
        raise kind(sentence.format(where=where)) from None


def _refuse_unless_file(mode: int, where: str) -> None:
    if stat.S_ISDIR(mode):
        raise MediaUnreadable(_BY_ERRNO[errno.EISDIR][1].format(where=where))
    if not stat.S_ISREG(mode):
        raise MediaUnreadable(f"{where} is a pipe, a socket or a device, not a file.")


def _read_remote(uri: str, scheme: str, limits: MediaLimits) -> bytes:
    read = _read_arrow if scheme in _ARROW_SCHEMES else _read_fsspec
    try:
        return read(uri, limits)
    except (DfbatchError, MemoryError):
        raise
    except FileNotFoundError:
        raise MediaMissing(f"There is nothing at {uri}.") from None
    except IsADirectoryError:
        raise MediaUnreadable(_BY_ERRNO[errno.EISDIR][1].format(where=uri)) from None
    except PermissionError:
        raise MediaNotPermitted(f"The worker may not read {uri}. Check its credentials.") from None
    except OSError as error:
        raise _told_by_text(error, uri) from error
    except Exception as error:
        status = getattr(error, "status", None)
        if not isinstance(status, int):
            raise
        raise _told_by_status(status, uri) from error


def _told_by_status(status: int, uri: str) -> Exception:
    """HTTP clients raise classes of their own; the status says whether another try can help."""
    if status in (401, 403, 407, 451):
        return MediaNotPermitted(f"The server refuses {uri} (HTTP {status}). Check the credentials.")
    if status in (404, 410):
        return MediaMissing(f"There is nothing at {uri} (HTTP {status}).")
    if 400 <= status < 500 and status not in (408, 425, 429):
        return MediaUnreadable(f"The server does not give out {uri} (HTTP {status}).")
    return TransientError(f"The server of {uri} cannot answer now (HTTP {status}).")


def _told_by_text(error: OSError, uri: str) -> Exception:
    """Object stores report refusals as plain OSError; the text tells them from a network that failed."""
    text = str(error)
    if any(sign in text for sign in _CLOUD_REFUSALS):
        return MediaNotPermitted(f"The worker may not read {uri}. Check its credentials. ({text[:200]})")
    if any(sign in text for sign in _CLOUD_ABSENCES):
        return MediaMissing(f"There is nothing at {uri}. ({text[:200]})")
    return error


def _read_arrow(uri: str, limits: MediaLimits) -> bytes:
    import pyarrow as pa
    from pyarrow import fs

    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise MediaUnsupported(f"{uri} cannot be read here: {error}") from None
    info = system.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(uri)
    if info.type == fs.FileType.Directory:
        raise IsADirectoryError(uri)
    with system.open_input_file(path) as file:
        return _read_bounded(file, info.size, uri, limits)


def _read_fsspec(uri: str, limits: MediaLimits) -> bytes:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise MediaUnsupported(f"{uri} cannot be read here ({error}). Copy the file to where it can.") from None
    info = system.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(uri)
    with system.open(path, "rb") as file:
        return _read_bounded(file, info.get("size"), uri, limits)


def _read_bounded(file: BinaryIO, size: int | None, where: str, limits: MediaLimits) -> bytes:
    """All bytes of an open file; ``size`` is what the file system says, None if it does not know."""
    if size == 0:
        raise MediaEmpty(f"{where} has no bytes.")
    if size is not None and size > limits.most_bytes:
        _check_size(size, b"", where, limits)
    head = bytes(file.read(_AT_ONCE_BYTES + 1))
    if not head:
        raise MediaEmpty(f"{where} has no bytes.")
    _check_size(size or len(head), head[:HEAD_BYTES], where, limits)
    most = _most_bytes(head[:HEAD_BYTES], limits)
    parts, total = [head], len(head)
    while part := bytes(file.read(max(1, min((size or most), most) - total + 1))):
        parts.append(part)
        total += len(part)
        if total > most:
            raise MediaTooLarge(_too_large(where, total, most))
    return b"".join(parts)


def _check_size(size: int, head: bytes, where: str, limits: MediaLimits) -> None:
    most = _most_bytes(head, limits)
    if size > most:
        raise MediaTooLarge(_too_large(where, size, most))


def _most_bytes(head: bytes, limits: MediaLimits) -> int:
    sniffed = sniff(head) if head else None
    return limits.max_bytes(sniffed[0]) if sniffed else limits.most_bytes


def _too_large(where: str, size: int, most: int) -> str:
    return f"{where} has {size:,} bytes or more; the limit is {most:,}. Raise it in MediaLimits to verify this item."
