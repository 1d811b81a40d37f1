"""A ledger on a local disk or NFS: every write is fsynced, file and folder, before it returns."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.fs

from dfbatch.errors import StorageRefused, StorageUnusable
from dfbatch.ledger.disk import Disk
from dfbatch.ledger.file_info import FileInfo

RESERVE_BYTES = 64 << 20
"""Free space that data files never use up, so that log entries, events and the rest of the machine can go on."""


class LocalStorage:
    """Files under a folder of this machine.

    ``reserve_bytes``: writes of rows and blobs are refused once they would leave less than this free. By default
    64 MiB, or a fiftieth of the free space if that is less.
    """

    is_local = True
    exclusive = True

    def __init__(self, root: str, *, disk: Disk | None = None, reserve_bytes: int | None = None) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.delta_options: dict[str, str] = {}
        self._disk = disk or Disk()
        self._durable_folders: set[str] = set()
        self._seen_folders: set[str] = set()
        self._reserve = reserve_bytes

    def create(self, path: str, data: bytes) -> None:
        target = self._at(path)
        with self._writing(path, len(data)):
            temporary = self._write_temporary(target, data)
            try:
                self._disk.link(temporary, target)
            except OSError as error:
                if error.errno in _NO_HARD_LINKS:
                    raise StorageRefused(
                        f"{target} could not be written: the file system has no hard links, which a ledger needs to "
                        f"commit safely. Choose a storage_path on a local disk, on NFS, or an s3:// or gs:// URI."
                    ) from error
                raise
            finally:
                self._disk.unlink(temporary)
            self._disk.sync_folder(os.path.dirname(target))

    def replace(self, path: str, data: bytes) -> None:
        target = self._at(path)
        with self._writing(path, len(data)):
            self._disk.rename(self._write_temporary(target, data), target)
            self._disk.sync_folder(os.path.dirname(target))

    def write_parquet(
        self, path: str, table: pa.Table, *, row_group_size: int, dictionary_columns: Sequence[str] = ()
    ) -> int:
        target = self._at(path)
        with self._writing(path, max(table.nbytes // 4, _SMALL + 1)):
            self._make_folder(os.path.dirname(target))
            try:
                self._disk.write_parquet(target, table, row_group_size, dictionary_columns)
                self._disk.sync_file(target)
                self._disk.sync_folder(os.path.dirname(target))
            except BaseException:
                self._disk.unlink(target)
                raise
        return os.path.getsize(target)

    def sync(self, path: str) -> None:
        target = self._at(path)
        with self._writing(path, 0):
            self._disk.sync_file(target)
            self._disk.sync_folder(os.path.dirname(target))

    def read(self, path: str) -> bytes:
        try:
            with open(self._at(path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageUnusable(f"{self._at(path)} cannot be read ({error.strerror}).") from error

    def exists(self, path: str) -> bool:
        return os.path.isfile(self._at(path))

    def modified(self, path: str) -> float | None:
        try:
            return os.stat(self._at(path)).st_mtime
        except FileNotFoundError:
            return None

    def folders(self) -> list[str]:
        with self._listing(""), contextlib.suppress(FileNotFoundError), os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
        return []

    def list(self, folder: str) -> Sequence[FileInfo]:
        found = []
        with self._listing(folder), contextlib.suppress(FileNotFoundError), os.scandir(self._at(folder)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    about = entry.stat()
                    if stat.S_ISREG(about.st_mode):
                        found.append(FileInfo(f"{folder}/{entry.name}", about.st_size, about.st_mtime))
        return sorted(found, key=lambda info: info.path)

    def delete(self, path: str) -> None:
        with self._writing(path, 0):
            self._disk.unlink(self._at(path))

    def free_bytes(self) -> int | None:
        folder = self.root
        while not os.path.isdir(folder) and folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)
        try:
            return self._disk.free_bytes(folder)
        except OSError:
            return None

    def filesystem(self) -> tuple[Any, str]:
        return pyarrow.fs.LocalFileSystem(), self.root

    def location(self, path: str) -> str:
        return self._at(path)

    def _at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def _write_temporary(self, target: str, data: bytes) -> str:
        folder = os.path.dirname(target)
        self._make_folder(folder)
        temporary = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
        try:
            self._disk.write(temporary, data)
            self._disk.sync_file(temporary)
        except BaseException:
            self._disk.unlink(temporary)
            raise
        return temporary

    def _make_folder(self, folder: str) -> None:
        """Create a folder and its parents, each durable in its own parent.

        One that was there is never made anew: rows written beside the ledger, while its disk is away, would be lost.
        """
        if folder in self._durable_folders:
            return
        parent = os.path.dirname(folder)
        if not os.path.isdir(folder):
            if folder in self._seen_folders:
                raise FileNotFoundError(errno.ENOENT, f"the folder {folder} is not there any more")
            if parent != folder:
                self._make_folder(parent)
            self._disk.make_folder(folder)
            self._disk.sync_folder(parent)
        elif folder.startswith(self.root):
            self._disk.sync_folder(parent)
        self._durable_folders.add(folder)
        while folder not in self._seen_folders and folder.startswith(self.root):
            self._seen_folders.add(folder)
            folder = os.path.dirname(folder)

    @contextlib.contextmanager
    def _writing(self, path: str, size: int) -> Iterator[None]:
        if size > _SMALL:
            self._keep_reserve(path, size)
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            self._durable_folders.clear()
            reason = error.strerror or str(error)
            raise StorageRefused(f"{self._at(path)} could not be written: {reason}. {_remedy(error)}") from error

    def _keep_reserve(self, path: str, size: int) -> None:
        free = self.free_bytes()
        if free is None:
            return
        if self._reserve is None:
            self._reserve = min(RESERVE_BYTES, free // 50)
        if free - size < self._reserve:
            raise StorageRefused(
                f"{self._at(path)} was not written: {free / 2**20:,.1f} MiB are free under {self.root} and "
                f"{self._reserve / 2**20:,.1f} MiB are kept in reserve. "
                f"Free some space; the rows are kept and tried again."
            )

    @contextlib.contextmanager
    def _listing(self, folder: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageUnusable(f"{self._at(folder)} cannot be listed ({error.strerror}).") from error


_SMALL = 64 << 10

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space; the rows are kept and tried again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Give this user write access, or choose another storage_path."
    return "The rows are kept and tried again."
