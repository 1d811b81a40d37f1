"""Chunks, marks and managers for the tests of the actors. No Ray here."""

import numpy as np
import pyarrow as pa
import pytest

from dfbatch.actors.context import JobContext
from dfbatch.actors.item_run import ItemRun
from dfbatch.actors.messages import Chunk, WorkOrder
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.time_limit import TimeLimit
from dfbatch.actors.vector_run import VectorRun
from dfbatch.actors.verifier_code import entry_point
from dfbatch.actors.verifier_store import LoadedVerifier
from dfbatch.ledger.item_codec import encode_items


def chunk_of(values, *, first=0, lease_id=7, attempts=0, options=None):
    """A lease of one job per value, jobs ``first`` and following, of the batch k3f2m9qx."""
    inputs = encode_items(values)
    n = len(values)
    struct = pa.StructArray.from_arrays([c.combine_chunks() for c in inputs.columns], fields=list(inputs.schema))
    nothing = pa.nulls(n, pa.string())
    indices = np.arange(first, first + n, dtype=np.int64)
    table = pa.table({"job_index": indices, "uri": nothing, "blob": nothing, "filename": nothing, "input": struct})
    order = WorkOrder("k3f2m9qx", "map", "0" * 64, "test", "value", options or {})
    zeros = np.zeros(n, np.int16)
    return Chunk(lease_id, order, table, indices, zeros, zeros + np.int16(attempts), False, 60.0)


class Runner:
    """Runs a verifier over chunks as a worker does."""

    def __init__(self, folder):
        self.mark = PositionMark(folder, "w")
        self.context = JobContext()
        self.recall_after = None
        self.n_asked = 0

    def is_recalled(self):
        self.n_asked += 1
        return self.recall_after is not None and self.n_asked > self.recall_after

    def run(self, verifier, chunk):
        """The reports that the run yields, one after another."""
        call, vectorised, takes_context = entry_point(verifier)
        loaded = LoadedVerifier(call, vectorised, takes_context, None, lambda sha: f"/blobs/{sha}")
        kind = VectorRun if vectorised else ItemRun
        yield from kind(chunk, loaded, self.mark, self.context, self.is_recalled, TimeLimit(None, None)).outcomes()


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


@pytest.fixture
def make_chunk():
    return chunk_of
