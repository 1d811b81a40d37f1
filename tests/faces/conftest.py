"""A ledger as a manager leaves it, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dfbatch.cli.app import app
from dfbatch.clock import ManualClock
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.schemas import BATCHES, EVENTS, RESULTS
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

BATCH = "k3f2m9qx"
_AT = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
_OUTCOMES = [
    ("photo-01.jpg", "image/jpeg", "succeeded", "authentic", "Signed by a trusted camera and not changed since"),
    ("photo-02.jpg", "image/jpeg", "succeeded", "no_manipulation_found", "No detector found a sign of manipulation"),
    ("forged-copy-move-with-a-very-long-name.png", "image/png", "succeeded", "manipulated", "Two areas are copies"),
    ("generated.png", "image/png", "succeeded", "ai_generated", "The file declares that AI made it"),
    ("voice.wav", "audio/x-wav", "succeeded", "inconclusive", "No detector for sound had enough to say"),
    ("empty.pdf", "application/pdf", "succeeded", "not_applicable", "The document has no pictures and no signature"),
    ("[bold]cut.jpg", "image/jpeg", "failed", None, "The file ends before its content does: 31 % is missing"),
    ("gone.jpg", None, "failed", None, "There is no file at this path"),
]


@dataclass
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


@pytest.fixture
def dfbatch_command() -> Callable[..., Answer]:
    """Runs ``dfbatch ARGUMENTS`` in a terminal of 80 columns without colours."""

    def run(*arguments: str | Path) -> Answer:
        runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"})
        result = runner.invoke(app, [str(argument) for argument in arguments], prog_name="dfbatch")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="module")
def recorded_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one ended batch of eight outcomes and one batch that still runs."""
    root = tmp_path_factory.mktemp("recorded") / "ledger"
    writer = LedgerWriter.open(open_storage(root), clock=ManualClock())
    writer.take_over(ManagerInfo("dfbatch", 0, "local", 1, "host", "in_process", "manager", _AT.timestamp(), "0.1.0"))
    writer.commit(CommitGroup({"batches": _batches()}))
    commit = writer.next_commit_id()
    writer.commit(CommitGroup({"results": _results(commit)}, commit))
    writer.commit(CommitGroup({"events": _events()}))
    return root


def _batches() -> pa.Table:
    shared = {"kind": "verify", "queue": "verification", "priority": 0, "submitted_at": _AT}
    ended = {"batch_id": BATCH, "name": "Claims of May", "n_jobs": len(_OUTCOMES), **shared}
    running = {
        "batch_id": "k3f2n000",
        "name": None,
        "verifier_name": "a_rather_long.module_name.count_words",
        "n_jobs": -1,
        **shared,
    }
    return pa.Table.from_pylist([ended, running], schema=BATCHES.arrow)


def _results(commit: int) -> pa.Table:
    rows = []
    for index, (file, media_type, status, verdict, why) in enumerate(_OUTCOMES):
        failed = status == "failed"
        rows.append(
            {
                "batch_id": BATCH,
                "job_index": index,
                "job_id": f"{BATCH}-{index}",
                "generation": 0,
                "uri": f"/cases/may/{file}",
                "media_type": media_type,
                "status": status,
                "verdict": verdict,
                "p_manipulated": float("nan") if verdict == "inconclusive" else None,
                "reasons": None if failed else [why],
                "error_type": ("MediaTruncated" if media_type else "MediaMissing") if failed else None,
                "error_message": why if failed else None,
                "attempts": 1,
                "finished_at": _AT,
                "commit_id": commit,
            }
        )
    return pa.Table.from_pylist(rows, schema=RESULTS.arrow)


def _events() -> pa.Table:
    detail = json.dumps({"status": "partial"})
    row = {"batch_id": BATCH, "at": _AT, "kind": "batch_finished", "detail": detail, "epoch": 1, "seq": 1}
    return pa.Table.from_pylist([row], schema=EVENTS.arrow)
