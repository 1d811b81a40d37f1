"""A ledger on an object store, through pyarrow.fs, or on anything else that fsspec reaches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa
import pyarrow.fs

from dfbatch.errors import StorageRefused, StorageUnusable
from dfbatch.ledger.disk import write_parquet
from dfbatch.ledger.file_info import FileInfo

EXCLUSIVE_SCHEMES = frozenset({"memory"})
"""fsspec schemes whose ``pipe_file(mode="create")`` is known to refuse an existing name."""

_DELTA_NAMES = {"region": "AWS_REGION", "access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY"}

_STORES_WITHOUT_FOLDERS = frozenset({"s3", "gcs", "abfs"})


class RemoteStorage:
    """Files under a URI. A write is durable when the store has acknowledged it.

    Without ``create_new`` the store has no compare-and-swap here: ``create`` looks first and writes then, and log
    entries go through deltalake, which has one (see ``table.py``).
    """

    is_local = False

    def __init__(
        self, root: str, filesystem: Any, base: str, create_new: Callable[[str, bytes], None] | None = None
    ) -> None:
        address, _, query = root.partition("?")
        self.root = address.rstrip("/")
        self._query = f"?{query}" if query else ""
        self.delta_options = _delta_options(dict(parse_qsl(query)))
        self._fs = filesystem
        self._base = base.rstrip("/")
        self._create_new = create_new
        self.exclusive = create_new is not None

    @classmethod
    def open(cls, uri: str) -> RemoteStorage:
        """The storage at a URI. Raises StorageUnusable if no installed file system knows the scheme."""
        try:
            filesystem, base = pyarrow.fs.FileSystem.from_uri(uri)
            return cls(uri, filesystem, base)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ImportError):
            return cls._open_with_fsspec(uri)
        except OSError as error:
            raise StorageUnusable(f"{uri} could not be opened: {error}.") from error

    @classmethod
    def _open_with_fsspec(cls, uri: str) -> RemoteStorage:
        scheme = uri.partition("://")[0]
        try:
            import fsspec

            filesystem, base = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError) as error:
            raise StorageUnusable(
                f"{uri}: no file system for '{scheme}://' is installed here ({error}). Install its fsspec package, "
                f"or use a local folder, s3:// or gs://."
            ) from error

        def create_new(path: str, data: bytes) -> None:
            filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            filesystem.pipe_file(path, data, mode="create")

        arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem))
        return cls(uri, arrow, base, create_new if scheme in EXCLUSIVE_SCHEMES else None)

    def create(self, path: str, data: bytes) -> None:
        with self._writing(path):
            if self._create_new is not None:
                self._create_new(self._at(path), data)
            elif self.exists(path):
                raise FileExistsError(path)
            else:
                self._put(path, data)

    def replace(self, path: str, data: bytes) -> None:
        with self._writing(path):
            self._put(path, data)

    def write_parquet(
        self, path: str, table: pa.Table, *, row_group_size: int, dictionary_columns: Sequence[str] = ()
    ) -> int:
        with self._writing(path):
            sink = pa.BufferOutputStream()
            write_parquet(sink, table, row_group_size, dictionary_columns)
            data = sink.getvalue()
            self._put(path, data)
            return int(data.size)

    def sync(self, path: str) -> None:
        """Nothing to do: the store acknowledged the write."""

    def read(self, path: str) -> bytes:
        try:
            with self._fs.open_input_stream(self._at(path)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageUnusable(f"{self.root}/{path} cannot be read: {error}.") from error

    def exists(self, path: str) -> bool:
        return bool(self._fs.get_file_info(self._at(path)).type == pyarrow.fs.FileType.File)

    def modified(self, path: str) -> float | None:
        info = self._fs.get_file_info(self._at(path))
        return (info.mtime_ns or 0) / 1e9 if info.type == pyarrow.fs.FileType.File else None

    def folders(self) -> list[str]:
        return sorted(info.base_name for info in self._infos("") if info.type == pyarrow.fs.FileType.Directory)

    def list(self, folder: str) -> Sequence[FileInfo]:
        found = [
            FileInfo(f"{folder}/{info.base_name}", info.size, (info.mtime_ns or 0) / 1e9)
            for info in self._infos(folder)
            if info.type == pyarrow.fs.FileType.File
        ]
        return sorted(found, key=lambda info: info.path)

    def delete(self, path: str) -> None:
        with self._writing(path), contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._at(path))

    def free_bytes(self) -> int | None:
        return None

    def filesystem(self) -> tuple[Any, str]:
        return self._fs, self._base

    def location(self, path: str) -> str:
        return f"{self.root}/{path}{self._query}"

    def _infos(self, folder: str) -> Sequence[Any]:
        try:
            selector = pyarrow.fs.FileSelector(self._at(folder).rstrip("/"), allow_not_found=True)
            return tuple(self._fs.get_file_info(selector))
        except OSError as error:
            raise StorageUnusable(f"{self.root}/{folder} cannot be listed: {error}.") from error

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _put(self, path: str, data: Any) -> None:
        if self._fs.type_name not in _STORES_WITHOUT_FOLDERS:
            self._fs.create_dir(self._at(path).rpartition("/")[0], recursive=True)
        with self._fs.open_output_stream(self._at(path)) as stream:
            stream.write(data)

    @contextlib.contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageRefused(
                f"{self.root}/{path} could not be written: {error}. The rows are kept and tried again."
            ) from error


def _delta_options(query: Mapping[str, str]) -> dict[str, str]:
    """What deltalake calls the parameters that pyarrow takes from an ``s3://`` URI."""
    options = {_DELTA_NAMES[name]: value for name, value in query.items() if name in _DELTA_NAMES}
    endpoint = query.get("endpoint_override")
    if endpoint is not None:
        scheme = query.get("scheme", "https")
        options["AWS_ENDPOINT_URL"] = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
        options["AWS_ALLOW_HTTP"] = str(options["AWS_ENDPOINT_URL"].startswith("http://")).lower()
    return options
