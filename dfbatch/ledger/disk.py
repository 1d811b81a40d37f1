"""The few operations of a local disk that a durable write is made of. Tests put a recorder in its place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

KEY_COLUMNS = ("batch_id", "job_index")
"""Columns that get row group statistics; others would only cost time."""


class Disk:
    """Every method does one thing and raises OSError; none of them is durable but the two ``sync`` ones."""

    def write(self, path: str, data: bytes) -> None:
        """Create a file with these bytes."""
        with open(path, "xb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]

    def write_parquet(self, path: str, table: pa.Table, row_group_size: int, dictionary: Sequence[str]) -> None:
        """Create a Parquet file."""
        write_parquet(path, table, row_group_size, dictionary)

    def sync_file(self, path: str) -> None:
        """Have the bytes of a file on the medium."""
        self._sync(path, os.O_RDONLY)

    def sync_folder(self, path: str) -> None:
        """Have the names in a folder on the medium."""
        self._sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name. Raises FileExistsError if that is taken: this is the compare-and-swap."""
        os.link(source, target)

    def rename(self, source: str, target: str) -> None:
        """Give a file a name, in place of what had it."""
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        """Take a name away; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def make_folder(self, path: str) -> None:
        """Create a folder; one that is there is no error."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)

    def free_bytes(self, path: str) -> int:
        """Bytes that may still be written where ``path`` is."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    @staticmethod
    def _sync(path: str, flags: int) -> None:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


FEW_ROWS = 64
"""Below it packing costs half of the writing and saves less than one block of the disk; a merge packs them later."""


def write_parquet(where: object, table: pa.Table, row_group_size: int, dictionary: Sequence[str]) -> None:
    """Write ``table`` to a path or an open sink.

    The Arrow schema is left out of the file, so that columns that came dictionary-encoded read back as what they are.
    """
    few = len(table) < FEW_ROWS
    pq.write_table(
        table,
        where,
        row_group_size=row_group_size,
        compression="none" if few else "zstd",
        compression_level=None if few else 1,
        use_dictionary=False if few else list(dictionary) or False,
        write_statistics=[name for name in KEY_COLUMNS if name in table.column_names] or False,
        store_schema=False,
    )
