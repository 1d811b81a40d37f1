"""Keeping a ledger quick to open and to read: merging small files, checkpoints, and sweeping what nobody needs.

All of it runs on the writer's thread and through its handles, a bounded step at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger import delta_log
from dfbatch.ledger.checkpoint import write_checkpoint
from dfbatch.ledger.delta_log import DataFile
from dfbatch.ledger.file_info import FileInfo
from dfbatch.ledger.snapshot import in_key_order
from dfbatch.ledger.storage import Storage
from dfbatch.ledger.table import MERGE_FILES, LedgerTable

SMALL_ROWS = 16_384
SMALL_BYTES = 8 << 20
MERGE_AT_END = 8
"""So many small files of a batch are merged when it has finished."""

STEP_ROWS = 262_144
STEP_BYTES = 32 << 20
"""Bounds of one merge, so that a commit never waits longer than a fraction of a second."""

MERGED_GROUP_ROWS = 16_384
"""Rows per row group of a merged file: a small batch in it is read without its neighbours."""

CHECKPOINT_VERSIONS = 64
GRACE_S = 86_400.0
"""Files that are out of use stay so long, for readers that still hold an old snapshot."""

SWEEP_EVERY_S = 3_600.0


class Maintenance:
    """The upkeep of one table."""

    def __init__(self, storage: Storage, table: LedgerTable) -> None:
        self._storage = storage
        self._table = table
        self._finished: set[str] = set()
        self._looked_at = -1
        self._damaged = False
        self._swept_at: float | None = None

    def batches_finished(self, batch_ids: set[str]) -> None:
        """Have the rows of these batches merged soon."""
        self._finished |= batch_ids
        self._looked_at = -1

    def step(self, now_wall: float, next_commit_id: Callable[[], int]) -> bool:
        """Do one thing that is due; False if nothing is. Raises StorageRefused and LedgerFenced like a commit.

        LedgerCorrupt is raised once: the files of a damaged table are then left as they are.
        """
        if self._table.version != self._looked_at:
            if self._merge(next_commit_id) or self._checkpoint(now_wall):
                return True
            self._looked_at = self._table.version
        if self._swept_at is None or now_wall - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now_wall
            return self._sweep(now_wall)
        return False

    def _merge(self, next_commit_id: Callable[[], int]) -> bool:
        chosen = self._files_to_merge()
        if len(chosen) < 2 or self._damaged:
            return False
        try:
            rows = self._table.rows_of(in_key_order(chosen, self._table.snapshot.stored_schema))
        except LedgerCorrupt:
            self._damaged = True
            raise
        commit = next_commit_id()
        newest = max(file.path.partition("-")[0] for file in chosen)
        merged = self._table.write_file(rows, commit, data_change=False, name=newest, row_group_size=MERGED_GROUP_ROWS)
        self._table.exchange_files([merged], chosen, commit)
        return True

    def _files_to_merge(self) -> list[DataFile]:
        small = [f for f in self._table.snapshot.files.values() if f.rows < SMALL_ROWS and f.size < SMALL_BYTES]
        if len(small) >= MERGE_FILES:
            return self._bounded(small)
        for batch_id in sorted(self._finished):
            of_batch = [file for file in small if file.may_hold(batch_id)]
            if len(of_batch) >= MERGE_AT_END:
                return self._bounded(of_batch)
            self._finished.discard(batch_id)
        return []

    def _bounded(self, small: Sequence[DataFile]) -> list[DataFile]:
        """The smallest files of a keyed table; neighbours in time where the order of rows is that of their commits."""
        keyed = "job_index" in self._table.snapshot.schema.names
        chosen: list[DataFile] = []
        rows = size = 0
        for file in sorted(small, key=(lambda f: (f.rows, f.path)) if keyed else (lambda f: (0, f.path))):
            rows, size = rows + file.rows, size + file.size
            if len(chosen) >= MERGE_FILES or (len(chosen) > 1 and (rows > STEP_ROWS or size > STEP_BYTES)):
                break
            chosen.append(file)
        return chosen

    def _checkpoint(self, now_wall: float) -> bool:
        snapshot = self._table.snapshot
        if snapshot.version - max(snapshot.checkpoint, 0) < CHECKPOINT_VERSIONS:
            return False
        write_checkpoint(self._storage, snapshot, int(now_wall * 1000))
        return True

    def _sweep(self, now_wall: float) -> bool:
        """Delete files that have been out of use for a day: merged ones, orphans of a crash, old log entries.

        What nobody knows is listed before the log is looked at: a manager that slept through its replacement must not
        take the files of its successor for orphans.
        """
        before = now_wall - GRACE_S
        snapshot = self._table.snapshot
        listed = self._storage.list(self._table.name)
        log = self._storage.list(delta_log.log_folder(self._table.name))
        if not self._table.is_newest():
            return False
        doomed = [path for path, deleted in snapshot.tombstones.items() if deleted < before * 1000]
        known = snapshot.files.keys() | snapshot.tombstones.keys() | self._table.pending_paths()
        orphans = [i.path for i in listed if i.mtime < before and i.path.rpartition("/")[2] not in known]
        for path in [*(f"{self._table.name}/{path}" for path in doomed), *orphans, *self._old_log(log, before)]:
            self._storage.delete(path)
        for path in doomed:
            del snapshot.tombstones[path]
        return bool(doomed or orphans)

    def _old_log(self, log: Sequence[FileInfo], before: float) -> list[str]:
        """Entries and checkpoints older than the newest checkpoint, and leftovers of a crash."""
        old = []
        for info in log:
            name = info.path.rpartition("/")[2]
            entry = name[:20].isdecimal() and int(name[:20]) < self._table.snapshot.checkpoint
            if info.mtime < before and (entry or name.endswith(".tmp")):
                old.append(info.path)
        return old
