"""A ledger in a temporary folder, rows for it, and disks that record or fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dfbatch.clock import ManualClock
from dfbatch.ledger.disk import Disk
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

INFO = ManagerInfo("dfbatch", 0, "local", 1, "host", "in_process", "manager", 1_780_000_000.0, "0.1.0")


class LedgerRows:
    """Rows as a manager would write them."""

    info = INFO

    @staticmethod
    def submit(
        batch_id: str, n: int, *, inputs: str | None = None, first: int = 0, **columns: Any
    ) -> dict[str, pa.Table]:
        """The tables of one submit of ``n`` jobs."""
        index = np.arange(first, first + n)
        key = {"batch_id": [batch_id] * n, "job_index": index}
        row = {"batch_id": [batch_id], "n_jobs": [n], "inputs": pa.array([inputs], pa.string())}
        row |= {name: [value] for name, value in columns.items()}
        tables = {
            "jobs": pa.table({**key, "uri": [f"file:///{batch_id}/{i}.jpg" for i in index]}),
            "batches": pa.table(row),
        }
        if inputs is not None:
            tables[inputs] = pa.table({**key, "input": [{"label": f"{batch_id}/{i}"} for i in index]})
        return tables

    @staticmethod
    def results(
        batch_id: str,
        index: Sequence[int],
        commit: int,
        *,
        generation: int = 0,
        status: str = "succeeded",
        **columns: Any,
    ) -> pa.Table:
        n = len(index)
        constants = {"batch_id": batch_id, "status": status} | columns
        encoded = {
            name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value]))
            for name, value in constants.items()
        }
        return pa.table(
            {
                **encoded,
                "job_index": pa.array(index, pa.int64()),
                "generation": pa.array([generation] * n, pa.int16()),
                "job_id": [f"{batch_id}-{i}" for i in index],
                "verdict": pa.nulls(n),
                "commit_id": pa.array([commit] * n, pa.int64()),
            }
        )

    @staticmethod
    def outputs(
        batch_id: str, index: Sequence[int], commit: int, values: Sequence[Any], *, generation: int = 0
    ) -> pa.Table:
        n = len(index)
        return pa.table(
            {
                "batch_id": [batch_id] * n,
                "job_index": pa.array(index, pa.int64()),
                "generation": pa.array([generation] * n, pa.int16()),
                "commit_id": pa.array([commit] * n, pa.int64()),
                "output": pa.array(values),
            }
        )

    @staticmethod
    def attempts(batch_id: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist([{"batch_id": batch_id, "generation": 0, **row} for row in rows])

    @staticmethod
    def event(
        kind: str, seq: int, *, batch_id: str | None = None, detail: str | None = None, epoch: int = 1
    ) -> pa.Table:
        row = {"kind": kind, "seq": seq, "epoch": epoch, "batch_id": batch_id, "detail": detail}
        return pa.table({name: [value] for name, value in row.items()})


class HastyDisk(Disk):
    """A disk that does not wait for its cache, for tests that pull no plug."""

    def sync_file(self, path: str) -> None:
        os.stat(path)

    def sync_folder(self, path: str) -> None:
        os.stat(path)


class FailingDisk(HastyDisk):
    """A disk on which the operation number ``fail_at`` fails, and those after it until ``n_failures`` have failed.

    ``after`` means that they were carried out nevertheless.
    """

    def __init__(
        self, fail_at: int | None = None, *, after: bool = False, code: int = errno.ENOSPC, n_failures: int = 1
    ) -> None:
        self.fail_at, self.after, self.code, self.n_failures, self.done = fail_at, after, code, n_failures, 0

    def _step(self, run: Callable[[], None]) -> None:
        self.done += 1
        if self.fail_at is None or not 0 <= self.done - self.fail_at < self.n_failures:
            return run()
        if self.after:
            run()
        raise OSError(self.code, os.strerror(self.code))

    def write(self, path: str, data: bytes) -> None:
        self._step(lambda: super(FailingDisk, self).write(path, data))

    def write_parquet(self, path: str, table: pa.Table, row_group_size: int, dictionary: Sequence[str]) -> None:
        self._step(lambda: super(FailingDisk, self).write_parquet(path, table, row_group_size, dictionary))

    def sync_file(self, path: str) -> None:
        self._step(lambda: super(FailingDisk, self).sync_file(path))

    def sync_folder(self, path: str) -> None:
        self._step(lambda: super(FailingDisk, self).sync_folder(path))

    def link(self, source: str, target: str) -> None:
        self._step(lambda: super(FailingDisk, self).link(source, target))

    def rename(self, source: str, target: str) -> None:
        self._step(lambda: super(FailingDisk, self).rename(source, target))


@dataclass
class PowerLoss:
    """What a disk keeps when the power fails: bytes that were fsynced, under names whose folder was fsynced.

    Files are inodes; a name in ``names`` is volatile until its folder is synced into ``durable``.
    """

    bytes_of: dict[int, bytes] = field(default_factory=dict)
    synced: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    durable: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    durable_folders: set[str] = field(default_factory=set)

    def rebuild(self, source: str, target: Path, *, everything: bool) -> None:
        """Lay out under ``target`` what is left of ``source``: the least that may be, or all that was written."""
        folders = self.folders if everything else self.durable_folders
        names = self.names if everything else self.durable
        content = self.bytes_of if everything else self.synced
        target.mkdir(parents=True)
        for folder in sorted(folders):
            parent = os.path.dirname(folder)
            if parent == source or parent in folders:
                (target / os.path.relpath(folder, source)).mkdir(exist_ok=True)
        for name, inode in names.items():
            place = target / os.path.relpath(name, source)
            if place.parent.is_dir():
                place.write_bytes(content.get(inode, b""))


class RecordingDisk(HastyDisk):
    """A disk that tells, after each operation, what a power failure would leave; ``after_each`` gets it."""

    def __init__(self, after_each: Callable[[PowerLoss], None]) -> None:
        self.left = PowerLoss()
        self._after_each = after_each

    def _wrote(self, path: str) -> None:
        inode = len(self.left.bytes_of)
        self.left.bytes_of[inode] = Path(path).read_bytes()
        self.left.names[path] = inode
        self._after_each(self.left)

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self._wrote(path)

    def write_parquet(self, path: str, table: pa.Table, row_group_size: int, dictionary: Sequence[str]) -> None:
        super().write_parquet(path, table, row_group_size, dictionary)
        self._wrote(path)

    def sync_file(self, path: str) -> None:
        super().sync_file(path)
        inode = self.left.names[path]
        self.left.synced[inode] = self.left.bytes_of[inode]
        self._after_each(self.left)

    def sync_folder(self, path: str) -> None:
        super().sync_folder(path)
        left = self.left
        for name in [name for name in left.durable if os.path.dirname(name) == path and name not in left.names]:
            del left.durable[name]
        left.durable |= {name: inode for name, inode in left.names.items() if os.path.dirname(name) == path}
        left.durable_folders |= {folder for folder in left.folders if os.path.dirname(folder) == path}
        self._after_each(left)

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        self.left.names[target] = self.left.names[source]
        self._after_each(self.left)

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self.left.names[target] = self.left.names.pop(source)
        self._after_each(self.left)

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self.left.names.pop(path, None)
        self._after_each(self.left)

    def make_folder(self, path: str) -> None:
        super().make_folder(path)
        self.left.folders.add(path)
        self._after_each(self.left)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path / "ledger"), disk=HastyDisk())


@pytest.fixture(scope="session")
def rows() -> LedgerRows:
    return LedgerRows()


@pytest.fixture
def writer(storage: LocalStorage, clock: ManualClock) -> LedgerWriter:
    """A writer that has taken the ledger over, as epoch 1."""
    opened = LedgerWriter.open(storage, clock=clock)
    opened.take_over(INFO)
    return opened


@pytest.fixture
def reader(storage: LocalStorage) -> LedgerReader:
    return LedgerReader(storage)


@pytest.fixture
def commit(writer: LedgerWriter) -> Callable[..., int]:
    """Commit tables given by name; returns the commit id."""

    def run(**tables: pa.Table) -> int:
        group = CommitGroup(tables)
        writer.commit(group)
        assert group.commit_id is not None
        return group.commit_id

    return run


@pytest.fixture
def failing_disk() -> type[FailingDisk]:
    return FailingDisk


@pytest.fixture
def recording_disk() -> type[RecordingDisk]:
    return RecordingDisk
