"""How a line of a worker's log looks: as JSON for machines, as text for the eye."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

FILE_BYTES = 10 << 20
"""A log file is put aside at this size, and one is kept."""


class JsonLines(logging.Formatter):
    """``time, level, logger, worker, batch_id, job_id, message`` and, where there is one, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "worker": getattr(record, "worker", None),
            "batch_id": getattr(record, "batch_id", None),
            "job_id": getattr(record, "job_id", None),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class TextLines(logging.Formatter):
    """The same for the eye: time, level, worker or job, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(about)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        about = getattr(record, "job_id", None) or getattr(record, "worker", None)
        record.about = f"[{about}] " if about else ""
        return super().format(record)


class LogFile(logging.Handler):
    """Lines appended to a file, each written through at once; a full file is put aside as ``NAME.1``.

    RotatingFileHandler looks at the file system for every record, which a verifier that prints would feel.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._n_bytes = self._file.tell()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
            if self._n_bytes + len(line) > FILE_BYTES:
                self._file.close()
                os.replace(self._path, f"{self._path}.1")
                self._file = self._path.open("ab", buffering=0)
                self._n_bytes = 0
            self._n_bytes += self._file.write(line) or 0
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._file.close()
        super().close()


def log_handler(form: str, path: Path | None = None) -> logging.Handler:
    """Writes to the file, or to standard error as it is now. ``form``: json or text."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if path is None else LogFile(path)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    return handler
