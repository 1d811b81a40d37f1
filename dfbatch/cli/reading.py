"""Reading a ledger from the command line: no Ray is started and no manager is disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfbatch.config import resolve
from dfbatch.core.ids import parse_id
from dfbatch.errors import UnknownId

if TYPE_CHECKING:
    from dfbatch.ledger.reading import LedgerReader


def open_reader(storage_path: str | None) -> tuple[LedgerReader, str]:
    """A reader of the ledger at ``storage_path`` (else the setting), and where that is."""
    from dfbatch.ledger.reading import LedgerReader
    from dfbatch.ledger.storage import open_storage

    root = resolve(storage_path=storage_path).storage_path
    return LedgerReader(open_storage(root)), root


def batch_rows(reader: LedgerReader) -> list[dict[str, Any]]:
    """The batches of a ledger, oldest first; none if nothing was ever written there."""
    if reader.snapshot("batches") is None:
        return []
    found: list[dict[str, Any]] = reader.batches().to_pylist()
    return found


def require_batch(reader: LedgerReader, text: str) -> tuple[str, int | None]:
    """``(batch_id, job_index)`` of an id a person typed. Raises UnknownId if the ledger has no such batch."""
    batch_id, index = parse_id(text)
    if not any(row["batch_id"] == batch_id for row in batch_rows(reader)):
        raise UnknownId(
            f"There is no batch {batch_id} in {reader.storage.root}. "
            "See `dfbatch batches`, or name its ledger with --storage."
        )
    return batch_id, index
