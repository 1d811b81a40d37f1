"""What a failed job said last, as the manager wrote it down in ``events``."""

from __future__ import annotations

import json

import pyarrow.compute as pc

from dfbatch.ledger.reading import LedgerReader

LOG_EVENT = "job_log"


def last_words(reader: LedgerReader, batch_id: str, index: int) -> list[str]:
    """The last lines of the newest generation that failed and said something."""
    columns = ["kind", "detail"]
    table = reader.read("events", batch_id=batch_id, columns=columns, expression=pc.field("kind") == LOG_EVENT)
    found = [detail for text in table["detail"].to_pylist() if (detail := json.loads(text))["job_index"] == index]
    newest = max(found, key=lambda detail: int(detail["generation"]), default={"log": ""})
    return str(newest["log"]).splitlines()
