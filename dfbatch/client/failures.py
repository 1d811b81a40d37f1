"""Failed rows in groups, so that four hundred of one kind are one line."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import JobState

FAILED = (JobState.FAILED.value, JobState.EXPIRED.value)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """``n`` jobs that failed with ``error_type``; ``message`` and ``job_id`` are those of the first of them."""

    error_type: str
    n: int
    message: str
    job_id: str

    def __str__(self) -> str:
        return f"{self.n:,} x {self.error_type}: {self.message}"


def failed_mask(table: pa.Table) -> pa.ChunkedArray:
    """True for the rows of failed and expired jobs."""
    return pc.is_in(table.column("status"), value_set=pa.array(FAILED))


def group_failures(table: pa.Table) -> list[FailureGroup]:
    """The failed and expired rows of a results table by error type, the most frequent first."""
    failed = table.select(["job_id", "status", "error_type", "error_message"]).filter(failed_mask(table))
    if not len(failed):
        return []
    names = pc.coalesce(failed.column("error_type"), failed.column("status"))
    numbered = pa.table({"error": names, "row": pa.array(range(len(failed)), pa.int64())})
    found = numbered.group_by("error").aggregate([("row", "count"), ("row", "min")]).to_pylist()
    groups = []
    for group in sorted(found, key=lambda g: (-g["row_count"], g["row_min"])):
        first = failed.slice(group["row_min"], 1).to_pylist()[0]
        message = (first["error_message"] or "").strip()
        groups.append(FailureGroup(group["error"], group["row_count"], message, first["job_id"]))
    return groups
