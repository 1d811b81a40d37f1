"""How a line of a worker's log looks: as JSON for machines, as text for the eye."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
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


def log_handler(form: str, path: Path | None = None) -> logging.Handler:
    """Writes to the file, or to standard error as it is now. ``form``: json or text."""
    if path is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    return handler
