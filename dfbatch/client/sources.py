"""What a user hands in, as Arrow columns ready for the ledger: one Payload, or a Stream of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dfbatch.client.slice_reader import SLICE_BYTES, SLICE_ITEMS, SliceReader, queue_elements
from dfbatch.errors import InvalidInput, InvalidType
from dfbatch.ledger.arrow_types import storable_schema
from dfbatch.ledger.item_codec import ItemKind

_NOT_ARROW = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError)


@dataclass(frozen=True, slots=True)
class Payload:
    """``n`` items as columns of equal length.

    ``uris`` (string), ``blobs`` (sha256 as hex) and ``filenames`` (string) describe media; an item has a URI, a blob,
    or both. ``inputs`` are the carried columns, or the items of ``map``; ``items`` says how those are to be read and
    is None for media. ``new_blobs`` (sha256 to bytes) must be stored before the submit is acknowledged.
    """

    n: int
    uris: Any = None
    blobs: Any = None
    filenames: Any = None
    inputs: pa.Table | None = None
    new_blobs: dict[str, bytes] = field(default_factory=dict)
    items: ItemKind | None = None

    def jobs(self) -> pa.Table | None:
        """The columns ``uri, blob, filename`` that there are; None if there is none."""
        columns = {"uri": self.uris, "blob": self.blobs, "filename": self.filenames}
        given = {name: column for name, column in columns.items() if column is not None}
        return pa.table(given) if given else None


class Stream:
    """Payloads that come one after another, all with the same columns. Iterate it once, and close it.

    An exception of the user's iterator is raised after everything that came before it was handed out.
    ``reads_dataset``: reading it takes a CPU of the cluster.
    """

    def __init__(
        self,
        payloads: Iterator[Payload],
        items: ItemKind | None,
        close: Callable[[], None] | None = None,
        reads_dataset: bool = False,
    ) -> None:
        self._payloads = payloads
        self._close = close
        self._closed = False
        self.items = items
        self.reads_dataset = reads_dataset

    def __iter__(self) -> Iterator[Payload]:
        return self

    def __next__(self) -> Payload:
        if self._closed:
            raise StopIteration
        return next(self._payloads)

    def close(self) -> None:
        """Stop reading the source, from any thread. Elements read ahead and not handed out are dropped."""
        self._closed = True
        if self._close is not None:
            self._close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ------------------------------------------------------------------------------------------------ kinds of source


def is_dataset(source: Any) -> bool:
    """True for a Ray Dataset, told by its shape because only dfbatch.actors imports ray."""
    return type(source).__module__.startswith("ray.data") and hasattr(source, "iter_batches")


def is_queue(source: Any) -> bool:
    """True for ``ray.util.queue.Queue`` and those of the standard library."""
    return all(callable(getattr(source, name, None)) for name in ("get", "put", "qsize", "empty"))


def is_stream(source: Any) -> bool:
    """True for a Ray Dataset, a queue or an iterator: its items are read in slices, once."""
    return is_dataset(source) or is_queue(source) or isinstance(source, Iterator | pa.RecordBatchReader)


def stream_tables(source: Any) -> Iterator[pa.Table] | None:
    """Bounded tables of a Ray Dataset or RecordBatchReader; None for other streams."""
    if is_dataset(source):
        return _bounded(source.iter_batches(batch_size=None, batch_format="pyarrow"))
    if isinstance(source, pa.RecordBatchReader):
        return _bounded(pa.Table.from_batches([batch]) for batch in source)
    return None


def read_elements(source: Any) -> SliceReader:
    """A reader of an iterator, or of a queue until ``None`` is taken from it."""
    if is_queue(source):
        return SliceReader(lambda stopped: queue_elements(source, stopped))
    return SliceReader(lambda stopped: iter(source))


def _bounded(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    for table in tables:
        n = len(table)
        if n:
            rows = max(1, min(SLICE_ITEMS, n * SLICE_BYTES // max(table.nbytes, 1)))
            yield from (table.slice(start, rows) for start in range(0, n, rows))


# ------------------------------------------------------------------------------------------------ tables


def as_table(source: Any, argument: str) -> pa.Table | None:
    """A pandas, Polars, Arrow or other table as ``pa.Table`` without metadata; None if the source is no table."""
    table = _to_arrow(source, argument)
    if table is None:
        return None
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(argument, f"has two columns named {twice!r}", "Rename one of them")
    if not names or not len(table):
        raise InvalidInput(argument, "is a table without rows", "Give at least one item")
    storable_schema(table.schema)
    return table.replace_schema_metadata(None)


def _to_arrow(source: Any, argument: str) -> pa.Table | None:
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, pa.RecordBatch):
        return pa.Table.from_batches([source])
    module, name = type(source).__module__.partition(".")[0], type(source).__name__
    if module == "polars" and name == "LazyFrame":
        source = source.collect()
    try:
        if module == "pandas" and name == "DataFrame":
            return pa.Table.from_pandas(source, preserve_index=False)
        if hasattr(source, "__arrow_c_stream__") and not _is_series(source):
            return pa.table(source)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,
        UnicodeEncodeError,
    ) as error:
        raise InvalidType(argument, f"has a column that is not of one type: {error}", "Convert that column") from error
    return None


def _is_series(source: Any) -> bool:
    return isinstance(source, pa.Array | pa.ChunkedArray) or type(source).__name__ == "Series"


def series_values(source: Any, argument: str) -> Any:
    """A pandas or Polars Series, or an Arrow array, as an Arrow array; None if the source is none of these."""
    if isinstance(source, pa.Array | pa.ChunkedArray):
        return source
    if not _is_series(source):
        return None
    try:
        if hasattr(source, "to_arrow"):
            return source.to_arrow()
        return pa.Array.from_pandas(source)
    except _NOT_ARROW as error:
        raise InvalidType(argument, f"is a series that is not of one type: {error}", "Convert it") from error
