"""The verifiers a worker has loaded: the last two stay, so that two batches can take turns."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from dfbatch.actors.chunk_run import LoadedVerifier
from dfbatch.actors.messages import WorkOrder
from dfbatch.actors.out_of_memory import let_go
from dfbatch.actors.verifier_code import entry_point, load
from dfbatch.errors import DfbatchError, VerifierUnusable
from dfbatch.ledger import blobs
from dfbatch.ledger.storage import Storage

KEPT = 2


class VerifierStore:
    """Loads verifiers from the ledger by their SHA-256. Used by one thread."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._loaded: OrderedDict[str, LoadedVerifier] = OrderedDict()
        self._broken: dict[str, VerifierUnusable] = {}

    def get(self, order: WorkOrder) -> LoadedVerifier:
        """Raises VerifierUnusable; a verifier that failed to load is not tried again."""
        sha = order.verifier_sha
        if sha in self._broken:
            raise self._broken[sha]
        if sha in self._loaded:
            self._loaded.move_to_end(sha)
            return self._loaded[sha]
        try:
            verifier = load(blobs.get(self.storage, sha, "verifiers"))
        except VerifierUnusable as error:
            let_go(error)  # half of a model may hang on it
            self._broken[sha] = error
            raise
        except DfbatchError as error:
            raise VerifierUnusable(f"The verifier of batch {order.batch_id} cannot be read: {error}") from error
        self._loaded[sha] = self._make_ready(verifier)
        while len(self._loaded) > KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[sha]

    def forgive(self, order: WorkOrder) -> None:
        """Try a verifier again that could not be loaded."""
        self._broken.pop(order.verifier_sha, None)

    def _make_ready(self, verifier: Any) -> LoadedVerifier:
        call, vectorised, takes_context = entry_point(verifier)
        model = getattr(verifier, "model_fingerprint", None)
        storage = self.storage
        return LoadedVerifier(
            call,
            vectorised,
            takes_context,
            None if model is None else str(model),
            lambda sha: storage.location(f"blobs/{sha}"),
        )
