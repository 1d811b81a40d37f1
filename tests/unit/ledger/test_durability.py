"""Pull the plug after every single operation on the disk: what was acknowledged is there, and the ledger goes on."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest

from dfbatch.ledger.disk import Disk
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"
INPUTS = "inputs_00000001"


class Session:
    """A manager at work. ``states``: for each operation, what a power failure left and what had been promised."""

    def __init__(self, root: str, recording_disk: Any, clock: Any, rows: Any) -> None:
        self.rows = rows
        self.root = root
        self.states: list[tuple[int, Any]] = []
        self.promised = 0
        disk = recording_disk(lambda left: self.states.append((self.promised, copy.deepcopy(left))))
        self.writer = LedgerWriter.open(LocalStorage(root, disk=disk), clock=clock)
        self.writer.take_over(rows.info)
        self.clock = clock

    def submit(self, batch_id: str) -> None:
        self.writer.commit(CommitGroup(self.rows.submit(batch_id, 12, inputs=INPUTS)))
        self.promised += 1

    def finish(self, batch_id: str, index: range) -> None:
        commit = self.writer.next_commit_id()
        tables = {
            "results": self.rows.results(batch_id, index, commit, outputs="outputs_1"),
            "outputs_1": self.rows.outputs(batch_id, index, commit, [{"x": i} for i in index]),
        }
        self.writer.commit(CommitGroup(tables, commit))
        self.promised += 1

    def upkeep(self) -> None:
        event = self.rows.event("batch_finished", 1, batch_id=A, detail='{"status": "succeeded"}')
        self.writer.commit(CommitGroup({"events": event}))
        while self.writer.maintain(self.clock.now().wall):
            pass


def check(reader: LedgerReader, promised: int) -> None:
    """Of the steps submit A, submit B, then one result of A at a time, the first ``promised`` must be there."""
    batches = reader.read("batches").column("batch_id").to_pylist() if promised or reader.table_names() else []
    assert batches[: min(promised, 2)] == [A, B][: min(promised, 2)]
    for batch_id in batches:
        assert reader.read("jobs", batch_id=batch_id).column("job_index").to_pylist() == list(range(12))
        assert len(reader.read(INPUTS, batch_id=batch_id)) == 12
    results = reader.results(A).to_pylist() if batches else []
    assert max(promised - 2, 0) <= len(results) <= promised - 1 or not results
    assert [row["job_index"] for row in results] == list(range(len(results)))
    assert all(row["output"] == {"x": row["job_index"]} for row in results)


@pytest.mark.parametrize("everything", [False, True], ids=["only what was fsynced", "all that was written"])
def test_every_acknowledged_row_survives_a_power_failure_at_any_moment(
    tmp_path, clock, rows, recording_disk, everything: bool, monkeypatch
):
    monkeypatch.setattr("dfbatch.ledger.maintenance.MERGE_AT_END", 3)
    session = Session(str(tmp_path / "ledger"), recording_disk, clock, rows)
    opened = len(session.states)
    session.submit(A)
    session.submit(B)
    for index in range(3):
        session.finish(A, range(index, index + 1))
    session.upkeep()
    seen: list[tuple[int, Any]] = []
    for promised, left in session.states[opened - 1 :]:
        kept = (left.names, left.bytes_of) if everything else (left.durable, left.synced)
        if not seen or (promised, kept) != seen[-1]:
            seen.append((promised, copy.copy(kept)))
            left.rebuild(session.root, tmp_path / f"{len(seen)}", everything=everything)
            check(LedgerReader(LocalStorage(str(tmp_path / f"{len(seen)}"))), promised)
    assert len(seen) > 60


@pytest.mark.parametrize("everything", [False, True], ids=["only what was fsynced", "all that was written"])
def test_a_new_manager_goes_on_from_a_power_failure_while_the_ledger_is_created(
    tmp_path, clock, rows, recording_disk, everything: bool, monkeypatch
):
    session = Session(str(tmp_path / "ledger"), recording_disk, clock, rows)
    session.submit(A)
    # The plug has been pulled; those who come after need not wait for the medium.
    monkeypatch.setattr(Disk, "_sync", staticmethod(lambda path, flags: os.stat(path)))
    for number, (promised, left) in enumerate(session.states):
        if number % 7:
            continue
        left.rebuild(session.root, tmp_path / f"{number}", everything=everything)
        storage = LocalStorage(str(tmp_path / f"{number}"))
        writer = LedgerWriter.open(storage, clock=clock)
        writer.take_over(rows.info)
        writer.commit(CommitGroup(rows.submit(B, 3)))
        found = [batch.row["batch_id"] for batch in recover(LedgerReader(storage)).batches]
        assert found in ([A, B], [B]) if not promised else found == [A, B]
