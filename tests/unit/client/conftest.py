"""Results tables as the ledger gives them, for the tests of what is made of them."""

import hashlib
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from dfbatch.ledger.schemas import RESULTS

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOTES = {"outputs", "commit_id"}


def row(index, **changes):
    """A succeeded row of the batch k3f2m9qx, nothing found, with ``changes``."""
    found = {
        "batch_id": "k3f2m9qx",
        "job_index": index,
        "job_id": f"k3f2m9qx-{index}",
        "generation": 1,
        "uri": f"/case/{index:04}.jpg",
        "media_type": "image/jpeg",
        "size": 1_234_567,
        "sha256": hashlib.sha256(str(index).encode()).hexdigest(),
        "status": "succeeded",
        "verdict": "no_manipulation_found",
        "p_manipulated": 0.12,
        "coverage": 0.8,
        "reasons": ["Four methods apply and find nothing."],
        "findings": [
            {
                "detector": "copy_move",
                "version": "1",
                "applicable": True,
                "score": 0.1,
                "llr": -1.2,
                "cost_s": 0.4,
                "reason": "No region occurs twice.",
                "facts": '{"inliers": 0}',
            },
            {
                "detector": "pdf_signatures",
                "version": "2",
                "applicable": False,
                "reason": "This is no PDF.",
                "cost_s": 0.0,
            },
        ],
        "provenance": {"state": "none", "ai_declared": False},
        "attempts": 1,
        "worker_deaths": 0,
        "worker_id": "w-1",
        "node": "10.0.0.1",
        "verifier_fingerprint": "f00d",
        "finished_at": START + timedelta(seconds=index),
        "duration_s": 0.75,
    }
    return found | changes


def failed(index, error_type="MediaTruncated", message="The file ends before its content does.", **changes):
    """A failed row."""
    nothing = dict.fromkeys(("verdict", "p_manipulated", "coverage", "reasons", "findings", "provenance"))
    return row(index, **nothing, status="failed", error_type=error_type, error_message=message, **changes)


def table_of(rows, **structs):
    """The results table of these rows; ``input=`` and ``output=`` are lists of dicts."""
    schema = pa.schema([field for field in RESULTS.arrow if field.name not in NOTES])
    table = pa.Table.from_pylist(rows, schema=schema)
    for name, values in structs.items():
        table = table.append_column(name, pa.array(values))
    return table


@pytest.fixture(scope="module", autouse=True)
def brisk_managers(brisk):
    """Nearly every test here has a manager in the process."""


@pytest.fixture
def make():
    """Builders of rows and tables: ``make.row``, ``make.failed``, ``make.table``."""

    class Make:
        pass

    Make.row, Make.failed, Make.table = staticmethod(row), staticmethod(failed), staticmethod(table_of)
    return Make
