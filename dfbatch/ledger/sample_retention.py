"""Samples are kept for a while and then forgotten: whole files of the ``metrics`` table, the oldest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dfbatch.ledger.table import LedgerTable

KEPT_S = 7 * 86_400.0
"""A file that was written, or merged last, so long ago goes; its samples are older still."""
MOST_ROWS = 1_000_000
"""Beyond it the oldest files go, however young; the newest stays."""
_TABLE = "metrics"


class SampleRetention:
    """Removes old samples. Used by the writer's thread."""

    def __init__(self, tables: Mapping[str, LedgerTable], next_commit_id: Callable[[], int]) -> None:
        self._tables = tables
        self._next_commit_id = next_commit_id

    def step(self, now_wall: float) -> bool:
        """Remove the oldest file if it is due; False if none is. Raises StorageRefused and LedgerFenced like a commit.

        The files stay a day longer, for readers that hold an old snapshot.
        """
        table = self._tables[_TABLE]
        files = table.snapshot.files
        if not files or table.epoch == 0:
            return False
        oldest = files[min(files)]  # names begin with the number of their commit
        too_old = now_wall * 1000 - oldest.modified_ms >= KEPT_S * 1000
        too_many = len(files) > 1 and sum(file.rows for file in files.values()) > MOST_ROWS
        if too_old or too_many:
            table.exchange_files([], [oldest], self._next_commit_id(), drops_rows=True)
        return too_old or too_many
