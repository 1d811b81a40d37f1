"""What every handle shares: the way to the manager and to the ledger. Handles hold ids, never references."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from dfbatch.actors.link import PATIENCE_S, ManagerLink, patiently
from dfbatch.client.ledger_progress import ledger_progress
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.errors import ClientClosed, StorageInUse, UnknownId
from dfbatch.ledger import blobs
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import Storage

_POLL_S = 0.25


@dataclass
class Session:
    """``link`` is None for a read-only client; ``held_by`` then says in a sentence who manages the ledger."""

    link: ManagerLink | None
    storage: Storage
    reader: LedgerReader
    progress_mode: str | None = None
    held_by: str = ""
    closed: bool = False
    stored_verifiers: set[str] = field(default_factory=set)
    code_sent: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By the name of a verifier: fingerprint of its code, and the last batch that runs it."""

    def call(self, method: str, *arguments: Any, timeout_s: float = 60.0, patience_s: float = PATIENCE_S) -> Any:
        """Ask the manager, with patience while it restarts. Raises StorageInUse if this client is read-only."""
        self.check_open()
        link = self.link
        if link is None:
            raise StorageInUse(self.held_by)
        return patiently(lambda: link.call(method, *arguments, timeout_s=timeout_s), patience_s)

    def check_open(self) -> None:
        """Raises ClientClosed after ``close()``."""
        if self.closed:
            raise ClientClosed("This client was closed. Call dfbatch.connect() for a new one.")

    def progress(self, batch_id: str, wait_s: float = 0.0) -> ProgressSnapshot:
        """The newest snapshot; may wait up to ``wait_s`` seconds for the end of the batch. Raises UnknownId."""
        self.check_open()
        if self.link is not None:
            try:
                found: ProgressSnapshot = self.call("progress", batch_id, wait_s, timeout_s=wait_s + 30.0)
                return found
            except UnknownId:
                return ledger_progress(self.reader, batch_id)
        found = ledger_progress(self.reader, batch_id)
        if wait_s > 0 and not found.status.is_terminal:
            # Nobody tells a read-only client; it looks again.
            time.sleep(min(wait_s, _POLL_S))
            found = ledger_progress(self.reader, batch_id)
        return found

    def read_file(self, path: str) -> bytes | None:
        """A file of the ledger (``blobs/<sha256>``, ``artifacts/<sha256>``), or None if there is none."""
        folder, _, sha = path.partition("/")
        if folder not in ("blobs", "artifacts"):
            return None
        try:
            return blobs.get(self.storage, sha, "blobs" if folder == "blobs" else "artifacts")
        except UnknownId:
            return None
