"""The log of a worker process: all it says, with the job it is about, in one place and not on anybody's screen."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dfbatch.actors.context import JobContext
from dfbatch.actors.log_ring import Job, RingHandler
from dfbatch.actors.print_writer import PrintWriter
from dfbatch.config import resolve
from dfbatch.errors import InvalidInput

_RUNS_VERIFIERS = "dfbatch-worker"
"""Of our own threads the one whose records are about the job at hand; those of verifiers have other names."""


class JobFields(logging.Filter):
    """Adds ``worker``, ``batch_id`` and ``job_id`` to records; the ids are None between jobs."""

    def __init__(self, worker: str, where: Callable[[], Job | None]) -> None:
        super().__init__()
        self._worker = worker
        self._where = where

    def filter(self, record: logging.LogRecord) -> bool:
        thread = record.threadName or ""
        is_ours = thread.startswith("dfbatch-") and thread != _RUNS_VERIFIERS
        job = None if is_ours else self._where()
        record.worker = self._worker
        record.batch_id = None if job is None else job[0]
        record.job_id = None if job is None else f"{job[0]}-{job[1]}"
        return True


def asked_level() -> str:
    """DFBATCH_LOG_LEVEL, or its default. A worker does not end because of a level that is not known."""
    try:
        return resolve().log_level
    except InvalidInput:
        return "WARNING"


def speak_of_jobs(worker: str, context: JobContext, handler: logging.Handler, level: str) -> None:
    """From now on all records and prints of this process go to the handler, and those about a job into its ring.

    Records below ``level`` are dropped; prints are not. For processes that run one worker and nothing else.
    """
    ring, where = context.said, context.at_hand
    handler.addFilter(JobFields(worker, where))
    to_ring = RingHandler(ring, where)
    to_ring.addFilter(lambda record: not record.name.startswith("dfbatch."))  # ctx.log has been there already
    handler.setLevel(level)
    root = logging.getLogger()
    root.handlers[:] = [handler, to_ring]
    root.setLevel(level)
    logging.captureWarnings(True)

    def say(stream: str) -> Callable[[str], None]:
        number = logging.ERROR if stream == "stderr" else logging.INFO

        def line(text: str) -> None:
            job = where()
            if job is not None and not _is_ours():
                ring.add(job, text)
            handler.handle(logging.LogRecord(stream, number, "", 0, text, None, None))

        return line

    sys.stdout = PrintWriter(sys.stdout, say("stdout"))
    sys.stderr = PrintWriter(sys.stderr, say("stderr"))


def _is_ours() -> bool:
    name = threading.current_thread().name
    return name.startswith("dfbatch-") and name != _RUNS_VERIFIERS


def log_file(folder: str | None, worker: str) -> Path | None:
    """Where a worker logs in a folder of logs; None without one."""
    return None if folder is None else Path(folder) / f"{worker.replace(':', '-')}-{os.getpid()}.log"
