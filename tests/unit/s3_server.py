"""As much of the S3 protocol as a ledger needs, over HTTP on loopback, with the objects in memory.

Puts with ``If-None-Match: *`` are a compare-and-swap, as in S3 since 2024; a multipart upload is seen when it is
completed; listings come in pages of ``PAGE`` keys. Signatures are not checked.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

PAGE = 100


class S3Server(ThreadingHTTPServer):
    """``objects``: (bytes, wall seconds) by bucket and key. ``loses_answer``: of a method and a key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), S3Handler)
        self.objects: dict[tuple[str, str], tuple[bytes, float]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers = itertools.count(1)
        self.guard = threading.Lock()
        self.loses_answer = lambda method, key: False
        self.conditional_puts = 0
        self.port = self.server_address[1]

    def put(self, bucket: str, key: str, data: bytes, only_new: bool) -> int:
        """Store an object; the status of the answer."""
        with self.guard:
            self.conditional_puts += only_new
            if only_new and (bucket, key) in self.objects:
                return 412
            # One second later each time: an overwritten object is always newer.
            self.objects[bucket, key] = data, 1_780_000_000.0 + next(self.numbers)
            return 200


class S3Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: S3Server

    def handle_expect_100(self) -> bool:
        """The client waits a second for this before it sends the body."""
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        return True

    def do_PUT(self) -> None:
        bucket, key, query = self._target()
        data = self._body()
        if not key:
            return self._answer(200)
        if "uploadId" in query:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = data
            return self._answer(200, headers={"ETag": _etag(data)})
        status = self.server.put(bucket, key, data, self.headers.get("If-None-Match") == "*")
        if status == 412:
            return self._error(412, "PreconditionFailed")
        return self._answer(200, headers={"ETag": _etag(data)})

    def do_POST(self) -> None:
        bucket, key, query = self._target()
        body = self._body()
        if "uploads" in query:
            upload = f"upload-{next(self.server.numbers)}"
            self.server.uploads[upload] = {}
            return self._xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if "uploadId" in query:
            parts = self.server.uploads.pop(query["uploadId"])
            data = b"".join(parts[number] for number in sorted(parts))
            self.server.put(bucket, key, data, False)
            return self._xml("CompleteMultipartUploadResult", f"<ETag>{escape(_etag(data))}</ETag>")
        for found in ElementTree.fromstring(body).iter():  # ?delete
            if found.tag.endswith("Key"):
                self.server.objects.pop((bucket, found.text or ""), None)
        return self._xml("DeleteResult", "")

    def do_GET(self) -> None:
        bucket, key, query = self._target()
        if not key:
            return self._list(bucket, query)
        found = self.server.objects.get((bucket, key))
        if found is None:
            return self._error(404, "NoSuchKey")
        data, modified = found
        headers = {"ETag": _etag(data), "Last-Modified": formatdate(modified, usegmt=True), "Accept-Ranges": "bytes"}
        span = self.headers.get("Range")
        if span is None:
            return self._answer(200, data, headers)
        first, _, last = span.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return self._answer(206, data[start:stop], headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        bucket, key, query = self._target()
        self.server.uploads.pop(query.get("uploadId", ""), None)
        self.server.objects.pop((bucket, key), None)
        self._answer(204)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        entries: dict[str, str] = {}
        for (owner, key), (data, modified) in sorted(self.server.objects.copy().items()):
            if owner != bucket or not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folder = prefix + rest[: rest.index(delimiter) + len(delimiter)]
                entries[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            else:
                entries[key] = (
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{_iso(modified)}</LastModified>"
                    f"<ETag>{escape(_etag(data))}</ETag><Size>{len(data)}</Size></Contents>"
                )
        names = [name for name in sorted(entries) if name > after]
        page = names[: min(PAGE, int(query.get("max-keys", PAGE)))]
        more = len(names) > len(page)
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>"
        if more:
            text += f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        self._xml("ListBucketResult", text + "".join(entries[name] for name in page))

    # ---------------------------------------------------------------------------- the wire

    def _target(self) -> tuple[str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, {name: values[0] for name, values in parse_qs(parts.query, True).items()}

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b"".join(_chunks(self.rfile))
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        framed = "aws-chunked" in self.headers.get("Content-Encoding", "")
        return b"".join(_chunks(io.BytesIO(data))) if framed else data

    def _xml(self, name: str, inner: str) -> None:
        self._answer(200, f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'.encode())

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, data: bytes = b"", headers: Any = None) -> None:
        if status < 300 and self.server.loses_answer(self.command, self._target()[1]):
            self.close_connection = True
            return  # it was carried out, and nobody hears of it
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""


def _chunks(stream: Any) -> Iterator[bytes]:
    """The pieces of a chunked body; HTTP and S3 frame them alike. Lines after the last one, checksums, are dropped."""
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
