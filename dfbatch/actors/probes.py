"""What orchestrators ask of a worker process: is it alive, is it ready. By HTTP on a port, and by a file."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dfbatch.errors import ConnectError

FRESH_S = 15.0
"""A health file is written every second; an older one was left by a process that hangs or is gone."""
_REQUEST_S = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    """``live``: every worker's heart beats. ``ready``: at least one leases. ``at``: wall seconds."""

    live: bool
    ready: bool
    at: float
    pid: int
    workers: list[dict[str, Any]] = field(default_factory=list)

    def encode(self) -> bytes:
        """Indented JSON with a line end, as the probes give it out."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def write_health(path: str, health: Health) -> None:
    """Replace the file as a whole: whoever reads it sees this or the one before. Raises OSError."""
    beside = f"{path}.{os.getpid()}"
    with open(beside, "wb") as file:
        file.write(health.encode())
    os.replace(beside, path)


def check_health(path: str, what: str, now: float | None = None) -> str | None:
    """What a probe by file has to say: None if all is well, else why not. ``what``: live or ready."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(1 << 20))
        age_s = (time.time() if now is None else now) - float(found["at"])
        is_well = found[what] is True
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): no worker writes it."
    except (ValueError, KeyError, TypeError):
        return f"{path} is no health file of dfbatch worker."
    if age_s > FRESH_S:
        return f"{path} was written {age_s:.0f} s ago: its worker hangs, or is gone."
    return None if is_well else f"The worker is not {what}."


class _Probe(BaseHTTPRequestHandler):
    """``GET /livez`` and ``/readyz``: 200 or 503, with the health as JSON."""

    server_version, sys_version = "dfbatch", ""
    timeout = _REQUEST_S
    read: Callable[[], Health]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path not in ("/livez", "/readyz"):
            self._answer(404, b'{"error": "there are /livez and /readyz"}\n')
            return
        health = self.read()
        is_well = health.live if path == "/livez" else health.ready
        self._answer(200 if is_well else 503, health.encode())

    do_HEAD = do_GET  # noqa: N815  (the name is the protocol of the base class)

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes come every few seconds; nobody wants to read that."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Somebody hung up."""


@contextlib.contextmanager
def probe_port(host: str, port: int, read: Callable[[], Health]) -> Iterator[int]:
    """Answer probes while the block runs; gives the port, a free one for 0. Raises ConnectError if it is taken."""
    handler = type("_BoundProbe", (_Probe,), {"read": staticmethod(read)})
    try:
        server = _Server((host, port), handler)
    except (OSError, OverflowError) as error:
        raise ConnectError(
            f"Probes cannot be answered at {host}:{port} ({error}). Choose another --health-port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="dfbatch-probes", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5.0)
