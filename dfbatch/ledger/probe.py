"""Whether a storage can be used, tried out before anything is accepted."""

from __future__ import annotations

import secrets

from dfbatch.errors import LedgerError, StorageUnusable
from dfbatch.ledger.storage import Storage


def check_storage(storage: Storage) -> None:
    """Write, read, list and delete a small file. Raises StorageUnusable with what to do."""
    path, data = f"probes/{secrets.token_hex(8)}", secrets.token_bytes(64)
    try:
        storage.create(path, data)
        back = storage.read(path)
        listed = any(info.path == path for info in storage.list("probes"))
        storage.delete(path)
    except (LedgerError, OSError) as error:
        raise StorageUnusable(
            f"The storage {storage.root} cannot be used from here: {error} Check that the path exists for every node "
            f"and that this user may write there, or choose another storage_path."
        ) from error
    if back != data or not listed:
        raise StorageUnusable(
            f"The storage {storage.root} does not give back what was written. A ledger needs a store that shows a file "
            f"as soon as it is written; choose another storage_path."
        )
